"""What is done with a ledger after its runs: views put in place, runs taken out and in, checked, deleted and purged."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stagebook.ledger.claim import HeldLock, Locks
from stagebook.ledger.placing import placed
from stagebook.ledger.progress import Told, untold
from stagebook.ledger.run_format import Json
from stagebook.ledger.sql import reading
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.database import Database
from stagebook.ledger.sql.integrity import Check, Checked, Fixed, fix_orphans
from stagebook.ledger.sql.removal import answers_to_ask_again, delete_run, forget_bodies, purged_at, take_away
from stagebook.ledger.sql.run_export import RunExport
from stagebook.ledger.sql.run_import import Imported, import_run, read_document
from stagebook.ledger.sql.typed_views import TypedView
from stagebook.ledger.sql.unused import TakenAway, sweep
from stagebook.model.errors import InputError, LedgerError, RunIsDriven

BATCH: Final = 100
"""Runs whose bodies are let go in one transaction: others that write wait no longer than for that."""


@dataclass(frozen=True, slots=True)
class PurgedRuns:
    """What a purge came to."""

    runs: int
    """Whose bodies are gone."""
    driven: tuple[str, ...]
    """Left alone, since somebody drives them."""
    exchanges: int
    taken: TakenAway


def read_run_file(path: Path) -> Json:
    """Read what `export` wrote.

    Raises:
        InputError: It is not there, or is no run of a version that is known.
    """
    try:
        return read_document(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name a file that `export` wrote") from error
    except InputError as error:
        raise InputError(f"{path} cannot be imported: {error}") from error


class Upkeep:
    """Work on a whole ledger; given by `Ledger.upkeep`.

    Each method works in a thread and a connection of its own, so that readers and writers go on meanwhile.

    Args:
        database: The ledger's.
        locks: Its locks on runs.
    """

    def __init__(self, database: Database, locks: Locks) -> None:
        self._database = database
        self._locks = locks

    async def typed_views(self) -> list[TypedView]:
        """List the views of every stage that was ever run, as a question may name them."""
        return await self._database.survey(self._database.typed_views)

    async def install_views(self) -> list[TypedView]:
        """Put the views of every stage in place for other clients, in place of those that were there before.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        return await self._database.change(self._database.install_typed_views)

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

    def _export(self, connection: Connection, run: int, path: Path) -> int:
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
        document = await asyncio.to_thread(read_run_file, path)
        try:
            return await self._database.change(import_run, self._database.blobs, document, files=self._database.files)
        except InputError as error:
            raise InputError(f"{path} cannot be imported: {error}") from error

    async def check(self, told: Told = untold) -> Checked:
        """Look the whole ledger over; changes nothing.

        Args:
            told: How far it has come.
        """
        return await self._database.survey(self._check, told)

    def _check(self, connection: Connection, told: Told) -> Checked:
        return Check(connection, self._database.blobs, told, self._database.damage, files=self._database.files).look()

    async def fix(self) -> Fixed:
        """Remove what belongs to nothing: rows, payloads and files. Everything else is left as it is.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        blobs = self._database.blobs
        fixed = await self._database.change(fix_orphans, blobs, files=self._database.files)
        await self._sweep(fixed.files)
        return fixed

    async def delete(self, run: int, run_id: str, told: Told = untold) -> TakenAway:
        """Delete a run with everything that only it needs.

        Its rows go first, in one commit, then its files: a kill between leaves files that belong to nothing, which
        `check` finds and `fix` removes.

        Args:
            run: Its id.
            run_id: Its readable id.
            told: How far it has come.

        Raises:
            RunIsDriven: A living process drives it.
            LedgerError: The ledger cannot be written.
        """
        lock = self._lock(run_id)
        if lock is None:
            raise RunIsDriven(self._who_drives(run_id))
        try:
            told("rows", 0, 1)
            taken = await self._database.change(delete_run, self._database.blobs, run)
            told("files", 0, len(taken.files))
            await self._sweep(taken.files)
        finally:
            lock.release()
        return taken

    async def purge_bodies(self, runs: Sequence[tuple[int, str]], told: Told = untold) -> PurgedRuns:
        """Remove the bodies of what runs sent and were answered; rows, tokens, costs and outputs stay.

        Exchanges let go of their bodies first, then what nothing names any more is deleted, then its files: a kill
        between leaves what `check` finds and `fix` removes.

        Args:
            runs: Ids and readable ids; those that somebody drives are left alone.
            told: How far it has come.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        named: set[bytes] = set()
        driven: list[str] = []
        exchanges = 0
        for start in range(0, len(runs), BATCH):
            told("runs", start, len(runs))
            locked = [(number, run_id, self._lock(run_id)) for number, run_id in runs[start : start + BATCH]]
            try:
                driven += [run_id for _, run_id, lock in locked if lock is None]
                mine = [number for number, _, lock in locked if lock is not None]
                purged = await self._database.change(forget_bodies, mine)
            finally:
                for _, _, lock in locked:
                    if lock is not None:
                        lock.release()
            named |= purged.payloads
            exchanges += purged.exchanges
        told("payloads", 0, len(named))
        taken = await self._database.change(take_away, self._database.blobs, named)
        told("files", 0, len(taken.files))
        await self._sweep(taken.files)
        return PurgedRuns(len(runs) - len(driven), tuple(driven), exchanges, taken)

    async def purged_at(self, run: int) -> int | None:
        """Say when bodies of a run were purged last, in microseconds since 1970; None where they never were."""
        return await self._database.read_apart(purged_at, run)

    async def answers_to_ask_again(self, run: int) -> int:
        """Count the purged answers of a run's steps that are not done: a resume asks for them again."""
        return await self._database.read_apart(answers_to_ask_again, run)

    async def _sweep(self, files: Sequence[str]) -> None:
        if not files:
            return
        try:
            await self._database.change(sweep, self._database.blobs, files)
        except OSError as error:
            raise LedgerError(
                f"a file of the ledger cannot be removed: {error.strerror} ({error.filename}); the rows are gone: "
                "check the permissions of its folder, then `stagebook check --fix`"
            ) from error

    def _lock(self, run_id: str) -> HeldLock | None:
        try:
            return self._locks.take(run_id)
        except OSError as error:
            raise LedgerError(
                f"the run {run_id} cannot be locked: {error.strerror} ({error.filename}); "
                "check the folder's permissions"
            ) from error

    def _who_drives(self, run_id: str) -> str:
        driver = self._database.read(reading.driver, run_id)
        who = "another process" if driver is None else f"process {driver[0]}"
        return f"{run_id} is driven by {who}, so it was not deleted: wait for its end, or pause it first"
