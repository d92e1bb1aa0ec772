"""The statements that write rows of results into one table of PostgreSQL."""

# ruff: noqa: S608  the names of tables are checked and quoted, and all values are parameters

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from stagebook_pipelines.prompt_batch.storing.postgres_table import PostgresTable
from stagebook_pipelines.prompt_batch.storing.record import KEY, Heading, Record
from stagebook_pipelines.prompt_batch.storing.store import SWALLOWED, Kept, Refused

if TYPE_CHECKING:
    from psycopg import Connection

_GIVEN: Final = Record._fields
"""Columns that come as one array each, all of text: the table's own types are made of them by the server."""
_ARRAYS: Final = ", ".join(["%b::text[]"] * len(_GIVEN))
_ALIASES: Final = ", ".join(_GIVEN)
_ANSWER: Final = (
    "response",
    "model",
    "success",
    "error",
    "timestamp",
    "duration_ms",
    "tokens_used",
    "metadata",
    "tags",
)
"""What is replaced when a row that said that its prompt failed gets its answer."""


class PostgresRows:
    """Writes chunks into one table.

    One statement does a chunk where the table keeps keys unique itself. Where it does not (a table of the user's own),
    the keys are looked up and the rest is written in one transaction, under a lock that ends with it.

    Args:
        table: The table.
        heading: What its rows share.
    """

    def __init__(self, table: PostgresTable, heading: Heading) -> None:
        self._table = table
        self._heading = heading
        name = table.name.sql
        values = {one: table.value(one, f"x.{one}") for one in _GIVEN if one != "key"}
        values["experiment_name"] = table.value("experiment_name", "%b::text")
        values["tags"] = table.value("tags", "%b::text[]")
        if table.has_key:
            values[KEY] = table.value(KEY, "x.key")
            key = f'"{KEY}"' if table.columns[KEY].category == "S" else f'"{KEY}"::text'
        else:
            merged = f"x.metadata::jsonb || jsonb_build_object('{KEY}', x.key)"
            values["metadata"] = f"({merged})::{table.columns['metadata'].type}"
            key = f"(metadata->>'{KEY}')"
        columns = ", ".join(f'"{one}"' for one in values)
        given = f"unnest({_ARRAYS}) AS x({_ALIASES})"
        self._returned = table.identity or key
        returning = f"RETURNING {self._returned}"
        self._insert = f"INSERT INTO {name} AS t ({columns}) SELECT {', '.join(values.values())} FROM {given} "
        replaced = ", ".join(f'"{one}" = excluded."{one}"' for one in _ANSWER)
        self._upsert = (
            f'{self._insert} ON CONFLICT ("{KEY}") DO UPDATE SET {replaced}'
            f" WHERE NOT t.success AND excluded.success {returning}"
        )
        self._insert += returning
        self._is_uuid = table.has_key and table.columns[KEY].type == "uuid"
        wanted = f'"{KEY}" = ANY(%b::text[]::uuid[])' if self._is_uuid else f"{key} = ANY(%b::text[])"
        self._find = f"SELECT {key}, bool_or(success) FROM {name} WHERE {wanted} GROUP BY 1"
        same = f't."{KEY}" = x.key::uuid' if self._is_uuid else f"{_of('t', key)} = x.key"
        mended = ", ".join(f'"{one}" = {values[one]}' for one in _ANSWER)
        self._mend = f"UPDATE {name} AS t SET {mended} FROM {given} WHERE {same} AND NOT t.success"
        self._mend += f" RETURNING {_of('t', self._returned)}"

    def write(self, connection: "Connection[Any]", chunk: Sequence[Record]) -> Kept:
        """Write a chunk; all of it or nothing.

        Raises:
            psycopg.Error: The database refused it, or is gone.
        """
        if self._table.key_is_unique:
            ids = self._run(connection, self._upsert, chunk, heading_first=True)
            return self._kept(connection, ids, chunk)
        with connection.transaction():
            lock = f"stagebook {self._table.relation}"
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [lock])
            found = self._found(connection, chunk)
            new = [one for one in chunk if self._known_by(one) not in found]
            mended = [one for one in chunk if found.get(self._known_by(one)) is False and one.success]
            ids = self._run(connection, self._insert, new, heading_first=True) if new else []
            if mended:
                ids += self._run(connection, self._mend, mended, heading_first=False)
        return self._kept(connection, ids, chunk)

    def _found(self, connection: "Connection[Any]", chunk: Sequence[Record]) -> dict[str, bool]:
        """Say which keys are stored, and whether with an answer."""
        keys = [one.key for one in chunk]
        return dict(connection.execute(self._find.encode(), [keys]).fetchall())

    def _known_by(self, record: Record) -> str:
        """Give a row's key as the table gives it back."""
        return str(UUID(record.key)) if self._is_uuid else record.key

    def _run(
        self, connection: "Connection[Any]", statement: str, chunk: Sequence[Record], *, heading_first: bool
    ) -> list[Any]:
        """Run a statement on rows, each column an array."""
        text = [_as_text(column) for column in zip(*chunk, strict=True)]
        tags = list(self._heading.tags)
        given = [self._heading.experiment_name, tags, *text] if heading_first else [tags, *text]
        return [row[0] for row in connection.execute(statement.encode(), given).fetchall()]

    def _kept(self, connection: "Connection[Any]", ids: list[Any], chunk: Sequence[Record]) -> Kept:
        """Account for a chunk; of rows that were not written, tell those that are there from those that are not."""
        told = [one if isinstance(one, int) else str(one) for one in ids]
        lost: list[Refused] = []
        if len(told) < len(chunk):
            found = self._found(connection, chunk)
            lost = [
                Refused(place, SWALLOWED)
                for place, one in enumerate(chunk)
                if one.success > found.get(self._known_by(one), -1)
            ]
        return Kept(told, len(chunk) - len(told) - len(lost), lost)


def _of(alias: str, column: str) -> str:
    """Name a column of an alias."""
    return f"{alias}.{column}" if column.startswith('"') else column.replace("(metadata", f"({alias}.metadata")


def _as_text(column: Sequence[Any]) -> list[str | None]:
    """Write a column's values as PostgreSQL reads them."""
    return [
        one if one is None or type(one) is str else ("t" if one else "f") if isinstance(one, bool) else str(one)
        for one in column
    ]
