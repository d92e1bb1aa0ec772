"""Questions in SQL from outside: one statement, in a transaction that can only read, with an end to its time.

Everything that holds for a question is set for its transaction alone, so that nothing of it stays in a connection that
a pooler gives to somebody else.
"""

import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.postgres.address import Address
from stagebook.ledger.postgres.connection import PostgresConnection, Raw
from stagebook.ledger.postgres.errors import explain, passes, state_of
from stagebook.ledger.postgres.translation import numbered
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.table import Cell, Table
from stagebook.model.errors import InputError, NotFound, StagebookError

_LEAD: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WITH: Final = re.compile(r"WITH\s+(RECURSIVE\s+)?", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z]+|\(")
_PLAIN: Final = frozenset({"explain", "show"})
"""What only reads, and no cursor can be declared for."""
_WRITING: Final = frozenset(
    [
        "insert",
        "update",
        "delete",
        "merge",
        "drop",
        "create",
        "alter",
        "truncate",
        "copy",
        "grant",
        "revoke",
        "vacuum",
        "begin",
        "commit",
        "rollback",
        "set",
        "reset",
        "call",
        "do",
        "lock",
        "listen",
        "notify",
        "prepare",
        "execute",
        "declare",
        "analyze",
        "cluster",
        "reindex",
        "refresh",
        "comment",
        "import",
        "attach",
        "pragma",
    ]
)
_READ_ONLY: Final = frozenset({"25006", "42501", "0A000"})
_BODY: Final = re.compile(r'\("?\\+x([0-9a-f]{32})"?\)')
"""A `stored_body` as text."""
_FIRST_OF_USERS: Final = 16384
"""Object ids below are PostgreSQL's own."""
_LONGEST: Final = 1 << 31
"""Milliseconds; PostgreSQL takes no more."""


class Question:
    """One question on a connection; asked once, in any thread.

    Args:
        raw: Without a transaction.
        address: The ledger's.
        blobs: For reading payloads.
        views: Gives (name, select) of the views of stages that a question names.
    """

    def __init__(
        self, raw: Raw, address: Address, blobs: BlobFiles, views: Callable[[str], Sequence[tuple[str, str]]]
    ) -> None:
        self._raw = raw
        self._address = address
        self._blobs = blobs
        self._views = views
        self._ended = threading.Event()
        self._stopped = False

    def ask(self, sql: str, parameters: Sequence[Cell], limit: int, timeout: float) -> Table:
        """Ask; the connection is left without a transaction, or closed.

        Args:
            sql: One statement that reads.
            parameters: For its question marks.
            limit: Most rows to give back.
            timeout: Seconds.

        Raises:
            InputError: The statement is wrong, writes, or took too long.
            psycopg.OperationalError: The connection is lost, and it may be asked again.
        """
        word = _first_word(sql)
        if word in _WRITING:
            raise InputError(f"a query may only read the ledger ({word.upper()}); write one SELECT")
        if "\0" in sql:
            raise InputError("the query failed: it holds a null character; leave it out")
        try:
            return self._ask(sql, word, parameters, limit, timeout)
        except psycopg.Error as error:
            if not self._stopped and passes(error):
                raise
            raise self._explained(error, timeout) from error
        finally:
            self._ended.set()
            self._leave()

    def stop(self) -> None:
        """End the question early, from any thread."""
        self._stopped = True
        if not self._ended.is_set():
            self._raw.cancel_safe(timeout=5.0)

    def _ask(self, sql: str, word: str, parameters: Sequence[Cell], limit: int, timeout: float) -> Table:
        views = self._views(sql) if "__" in sql else []
        sql = numbered(sql) if parameters else sql
        raw = self._raw
        with raw.pipeline():  # which takes one statement at a time, unlike the simple protocol
            raw.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            raw.execute(
                b"SELECT set_config('search_path', $1, true), set_config('statement_timeout', $2, true)",
                (f"{self._address.schema}, public", str(min(max(1, round(timeout * 1000)), _LONGEST - 1))),
            )
            raw.execute(b"SAVEPOINT asked")
            if word in _PLAIN:
                cursor = raw.execute(sql.encode(), parameters or None)
            else:
                raw.execute(b"DECLARE answer NO SCROLL CURSOR FOR " + _with(sql, views).encode(), parameters or None)
                cursor = raw.execute(f"FETCH FORWARD {limit + 1} FROM answer".encode())
        columns = cursor.description or []
        rows = cursor.fetchmany(limit + 1) if columns else []
        names = tuple(column.name for column in columns)
        read = self._readers(columns)
        if read:
            rows = [
                tuple(read[place](cell) if place in read else cell for place, cell in enumerate(row)) for row in rows
            ]
        return Table(names, [_cells(row) for row in rows[:limit]], len(rows) > limit)

    def _readers(self, columns: Sequence[psycopg.Column]) -> dict[int, Callable[[Any], Cell]]:
        """Find the columns that hold stored bodies, which are unpacked here."""
        other = {column.type_code for column in columns if column.type_code >= _FIRST_OF_USERS}
        if not other:
            return {}
        found = self._raw.execute(
            "SELECT t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
            "WHERE t.typname = 'stored_body' AND n.nspname = $1",
            (self._address.schema,),
        ).fetchall()
        ours = {oid for (oid,) in found}
        return {place: self._body for place, column in enumerate(columns) if column.type_code in ours}

    def _body(self, cell: Any) -> Cell:
        """A payload as text, NULL where it was purged; bytes that are not UTF-8 become U+FFFD."""
        found = None if cell is None else _BODY.fullmatch(str(cell))
        if found is None:
            return None
        connection = PostgresConnection(self._raw, self._address.schema)
        try:
            return read_payload(connection, self._blobs, bytes.fromhex(found[1])).decode("utf-8", "replace")
        except NotFound:
            return None

    def _leave(self) -> None:
        """End the transaction; within it, as a pooler may give the next one another server, let go of any locks.

        A question that only reads can take locks that outlive its transaction (`pg_advisory_lock`).
        """
        raw = self._raw
        if raw.closed or raw.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            with raw.pipeline():
                raw.execute(b"ROLLBACK TO asked")
                raw.execute(b"SELECT pg_advisory_unlock_all()")
                raw.execute(b"ROLLBACK")
        except psycopg.Error:
            raw.close()

    def _explained(self, error: psycopg.Error, timeout: float) -> StagebookError:
        state, said = state_of(error), (str(error).splitlines() or [repr(error)])[0]
        if state == errors.QueryCanceled.sqlstate:
            return InputError(
                f"the query was stopped after {timeout:g} s; narrow it (WHERE run_id = ...), or give it more time"
            )
        if state in _READ_ONLY:
            return InputError(f"a query may only read the ledger ({said}); write one SELECT")
        if "multiple commands" in said:
            return InputError("the query holds several statements; write one SELECT")
        if not state and not isinstance(error, psycopg.DataError | psycopg.ProgrammingError):
            return explain(error, self._address)
        mend = self._near(said) or "`stagebook sql --views` lists what there is to ask for"
        return InputError(f"the query failed: {said}; {mend}")

    def _near(self, said: str) -> str | None:
        """Name the views of stages that are called most like one that is not there."""
        found = re.search(r'relation "([^"]+)" does not exist', said)
        if found is None or "__" not in found[1]:
            return None
        from difflib import get_close_matches  # noqa: PLC0415  for an error alone

        self._leave()
        near = get_close_matches(found[1], [name.strip('"') for name, _ in self._views("")], n=3)
        return f"the nearest: {', '.join(near)}" if near else None


def _first_word(sql: str) -> str:
    rest = sql[_end_of_lead(sql) :]
    found = _WORD.match(rest)
    return "" if found is None else found.group().lower()


def _end_of_lead(sql: str) -> int:
    found = _LEAD.match(sql)
    return 0 if found is None else found.end()


def _with(sql: str, views: Sequence[tuple[str, str]]) -> str:
    """Put the views of stages before a question, as subqueries that it may name: nothing has to be made for it."""
    if not views:
        return sql
    named = ", ".join(f"{name} AS ({select})" for name, select in views)
    start = _end_of_lead(sql)
    theirs = _WITH.match(sql, start)
    if theirs is None:
        return f"{sql[:start]}WITH {named} {sql[start:]}"
    return f"{sql[:start]}WITH {theirs[1] or ''}{named}, {sql[theirs.end() :]}"


def _cells(row: Sequence[Any]) -> tuple[Cell, ...]:
    return tuple(cell if cell is None or isinstance(cell, str | int | float | bytes) else str(cell) for cell in row)
