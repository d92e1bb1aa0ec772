"""A ledger's PostgreSQL database: its writing session and its readers."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, ParamSpec, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.postgres.address import Address
from stagebook.ledger.postgres.connection import PostgresConnection, Raw, connect, connect_explained
from stagebook.ledger.postgres.errors import explain, passes
from stagebook.ledger.postgres.leases import Leases
from stagebook.ledger.postgres.locking import EVERYTHING, ending_when_idle, key
from stagebook.ledger.postgres.migrations import check_version, migrate
from stagebook.ledger.postgres.query import Question
from stagebook.ledger.postgres.session import FIRST_PAUSE, LONGEST_PAUSE, PostgresSession
from stagebook.ledger.postgres.typed_views import install_stage_views, stage_views, views_named_in
from stagebook.ledger.sql.connection import Connection, Work
from stagebook.ledger.sql.typed_views import TypedView
from stagebook.ledger.table import Cell, Table
from stagebook.model.errors import LedgerError

P = ParamSpec("P")
T = TypeVar("T")
CHANGE_IDLE_SECONDS: Final = 60.0
"""How long a change may think between two statements."""
IDLE_MOST: Final = 2
"""Connections of questions that are kept for the next ones."""


class PostgresDatabase:
    """Connections to one database; a lost one is replaced, and what was read over it is read again.

    Args:
        address: Where it is.
        read_only: Whether nothing is to be written.
        busy_seconds: How long a server that is away is waited for.

    Raises:
        LedgerError: It cannot be opened, or is no ledger.
    """

    def __init__(self, address: Address, *, read_only: bool, busy_seconds: float) -> None:
        self.where = address.shown
        self.files = False
        self.blobs = BlobFiles(Path())
        self.session: PostgresSession | None = None
        self._address = address
        self._busy_seconds = busy_seconds
        self._idle: list[Raw] = []
        self._closed = False
        self._renewing: PostgresConnection | None = None
        self._near = PostgresConnection(self._opened(read_only=read_only), address.schema)
        self._near_lock = threading.RLock()
        self._far: PostgresConnection | None = None
        self._far_lock = threading.Lock()
        self.leases = Leases(self.read, self._renew)

    def _opened(self, *, read_only: bool) -> Raw:
        """Connect, and see to what is there; again where the server goes away meanwhile."""
        address, busy_seconds = self._address, self._busy_seconds
        until = monotonic() + busy_seconds
        while True:
            raw = connect_explained(address, busy_seconds)
            try:
                if read_only:
                    check_version(raw, address)
                else:
                    migrate(raw, address)
                    self.session = PostgresSession(connect(address, busy_seconds), address, self.blobs, busy_seconds)
            except psycopg.Error as error:
                raw.close()
                if not passes(error) or monotonic() > until:
                    raise explain(error, address) from error
            except BaseException:
                raw.close()
                raise
            else:
                return raw
            sleep(FIRST_PAUSE)

    def read(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read something small, here and now.

        Raises:
            LedgerError: The database failed.
        """
        with self._near_lock:
            return self._patiently(lambda: function(self._connected(self._near), *args, **kwargs))

    async def read_apart(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read something large in a thread of its own, so that the event loop goes on.

        Raises:
            LedgerError: The database failed.
        """
        return await asyncio.to_thread(lambda: self._read_far(function, *args, **kwargs))

    async def survey(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read at length, in a thread, a connection and a snapshot of its own.

        Raises:
            LedgerError: The database failed.
        """
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        return await asyncio.to_thread(lambda: self._apart([begin], function, *args, **kwargs))

    async def change(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Change what the writer's session is not for, in a thread, a connection and a transaction of its own.

        Nobody else writes meanwhile. It is committed when the function returns, and taken back when it raises. With
        a lost connection it is not tried again.

        Raises:
            LedgerError: The database failed, or was opened for reading only.
        """
        if self.session is None:
            raise LedgerError(f"the ledger {self.where} was opened for reading only")
        locked = f"pg_advisory_xact_lock({key(self._address.schema, EVERYTHING)})"
        lock = f"SELECT {ending_when_idle(CHANGE_IDLE_SECONDS)}, {locked}"
        return await asyncio.to_thread(lambda: self._apart(["BEGIN", lock], function, *args, **kwargs))

    async def ask(
        self,
        sql: str,
        parameters: Sequence[Cell],
        limit: int,
        timeout: float,  # noqa: ASYNC109  the server itself stops at it; a cancelled thread would go on
    ) -> Table:
        """Answer a question from outside, in a thread and a connection of its own.

        Raises:
            InputError: The statement is wrong, writes, or took too long.
        """
        asking: list[Question] = []
        try:
            return await asyncio.to_thread(self._ask, asking, sql, parameters, limit, timeout)
        except asyncio.CancelledError:
            for question in asking:
                question.stop()
            raise

    def damage(self, _connection: Connection) -> Iterator[str]:
        """Say nothing: what PostgreSQL finds damaged, it says when that is read, as the rest of a check does."""
        yield from ()

    def typed_views(self, connection: Connection) -> list[TypedView]:
        """Make the views of every stage that was ever run."""
        return stage_views(connection)

    def install_typed_views(self, connection: Connection) -> list[TypedView]:
        """Put the views of every stage in place for all clients, instead of those that were put there before."""
        return install_stage_views(connection, self._address.schema)

    def close(self) -> None:
        """Close the readers; the session is closed by its thread. Doing it again does nothing."""
        self._closed = True
        self.leases.close()
        with self._near_lock, self._far_lock:
            self._near.close()
            for connection in (self._far, self._renewing):
                if connection is not None:
                    connection.close()
            while self._idle:
                self._idle.pop().close()

    def _renew(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what the thread does that renews leases, on its own connection: it keeps no reader waiting."""

        def once() -> T:
            if self._renewing is None:
                self._renewing = self._new()
            return function(self._connected(self._renewing), *args, **kwargs)

        return self._patiently(once)

    def _read_far(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._far_lock:
            return self._patiently(lambda: function(self._connected(self._farther()), *args, **kwargs))

    def _farther(self) -> PostgresConnection:
        if self._far is None:
            self._far = self._new()
        return self._far

    def _new(self) -> PostgresConnection:
        return PostgresConnection(connect(self._address, self._busy_seconds), self._address.schema)

    def _connected(self, connection: PostgresConnection) -> PostgresConnection:
        if connection.raw.closed:
            if self._closed:
                raise LedgerError(f"the ledger {self.where} is closed; open it again to read")
            connection.raw = connect(self._address, self._busy_seconds)
        return connection

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do what may be done twice, again while the server is away."""
        until = monotonic() + self._busy_seconds
        pause = FIRST_PAUSE
        while True:
            try:
                return work()
            except psycopg.Error as error:
                if not passes(error) or monotonic() + pause > until:
                    raise explain(error, self._address) from error
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _apart(self, first: Sequence[str], function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        raw = None
        try:
            raw = self._patiently(lambda: connect(self._address, self._busy_seconds))
            for statement in first:
                raw.execute(statement.encode())
            result = function(PostgresConnection(raw, self._address.schema), *args, **kwargs)
            raw.execute(b"COMMIT")
        except psycopg.Error as error:
            raise explain(error, self._address) from error
        finally:
            if raw is not None:
                raw.close()
        return result

    def _ask(self, asking: list[Question], sql: str, parameters: Sequence[Cell], limit: int, timeout: float) -> Table:
        def once() -> Table:
            raw = self._taken()
            asking[:] = [Question(raw, self._address, self.blobs, self._views)]
            try:
                return asking[0].ask(sql, parameters, limit, timeout)
            finally:
                self._put_back(raw)

        return self._patiently(once)

    def _views(self, question: str) -> list[tuple[str, str]]:
        return self.read(views_named_in, question)

    def _taken(self) -> Raw:
        if self._closed:
            raise LedgerError(f"the ledger {self.where} is closed; open it again to read")
        while self._idle:
            with suppress(IndexError):
                raw = self._idle.pop()
                if not raw.closed:
                    return raw
        return connect(self._address, self._busy_seconds)

    def _put_back(self, raw: Raw) -> None:
        idle = not raw.closed and raw.info.transaction_status == TransactionStatus.IDLE
        if idle and not self._closed and len(self._idle) < IDLE_MOST:
            self._idle.append(raw)
        else:
            raw.close()
