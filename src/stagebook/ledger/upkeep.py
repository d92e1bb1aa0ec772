"""What is done with a ledger after its runs: views put in place, runs taken out and in, checked, deleted and purged."""

from stagebook.ledger.claim import Locks
from stagebook.ledger.sqlite.database import SqliteDatabase
from stagebook.ledger.sqlite.transaction import writing
from stagebook.ledger.sqlite.typed_views import TypedView, install_typed_views, typed_views


class Upkeep:
    """Work on a whole ledger; given by `Ledger.upkeep`.

    Each method works in a thread and a connection of its own, so that readers and writers go on meanwhile.

    Args:
        database: The ledger's.
        locks: Its locks on runs.
    """

    def __init__(self, database: SqliteDatabase, locks: Locks) -> None:
        self._database = database
        self._locks = locks

    async def typed_views(self) -> list[TypedView]:
        """List the views of every stage that was ever run, as a question may name them."""
        return await self._database.survey(typed_views)

    async def install_views(self) -> list[TypedView]:
        """Put the views of every stage in place for other clients, in place of those that were there before.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        return await self._database.change(writing(install_typed_views))
