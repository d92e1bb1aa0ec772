"""What is done with a ledger after its runs: views put in place, runs taken out and in, checked, deleted and purged."""

import asyncio
import sqlite3
from pathlib import Path

from stagebook.ledger.claim import Locks
from stagebook.ledger.placing import placed
from stagebook.ledger.sqlite.database import SqliteDatabase
from stagebook.ledger.sqlite.run_export import RunExport
from stagebook.ledger.sqlite.run_import import Imported, import_run, read_document
from stagebook.ledger.sqlite.transaction import writing
from stagebook.ledger.sqlite.typed_views import TypedView, install_typed_views, typed_views
from stagebook.model.errors import InputError


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

    async def export(self, run: int, path: Path) -> int:
        """Write a run as one JSON document, as `ledger/run_format.py` describes it.

        Args:
            run: Id of the run.
            path: The file; what stands there is replaced once the new one is whole.

        Returns:
            Bytes of the file.

        Raises:
            NotFound: No such run.
            InputError: The file cannot be written.
            LedgerError: What is stored is damaged.
        """
        return await self._database.survey(self._export, run, path)

    def _export(self, connection: sqlite3.Connection, run: int, path: Path) -> int:
        try:
            with placed(path) as file:
                RunExport(connection, self._database.blobs, run).write(file.write)
                return file.tell()
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}; name another place with --to") from error

    async def import_run(self, path: Path) -> Imported:
        """Take a run in that `export` wrote, whole or not at all; its readable id stays.

        Raises:
            InputError: The file is no run, or damaged, or another run of that id is here.
            LedgerError: The ledger cannot be written.
        """
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        try:
            document = read_document(data)
            return await self._database.change(
                writing(import_run), self._database.blobs, document, files=self._database.files
            )
        except InputError as error:
            raise InputError(f"{path} cannot be imported: {error}") from error
