"""What the ledger asks of a database, whichever it is."""

from collections.abc import Iterable, Sequence
from typing import ParamSpec, Protocol, TypeVar

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.sql.connection import Connection, Work
from stagebook.ledger.sql.typed_views import TypedView
from stagebook.ledger.table import Cell, Table
from stagebook.ledger.writer import Session

P = ParamSpec("P")
T = TypeVar("T")


class Database(Protocol):
    """Connections to one database."""

    where: str
    """The ledger's place, for people."""
    blobs: BlobFiles
    """Where large payloads are."""
    files: bool
    """Whether there is a place for them; where there is none, every payload is a row."""

    @property
    def session(self) -> Session | None:
        """What the writer's thread commits with; None where the ledger is open for reading only."""
        ...

    def read(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read something small, here and now.

        Raises:
            LedgerError: The database failed.
        """
        ...

    async def read_apart(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read something large in a thread of its own, so that the event loop goes on.

        Raises:
            LedgerError: The database failed.
        """
        ...

    async def survey(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read at length, in a thread, a connection and a snapshot of its own: other readers need not wait.

        Raises:
            LedgerError: The database failed.
        """
        ...

    async def change(self, function: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Change what the writer's session is not for, in a thread, a connection and a transaction of its own.

        Nobody else writes meanwhile. It is committed when the function returns, and taken back when it raises.

        Raises:
            LedgerError: The database failed, or was opened for reading only.
        """
        ...

    async def ask(
        self,
        sql: str,
        parameters: Sequence[Cell],
        limit: int,
        timeout: float,  # noqa: ASYNC109  the database itself stops at it; a cancelled thread would go on
    ) -> Table:
        """Answer a question from outside, in a thread and a connection of its own.

        Raises:
            InputError: The statement is wrong, writes, or took too long.
        """
        ...

    def damage(self, connection: Connection) -> Iterable[str]:
        """Say what the database itself finds wrong with what it holds, a sentence each."""
        ...

    def typed_views(self, connection: Connection) -> list[TypedView]:
        """Make the views of every stage that was ever run."""
        ...

    def install_typed_views(self, connection: Connection) -> list[TypedView]:
        """Put the views of every stage in place for all clients, instead of those that were put there before."""
        ...

    def close(self) -> None:
        """Close the readers; the session is closed by its thread. Doing it again does nothing."""
        ...
