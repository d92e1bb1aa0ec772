"""A ledger's SQLite database: its writing session and its readers."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar
from urllib.parse import quote

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.location import Location
from stagebook.ledger.sql.connection import Connection, Work
from stagebook.ledger.sqlite.connection import check_file, open_reader, open_writer
from stagebook.ledger.sqlite.errors import explain
from stagebook.ledger.sqlite.query import Question
from stagebook.ledger.sqlite.session import SqliteSession
from stagebook.ledger.sqlite.transaction import writing
from stagebook.ledger.table import Cell, Table
from stagebook.model.errors import LedgerError, NoLedger

FAR_CACHE_KIB: Final = 64 * 1024
"""Page cache of the reader for large reads; SQLite's own default is 2 MB."""
_FORGETFUL: Final = "PRAGMA secure_delete = 1"
NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What systems say whose files can have one name only, such as FAT."""
if TYPE_CHECKING:
    from stagebook.ledger.sql.typed_views import TypedView

P = ParamSpec("P")
T = TypeVar("T")


class SqliteDatabase:
    """Connections to one database.

    Readers never wait for the writer (WAL); those of a ledger in memory share a lock with it instead. A small read
    runs where it is asked for: it takes less time than handing it to a thread.

    Args:
        location: The ledger's place.
        read_only: Whether nothing is to be written, not even a missing file.
        busy_seconds: How long to wait for another process.

    Raises:
        LedgerError: It cannot be opened, or is no ledger.
    """

    def __init__(self, location: Location, *, read_only: bool, busy_seconds: float) -> None:
        self.where = str(location)
        self._busy_seconds = busy_seconds
        self._guard: AbstractContextManager[object] = threading.RLock() if location.path is None else nullcontext()
        self.blobs = BlobFiles((location.folder or Path()) / "blobs")
        self.files = location.path is not None
        self.session: SqliteSession | None = None
        address = location.address
        if location.path is not None:
            address = _prepare_file(location, read_only=read_only, busy_seconds=busy_seconds)
        if not read_only:
            connection = open_writer(address, self.where, busy_seconds)
            self.session = SqliteSession(connection, self._guard, self.blobs, files=self.files, where=self.where)
        self.address = address
        self._near = open_reader(address, self.where, busy_seconds)
        self._near_lock = threading.Lock()
        self._far: sqlite3.Connection | None = None
        self._far_lock = threading.Lock()

    def read(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read something small, here and now.

        Raises:
            LedgerError: The database failed.
        """
        with self._near_lock:
            return self._call(self._near, function, *args, **kwargs)

    async def read_apart(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read something large in a thread of its own, so that the event loop goes on.

        Raises:
            LedgerError: The database failed.
        """
        return await asyncio.to_thread(lambda: self._read_far(function, *args, **kwargs))

    async def survey(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read at length, in a thread, a connection and a snapshot of its own: other readers need not wait.

        Raises:
            LedgerError: The database failed.
        """
        return await asyncio.to_thread(lambda: self._apart(open_reader, "BEGIN", function, *args, **kwargs))

    async def change(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Change what the writer's session is not for, in a thread, a connection and a transaction of its own.

        Nobody else writes meanwhile. It is committed when the function returns, and taken back when it raises. What is
        deleted cannot be read out of the file any more.

        Raises:
            LedgerError: The database failed, or was opened for reading only.
        """
        if self.session is None:
            raise LedgerError(f"the ledger {self.where} was opened for reading only")
        return await asyncio.to_thread(lambda: self._apart(open_writer, _FORGETFUL, writing(function), *args, **kwargs))

    def damage(self, connection: Connection) -> Iterator[str]:
        """Say what SQLite itself finds wrong with the file, a sentence each."""
        for (line,) in connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"SQLite finds the database damaged: {line}"
        for row in connection.execute("PRAGMA foreign_key_check"):
            yield f"a row of {row[0]} names a row of {row[2]} that is not there"

    def typed_views(self, connection: Connection) -> "list[TypedView]":
        """Make the views of every stage that was ever run."""
        from stagebook.ledger.sql.typed_views import typed_views  # noqa: PLC0415  a run needs none
        from stagebook.ledger.sqlite.typed_views import SqliteWords  # noqa: PLC0415  likewise

        return typed_views(connection, SqliteWords())

    def install_typed_views(self, connection: Connection) -> "list[TypedView]":
        """Put the views of every stage in place for all clients, instead of those that were put there before."""
        from stagebook.ledger.sqlite.typed_views import install_typed_views  # noqa: PLC0415  a run needs none

        return install_typed_views(connection)

    async def ask(
        self,
        sql: str,
        parameters: Sequence[Cell],
        limit: int,
        timeout: float,  # noqa: ASYNC109  SQLite itself stops at it; a cancelled thread would go on
    ) -> Table:
        """Answer a question from outside, in a thread and a connection of its own.

        Raises:
            InputError: The statement is wrong, writes, or took too long.
        """
        with self._guard:
            question = Question(
                self.address.replace("?mode=rw", "?mode=ro"), self.where, self.blobs, self._busy_seconds
            )
        try:
            return await asyncio.to_thread(self._ask, question, sql, parameters, limit, timeout)
        finally:
            question.stop()

    def _ask(self, question: Question, sql: str, parameters: Sequence[Cell], limit: int, timeout: float) -> Table:
        with self._guard:
            return question.ask(sql, parameters, limit, timeout)

    def close(self) -> None:
        """Close the readers; the session is closed by its thread. Doing it again does nothing."""
        with self._near_lock, self._far_lock, self._guard:
            self._near.close()
            if self._far is not None:
                self._far.close()

    def _read_far(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._far_lock:
            if self._far is None:
                with self._guard:
                    self._far = open_reader(self.address, self.where, self._busy_seconds)
                    self._far.execute(f"PRAGMA cache_size = -{FAR_CACHE_KIB}")
            return self._call(self._far, function, *args, **kwargs)

    def _apart(
        self,
        opener: Callable[[str, str, float], sqlite3.Connection],
        first: str,
        function: Work[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        with self._guard, closing(opener(self.address, self.where, self._busy_seconds)) as connection:
            connection.execute(first)
            return self._call(connection, function, *args, **kwargs)

    def _call(
        self,
        connection: sqlite3.Connection,
        function: Work[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            with self._guard:
                return function(connection, *args, **kwargs)
        except sqlite3.ProgrammingError as error:
            raise LedgerError(f"the ledger {self.where} is closed; open it again to read") from error
        except sqlite3.Error as error:
            raise explain(error, self.where) from error


def _prepare_file(location: Location, *, read_only: bool, busy_seconds: float) -> str:
    """Look at what is there, make what is missing, and give the address to open."""
    path = location.path
    if path is None:
        return location.address
    if path.is_dir():
        raise LedgerError(f"{path} is a folder, not a ledger; name a file in it: {path / 'ledger.db'}")
    if path.exists():
        check_file(path)
    elif read_only:
        raise NoLedger(f"no ledger is at {path}: nothing has been run here yet, or name the right one with --ledger")
    else:
        _make_file(path, busy_seconds)
    if not read_only:
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            raise LedgerError(
                f"the ledger {path} is read-only: check the permissions of the file and its folder, "
                "or name another with --ledger (nothing was changed)"
            )
        return f"{location.address}?mode=rw"
    wal = path.with_name(f"{path.name}-wal")
    if os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-shm").exists() or wal.exists():
        return f"{location.address}?mode=ro"
    # reading WAL takes a file for shared memory beside the database; where none can be made, and no log is left over,
    # nobody is writing, and the database alone is all there is
    return f"{location.address}?mode=ro&immutable=1"


def _make_file(path: Path, busy_seconds: float) -> None:
    """Make an empty ledger whole beside its place and put it there, so that no half-made one is ever found.

    Raises:
        LedgerError: It cannot be made; nothing is left of it.
    """
    made = [one for one in path.parents if not one.exists()]
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(open_writer(f"file:{quote(str(draft))}?mode=rw", str(path), busy_seconds)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # closing does so too, but does not tell
            _put(draft, path)
    except BaseException as error:
        for one in made:
            with suppress(OSError):  # not made yet, or in use by another process meanwhile
                one.rmdir()
        if isinstance(error, sqlite3.Error):
            raise explain(error, str(path)) from error
        if not isinstance(error, OSError):
            raise
        raise LedgerError(
            f"the ledger {path} cannot be made: {error.strerror}; check the permissions of {path.parent} "
            "and the room on its disk, or name another place with --ledger"
        ) from error


def _put(draft: Path, path: Path) -> None:
    """Give a new ledger its name, durably; where another process was faster, its ledger is as good."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
