"""Opens the database that a ledger is in; what only PostgreSQL needs is imported when one is there."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stagebook.ledger.location import Location
from stagebook.ledger.locks import FolderLocks, MemoryLocks
from stagebook.ledger.postgres.address import Address
from stagebook.ledger.sqlite.database import SqliteDatabase
from stagebook.model.errors import LedgerError

if TYPE_CHECKING:
    from stagebook.ledger.claim import Locks
    from stagebook.ledger.postgres.database import PostgresDatabase
    from stagebook.ledger.sql.database import Database


def open_database(location: Location, *, read_only: bool, busy_seconds: float) -> "tuple[Database, Locks]":
    """Open a ledger's database, and what says who drives its runs; blocks.

    Args:
        location: Where it is; made if it is not there.
        read_only: Write nothing, not even what is missing.
        busy_seconds: How long to wait for another process, or for a server that is away.

    Raises:
        LedgerError: It cannot be opened, or what is there is no ledger.
        LedgerTooNew: A newer Stagebook wrote it.
    """
    if location.server is not None:
        server = _postgres(location.server)(location.server, read_only=read_only, busy_seconds=busy_seconds)
        return server, server.leases
    locks: Locks = MemoryLocks() if location.folder is None else FolderLocks(location.folder / "locks")
    return SqliteDatabase(location, read_only=read_only, busy_seconds=busy_seconds), locks


def survey_of(address: Address) -> Mapping[str, Any]:  # Any: one type per fact
    """Look at a server without changing anything there; blocks.

    Raises:
        LedgerError: It cannot be reached, or what is there is no ledger.
    """
    _postgres(address)
    from stagebook.ledger.postgres.survey import survey  # noqa: PLC0415  as below

    return survey(address)


def _postgres(address: Address) -> "type[PostgresDatabase]":
    """Import what a ledger in PostgreSQL needs, which others do not have to have."""
    try:
        from stagebook.ledger.postgres.database import PostgresDatabase  # noqa: PLC0415  heavy, and an extra
    except ImportError as error:
        raise LedgerError(
            f"the ledger {address.shown} is in PostgreSQL, and the driver for it is not here ({error}): "
            "pip install 'stagebook[postgres]'"
        ) from error
    return PostgresDatabase
