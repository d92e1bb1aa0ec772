"""Results in a table of PostgreSQL, Supabase and its transaction pooler included.

Nothing is kept in the session: no prepared statement, no temporary table, no lock that outlives its transaction. A
chunk is one transaction; where its commit may have been lost with the connection, it is sent again: rows are known by
key.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from stagebook_pipelines.prompt_batch.storing.postgres_rows import PostgresRows
from stagebook_pipelines.prompt_batch.storing.postgres_table import see_to_table
from stagebook_pipelines.prompt_batch.storing.record import Heading, Record
from stagebook_pipelines.prompt_batch.storing.store import ChunkRefused, Kept, Refused, StoreError, StoreLost
from stagebook_pipelines.prompt_batch.storing.table_name import TableName

if TYPE_CHECKING:
    from psycopg import Connection, Error

T = TypeVar("T")

SCHEMES: Final = ("postgresql", "postgres")
WAITS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Most seconds before each further try on a lost connection: some 10 s in all, in which a server is restarted."""
OPENING: Final = 4
"""Of these, how many are waited for at the first connection, where the address may be wrong."""
CONNECT_SECONDS: Final = 10
LONGEST_DETAIL: Final = 200
"""Characters of what a database says of a row; it may repeat the whole row."""
_OF_OTHERS: Final = {"pgbouncer", "connection_limit", "pool_timeout", "schema"}
"""Parameters of other clients (Prisma's) in the addresses that Supabase shows; libpq refuses what it does not know."""
_FOR_GOOD: Final = (
    "authentication failed",
    "does not exist",
    "pg_hba.conf",
    "translate host name",
    "no password",
    "not found",
)
"""In what is said of a connection where trying again changes nothing."""
_OF_A_ROW: Final = ("22", "23")
"""Classes of SQLSTATE for which the reason lies in a row: its data, or what the table asks of it."""
_PASSING: Final = {"40001", "40P01", "55P03", "57014"}
"""Deadlocks, locks and statements that took too long: the chunk is sent again."""


class PostgresStore:
    """Implements `Store` for a table of PostgreSQL.

    Args:
        address: `postgresql://...`.
        name: The table.
        heading: What its rows share.

    Raises:
        StoreError: The database cannot be reached, or the table cannot take results.
    """

    def __init__(self, address: str, name: TableName, heading: Heading) -> None:
        try:
            import psycopg  # noqa: PLC0415  an extra, 0.1 s to import
        except ImportError as error:
            raise StoreError(
                f"storing in PostgreSQL needs psycopg, which is not installed ({error});"
                " install it with: pip install 'stagebook[postgres]'"
            ) from None
        self._psycopg = psycopg
        self._address = _without_what_others_read(address)
        self._connection: Connection[Any] | None = None
        try:
            table = self._persistently(lambda connection: see_to_table(connection, name), WAITS[:OPENING])
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"the table {name} cannot be used: {told(error)}") from None
        except StoreError:
            self.close()
            raise
        self._rows = PostgresRows(table, heading)

    def keep(self, chunk: Sequence[Record]) -> Kept:
        """Write a chunk in one transaction; where a row is refused, its halves in one each."""
        try:
            return self._persistently(lambda connection: self._rows.write(connection, chunk))
        except self._psycopg.Error as error:
            if not (error.sqlstate or "").startswith(_OF_A_ROW):
                raise ChunkRefused(told(error)) from None
            if len(chunk) == 1:
                return Kept([], 0, [Refused(0, told(error))])
        middle = len(chunk) // 2
        first, second = self.keep(chunk[:middle]), self.keep(chunk[middle:])
        refused = [*first.refused, *(Refused(middle + one.place, one.reason) for one in second.refused)]
        return Kept([*first.ids, *second.ids], first.present + second.present, refused)

    def finish(self) -> None:
        """Every chunk is lasting already."""

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _persistently(self, work: "Callable[[Connection[Any]], T]", waits: Sequence[float] = WAITS) -> T:
        """Do something on a connection; when that is lost, again on a new one.

        Raises:
            StoreLost: None is to be had.
            psycopg.Error: The database refuses the work itself.
        """
        psycopg = self._psycopg
        for wait in (*waits, 0.0):
            try:
                return work(self._connected())
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                lost = self._connection is None or self._connection.closed
                if not lost and (not wait or error.sqlstate not in _PASSING):
                    raise
                if lost:
                    self.close()
                if lost and (not wait or any(words in str(error) for words in _FOR_GOOD)):
                    raise StoreLost(f"the database {_place(self._address)} cannot be reached: {told(error)}") from None
            time.sleep(random.uniform(0.5, 1) * wait)  # noqa: S311  spreads tries, keeps no secret
        raise AssertionError("the last try returns or raises")

    def _connected(self) -> "Connection[Any]":
        """Give the connection, a new one where there is none.

        Raises:
            StoreError: The address is none.
        """
        psycopg = self._psycopg
        if self._connection is None:
            try:
                known = psycopg.conninfo.conninfo_to_dict(self._address)
            except psycopg.ProgrammingError as error:
                raise StoreError(f"the address of the database cannot be read: {told(error)}") from None
            more = {"connect_timeout": CONNECT_SECONDS, "application_name": "stagebook", "client_encoding": "utf8"}
            self._connection = psycopg.connect(
                self._address,
                autocommit=True,
                prepare_threshold=None,  # a transaction pooler gives every statement another session
                **{name: value for name, value in more.items() if name not in known},
            )
        return self._connection


def told(error: "Error") -> str:
    """Say in one line what the database says."""
    diagnostics = error.diag
    first = diagnostics.message_primary or (str(error).strip().splitlines() or [type(error).__name__])[0]
    detail = " ".join((diagnostics.message_detail or "").split())
    if len(detail) > LONGEST_DETAIL:
        detail = detail[:LONGEST_DETAIL] + "..."
    return f"{first} ({detail})" if detail else first


def _place(address: str) -> str:
    """Name host and database, without whatever else stands in an address."""
    parts = urlsplit(address)
    return f"{parts.path.removeprefix('/') or 'postgres'} at {parts.hostname or 'this machine'}"


def _without_what_others_read(address: str) -> str:
    parts = urlsplit(address)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in _OF_OTHERS]
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(kept)))
