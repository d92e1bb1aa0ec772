"""Questions in SQL from outside: a connection of their own that can only read."""

import sqlite3
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Final

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.sqlite.connection import open_reader
from stagebook.ledger.sqlite.errors import primary_code
from stagebook.ledger.sqlite.views import create_our_views
from stagebook.ledger.table import Cell, Table
from stagebook.model.errors import InputError, LedgerError, NotFound, StagebookError

_STEPS_BETWEEN_LOOKS: Final = 10_000
"""Virtual machine steps between two looks at the clock: well under a millisecond."""
_LONGEST: Final = 256 << 20
"""Bytes of the longest text or blob that a question may make."""
_ALLOWED: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_PRAGMAS: Final = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "user_version", "application_id"}
)
"""Those that tell about the schema and change nothing."""
_TABLE_FUNCTIONS: Final = ("json_each", "json_tree")
_DENIED_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer", "writefile", "edit", "readfile"})


class Question:
    """One question, in a connection of its own; asked once, in any thread.

    Args:
        address: SQLite's `file:` address.
        where: The ledger's place, for errors.
        blobs: Where large payloads are.
        busy_seconds: How long to wait for another process.
    """

    def __init__(self, address: str, where: str, blobs: BlobFiles, busy_seconds: float) -> None:
        self._connection = open_reader(address, where, busy_seconds)
        self._blobs = blobs
        self._stopped = threading.Event()
        self._deadline = float("inf")
        self._damage: LedgerError | None = None

    def ask(self, sql: str, parameters: Sequence[Cell], limit: int, timeout: float) -> Table:
        """Ask, and close the connection.

        Args:
            sql: One statement that reads.
            parameters: For its question marks.
            limit: Most rows to give back.
            timeout: Seconds.

        Raises:
            InputError: The statement is wrong, writes, or took too long.
        """
        try:
            self._prepare(sql)
            self._deadline = monotonic() + timeout
            cursor = self._connection.execute(sql, tuple(parameters))
            columns = tuple(column[0] for column in cursor.description or ())
            rows = cursor.fetchmany(limit + 1) if columns else []
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise self._explained(error, timeout) from error
        finally:
            self._connection.close()
        return Table(columns, rows[:limit], len(rows) > limit)

    def stop(self) -> None:
        """End the question early, from any thread."""
        self._stopped.set()

    def _prepare(self, sql: str) -> None:
        connection = self._connection
        connection.create_function("payload_text", 1, self._payload_text, deterministic=True)
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA query_only = 0")
        create_our_views(connection)
        if "__" in sql:
            from stagebook.ledger.sqlite.typed_views import create_typed_views  # noqa: PLC0415  few questions name one

            create_typed_views(connection, sql)
        connection.execute("PRAGMA query_only = 1")
        for function in _TABLE_FUNCTIONS:  # made at first use, which the authorizer would take for making a table
            connection.execute(f"SELECT 1 FROM {function}('[]')").fetchall()  # noqa: S608  a constant
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_progress_handler(self._is_over, _STEPS_BETWEEN_LOOKS)
        connection.set_authorizer(_authorize)

    def _is_over(self) -> bool:
        return self._stopped.is_set() or monotonic() > self._deadline

    def _payload_text(self, digest: bytes | None) -> str | None:
        """A payload as text, NULL where it was purged; bytes that are not UTF-8 become U+FFFD."""
        if digest is None:
            return None
        try:
            return read_payload(self._connection, self._blobs, digest).decode("utf-8", "replace")
        except NotFound:
            return None
        except LedgerError as error:
            self._damage = error  # SQLite would only say that a function failed
            raise

    def _explained(self, error: Exception, timeout: float) -> StagebookError:
        if self._damage is not None:
            return self._damage
        if isinstance(error, sqlite3.Error):
            if primary_code(error) == sqlite3.SQLITE_INTERRUPT:
                return InputError(
                    f"the query was stopped after {timeout:g} s; narrow it (WHERE run_id = ...), or give it more time"
                )
            if primary_code(error) == sqlite3.SQLITE_AUTH or "readonly" in str(error):
                return InputError(f"a query may only read the ledger ({error}); write one SELECT")
        if "one statement at a time" in str(error):
            return InputError("the query holds several statements; write one SELECT")
        mend = self._near(str(error)) or "`stagebook sql --views` lists what there is to ask for"
        return InputError(f"the query failed: {error}; {mend}")

    def _near(self, error: str) -> str | None:
        """Name the views of stages that are called most like one that is not there."""
        _, told, name = error.partition("no such table: ")
        if not told or "__" not in name:
            return None
        from difflib import get_close_matches  # noqa: PLC0415  for an error alone

        from stagebook.ledger.sql.typed_views import typed_views  # noqa: PLC0415  likewise
        from stagebook.ledger.sqlite.typed_views import SqliteWords  # noqa: PLC0415  likewise

        near = get_close_matches(name, [view.name for view in typed_views(self._connection, SqliteWords())], n=3)
        return f"the nearest: {', '.join(near)}" if near else None


def _authorize(action: int, first: str | None, second: str | None, _database: str | None, _inner: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _DENIED_FUNCTIONS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if (first or "").lower() in _PRAGMAS else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
