"""Results in a table of an SQLite file."""

# ruff: noqa: S608  the names of tables are checked and quoted, and all values are parameters

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from stagebook_pipelines.prompt_batch.storing.record import COLUMNS, KEY, Heading, Record
from stagebook_pipelines.prompt_batch.storing.store import SWALLOWED, ChunkRefused, Kept, Refused, StoreError
from stagebook_pipelines.prompt_batch.storing.table_name import TableName

BUSY_SECONDS: Final = 30.0
"""How long another writer of the file is waited for."""
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS {table} (
    id INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    response TEXT,
    model TEXT,
    success INTEGER NOT NULL,
    error TEXT,
    "timestamp" TEXT NOT NULL,
    duration_ms INTEGER,
    tokens_used INTEGER,
    metadata TEXT NOT NULL DEFAULT '{{}}',
    experiment_name TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    record_key TEXT UNIQUE,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
_WRITTEN: Final = (*COLUMNS[:9], "experiment_name", "tags")
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


class SqliteStore:
    """Implements `Store` for a table of an SQLite file; `tags` and `metadata` are JSON.

    Args:
        path: The file; it is made where there is none.
        name: The table.
        heading: What its rows share.

    Raises:
        StoreError: The file is no database, or the table cannot take results.
    """

    def __init__(self, path: Path, name: TableName, heading: Heading) -> None:
        if name.schema is not None:
            raise StoreError(f"SQLite has no schemas; write {name.table} for {name}")
        self._path, self._name = path, name
        self._shared = (heading.experiment_name, orjson.dumps(heading.tags).decode())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # chunks may be kept from different threads, one after the other
            self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be opened: {error}") from None
        try:
            self._see_to_table()
        except sqlite3.Error as error:
            self.close()
            raise StoreError(f"the table {name} of {path} cannot be used: {error}") from None
        except StoreError:
            self.close()
            raise

    def keep(self, chunk: Sequence[Record]) -> Kept:
        """Write a chunk in one transaction, without the rows that the table refuses."""
        ids: list[int | str] = []
        refused: list[Refused] = []
        unwritten: list[int] = []
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                found = {} if self._unique else self._found(chunk)
                for place, record in enumerate(chunk):
                    try:
                        row = self._write(record, found)
                    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
                        refused.append(Refused(place, str(error)))
                        continue
                    if row is None:
                        unwritten.append(place)
                    else:
                        ids.append(row)
                refused += self._swallowed(chunk, unwritten)
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise ChunkRefused(str(error)) from None
        return Kept(ids, len(chunk) - len(ids) - len(refused), refused)

    def _swallowed(self, chunk: Sequence[Record], places: Sequence[int]) -> list[Refused]:
        """Tell rows that are there already from those that a trigger kept out without an error."""
        if not places:
            return []
        found = self._found([chunk[place] for place in places])
        lost = [place for place in places if chunk[place].success > found.get(chunk[place].key, -1)]
        return [Refused(place, SWALLOWED) for place in lost]

    def finish(self) -> None:
        """Every chunk is lasting already."""

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _see_to_table(self) -> None:
        database, table = self._database, self._name.sql
        columns = self._columns()
        if not columns:
            database.execute(_CREATE.format(table=table))
            columns = self._columns()
        self._refuse_view()
        self._refuse_what_does_not_fit(columns)
        self._has_key = KEY in columns
        self._unique = self._has_key and self._is_unique(KEY)
        written = (*_WRITTEN, *([KEY] if self._has_key else []))
        self._id = '"id"' if "id" in columns else f'"{KEY}"' if self._has_key else self._row_id()
        names, marks = ", ".join(f'"{one}"' for one in written), ", ".join("?" * len(written))
        self._insert = f"INSERT INTO {table} ({names}) VALUES ({marks}) "
        if self._unique:
            replaced = ", ".join(f'"{one}" = excluded."{one}"' for one in _ANSWER)
            self._insert += (
                f'ON CONFLICT ("{KEY}") DO UPDATE SET {replaced} WHERE NOT {table}."success" AND excluded."success" '
            )
        self._insert += f"RETURNING {self._id}"
        self._key = f'"{KEY}"' if self._has_key else f"json_extract(metadata, '$.{KEY}')"
        self._readable = "" if self._has_key else "json_valid(metadata) AND "
        mended = ", ".join(f'"{one}" = ?' for one in _ANSWER)
        self._mend = (
            f"UPDATE {table} SET {mended} WHERE {self._readable}{self._key} = ? AND NOT success RETURNING {self._id}"
        )

    def _refuse_view(self) -> None:
        kind = self._database.execute("SELECT type FROM pragma_table_list(?)", [self._name.table]).fetchone()
        if kind is not None and kind[0] != "table":
            raise StoreError(
                f"{self._name} of {self._path} is a {kind[0]}, which keeps no rows of its own; name a table"
            )

    def _row_id(self) -> str:
        """Name what tells the rows of a table apart that has neither an id nor a key of ours."""
        (without,) = self._database.execute("SELECT wr FROM pragma_table_list(?)", [self._name.table]).fetchone()
        if not without:
            return "rowid"
        (first,) = self._database.execute(
            "SELECT name FROM pragma_table_info(?) WHERE pk = 1", [self._name.table]
        ).fetchone()
        return '"{}"'.format(first.replace('"', '""'))

    def _columns(self) -> dict[str, tuple[bool, bool]]:
        """Name -> whether it requires a value, and whether it has a default."""
        rows = self._database.execute(
            'SELECT name, "notnull", dflt_value IS NOT NULL, pk FROM pragma_table_info(?)', [self._name.table]
        ).fetchall()
        return {name: (bool(required), bool(default or key)) for name, required, default, key in rows}

    def _is_unique(self, column: str) -> bool:
        indexes = self._database.execute(
            'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', [self._name.table]
        ).fetchall()
        of = "SELECT name FROM pragma_index_info(?)"
        return any([one for (one,) in self._database.execute(of, index)] == [column] for index in indexes)

    def _refuse_what_does_not_fit(self, columns: dict[str, tuple[bool, bool]]) -> None:
        if missing := [one for one in COLUMNS if one not in columns]:
            raise StoreError(
                f"the table {self._name} of {self._path} has no column {', '.join(missing)};"
                f" add each with ALTER TABLE {self._name.sql} ADD COLUMN, or name a table that is not there yet,"
                " and it is made"
            )
        known = {*COLUMNS, KEY}
        wanting = [
            name for name, (required, default) in columns.items() if required and not default and name not in known
        ]
        if wanting:
            raise StoreError(
                f"the table {self._name} of {self._path} requires a value for {', '.join(wanting)},"
                " which no result has; give a default or let it be null"
            )

    def _found(self, chunk: Sequence[Record]) -> dict[str, bool]:
        """Say which keys are stored, and whether with an answer."""
        keys = orjson.dumps([one.key for one in chunk]).decode()
        rows = self._database.execute(
            f"SELECT {self._key}, max(success) FROM {self._name.sql}"
            f" WHERE {self._readable}{self._key} IN (SELECT value FROM json_each(?)) GROUP BY 1",
            [keys],
        ).fetchall()
        return {key: bool(success) for key, success in rows}

    def _write(self, record: Record, found: dict[str, bool]) -> int | str | None:
        """Write one row; None where it is there already."""
        row: tuple[object, ...]
        if self._has_key:
            row = (*record[:9], *self._shared, record.key)
        else:
            metadata = orjson.dumps({**orjson.loads(record.metadata), KEY: record.key}).decode()
            row = (*record[:8], metadata, *self._shared)
        if record.key not in found:
            written = self._database.execute(self._insert, row).fetchone()
        elif record.success and not found[record.key]:
            given = dict(zip(_WRITTEN, row, strict=False))
            answer = [*(given[one] for one in _ANSWER), record.key]
            written = self._database.execute(self._mend, answer).fetchone()
        else:
            return None
        return None if written is None else written[0]
