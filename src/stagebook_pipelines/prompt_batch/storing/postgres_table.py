"""A table of results in PostgreSQL: made where there is none, looked at where there is one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stagebook_pipelines.prompt_batch.storing.record import COLUMNS, KEY
from stagebook_pipelines.prompt_batch.storing.store import StoreError
from stagebook_pipelines.prompt_batch.storing.table_name import TableName

if TYPE_CHECKING:
    from psycopg import Connection

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prompt text NOT NULL,
    response text,
    model text,
    success boolean NOT NULL,
    error text,
    "timestamp" timestamptz NOT NULL,
    duration_ms bigint,
    tokens_used bigint,
    metadata jsonb NOT NULL DEFAULT '{{}}',
    experiment_name text,
    tags text[] NOT NULL DEFAULT '{{}}',
    record_key text UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""
_ROLE_OF_STRANGERS: Final = "SELECT 1 FROM pg_roles WHERE rolname = 'anon'"
"""Supabase's. Its REST interface would show them every table that has no row-level security; the owner still writes."""

_LOOK: Final = """
SELECT a.attname, t.typname, t.typcategory, e.typcategory, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '',
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
        AND i.indisunique AND i.indisvalid AND i.indpred IS NULL),
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
        AND i.indisprimary),
    a.attrelid::bigint
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""

_WORDS: Final = {
    "success": "boolean",
    "timestamp": "timestamptz",
    "duration_ms": "bigint",
    "tokens_used": "bigint",
    "metadata": "jsonb",
    "tags": "text[]",
}
"""What a column of a result is; all others are text."""


class Column(NamedTuple):
    """A column as the catalog has it."""

    name: str
    type: str
    category: str
    """PostgreSQL's: S text, N number, B boolean, D date or time, A array, E enumeration, U other."""
    element: str | None
    """Category of an array's elements."""
    told: str
    """The type as people write it."""
    required: bool
    has_default: bool
    unique: bool
    primary: bool
    relation: int


@dataclass(frozen=True, slots=True)
class PostgresTable:
    """A table that takes results."""

    name: TableName
    relation: int
    """Its oid."""
    columns: dict[str, Column]
    identity: str | None
    """The column that gives a row's id, quoted."""

    @property
    def has_key(self) -> bool:
        """Whether it has a column for the key."""
        return KEY in self.columns

    @property
    def key_is_unique(self) -> bool:
        """Whether the database itself keeps a key from being stored twice."""
        return self.has_key and self.columns[KEY].unique

    def value(self, name: str, given: str) -> str:
        """SQL that makes a column's value of text; an assignment to a column of limited length refuses, never cuts."""
        column = self.columns[name]
        if name == "tags" and column.category != "A":
            return f"to_json({given}::text[])::{column.type}"
        if column.category == "D":
            return (
                f"({given}::timestamptz AT TIME ZONE 'UTC')" if column.type == "timestamp" else f"{given}::timestamptz"
            )
        if column.category == "A":
            return f"{given}::text[]"
        return given if column.category == "S" else f'{given}::"{column.type}"'


def see_to_table(connection: "Connection[Any]", name: TableName) -> PostgresTable:
    """Give a table that takes results; where there is none of that name it is made.

    Raises:
        StoreError: It lacks columns, has them of other types, wants more than a result has, or cannot be made.
    """
    from psycopg import errors  # noqa: PLC0415  an extra

    columns = _columns(connection, name)
    if not columns:
        try:
            _create(connection, name)
        except (errors.UniqueViolation, errors.DuplicateObject, errors.DuplicateTable):  # another process just made it
            pass
        except errors.InvalidSchemaName:
            raise StoreError(
                f"there is no schema {name.schema!r} for the table {name}; make it with CREATE SCHEMA, or name another"
            ) from None
        except errors.InsufficientPrivilege as error:
            raise StoreError(
                f"there is no table {name}, and making it is not allowed ({error.diag.message_primary});"
                " make it, or use a role that may"
            ) from None
        columns = _columns(connection, name)
    _refuse_what_does_not_fit(name, columns)
    found = {column.name: column for column in columns}
    primary = [column.name for column in columns if column.primary]
    identity = "id" if "id" in found else primary[0] if primary else KEY if KEY in found else None
    quoted = None if identity is None else '"{}"'.format(identity.replace('"', '""'))
    return PostgresTable(name, columns[0].relation, found, quoted)


def _columns(connection: "Connection[Any]", name: TableName) -> list[Column]:
    return [Column(*row) for row in connection.execute(_LOOK, [name.sql]).fetchall()]


def _create(connection: "Connection[Any]", name: TableName) -> None:
    with connection.transaction():
        connection.execute(_CREATE.format(table=name.sql).encode())
        if connection.execute(_ROLE_OF_STRANGERS).fetchone() is not None:
            connection.execute(f"ALTER TABLE {name.sql} ENABLE ROW LEVEL SECURITY".encode())


def _refuse_what_does_not_fit(name: TableName, columns: list[Column]) -> None:
    found = {column.name: column for column in columns}
    if missing := [one for one in COLUMNS if one not in found]:
        adding = ", ".join(f'ADD COLUMN "{one}" {_WORDS.get(one, "text")}' for one in missing)
        raise StoreError(
            f"the table {name} has no column {', '.join(missing)}; add with ALTER TABLE {name.sql} {adding},"
            " or name a table that is not there yet, and it is made"
        )
    wrong = [one for one in (*COLUMNS, KEY) if one in found and not _fits(found[one])]
    if wrong:
        told = ", ".join(f"{one} is {found[one].told} and must be {_WORDS.get(one, 'text')}" for one in wrong)
        raise StoreError(f"the table {name} cannot take results: {told}; change it, or name another table")
    known = {*COLUMNS, KEY}
    wanting = [one.name for one in columns if one.required and not one.has_default and one.name not in known]
    if wanting:
        raise StoreError(
            f"the table {name} requires a value for {', '.join(wanting)}, which no result has;"
            " give a default or let it be null (ALTER TABLE ... ALTER COLUMN ... DROP NOT NULL)"
        )


def _fits(column: Column) -> bool:
    """Whether a column can hold what a result has there."""
    match column.name:
        case "success":
            return column.category == "B"
        case "timestamp":
            return column.category in {"D", "S"} and column.type not in {"time", "timetz"}
        case "duration_ms" | "tokens_used":
            return column.category == "N" and column.type != "money"
        case "metadata":
            return column.type in {"json", "jsonb"}
        case "tags":
            return column.type in {"json", "jsonb"} or (column.category, column.element) == ("A", "S")
        case _:
            return column.category in {"S", "E"} or (column.name == KEY and column.type == "uuid")
