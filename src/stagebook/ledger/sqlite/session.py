"""The writing side of a ledger in SQLite: turns entries into transactions; belongs to the writer's thread."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.entry import Body, Entry
from stagebook.ledger.facts import OF_NO_RUN
from stagebook.ledger.sql import statements as s
from stagebook.ledger.sql.batch import Batch
from stagebook.ledger.sql.command_rows import execute_command, input_bodies
from stagebook.ledger.sql.payloads import PayloadWriter
from stagebook.ledger.sqlite.errors import explain, refuse, speaks_of_one_row
from stagebook.model.errors import StaleWriter, WriteRefused

FENCES_MOST = 1 << 16
"""Runs whose fence is remembered while no other process writes."""


class SqliteSession:
    """Commits entries.

    Args:
        connection: Its own, without a transaction; closed with the session.
        guard: Held during a transaction; keeps the readers of an in-memory ledger out.
        blobs: Where large payloads go.
        files: Whether there is a place for them.
        where: The ledger's place, for errors.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        guard: AbstractContextManager[object],
        blobs: BlobFiles,
        *,
        files: bool,
        where: str,
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._where = where
        self._payloads = PayloadWriter(connection, blobs, files=files)
        self._fences: dict[int, int] = {}
        self._version = -1
        self._purges = -1

    def commit(self, entries: Sequence[Entry]) -> None:
        """Commit entries in one transaction; an entry that is refused carries its error, the others are durable.

        Raises:
            LedgerError: The database failed as a whole; nothing was written.
        """
        with self._guard:
            try:
                try:
                    self._commit_together(entries)
                except Exception as error:
                    self._roll_back()
                    if not speaks_of_one_row(error):
                        raise
                    self._commit_one_by_one(entries)
            except Exception as error:
                self._roll_back()
                self._fences.clear()
                self._payloads.forget()
                raise explain(error, self._where) from error

    def close(self) -> None:
        """Close the connection."""
        with self._guard:
            self._connection.close()

    def _commit_together(self, entries: Sequence[Entry]) -> None:
        bodies = self._begin(entries)
        batch = Batch(self._connection, self._fences)
        for entry in entries:
            self._take(batch, entry)
        batch.execute()
        self._connection.execute("COMMIT")
        self._payloads.stored(bodies)

    def _commit_one_by_one(self, entries: Sequence[Entry]) -> None:
        bodies = self._begin(entries)
        for entry in entries:
            entry.error = None
            self._connection.execute("SAVEPOINT unit")
            try:
                batch = Batch(self._connection, self._fences)
                self._take(batch, entry)
                batch.execute()
            except Exception as error:  # told to its waiter below
                if not speaks_of_one_row(error):
                    raise
                self._connection.execute("ROLLBACK TO unit")
                self._fences.clear()
                entry.error = refuse(error)
            self._connection.execute("RELEASE unit")
        self._connection.execute("COMMIT")
        self._payloads.stored(bodies)

    def _begin(self, entries: Sequence[Entry]) -> list[Body]:
        """Pack what is new, begin, and write the payloads, which belong to nobody and so are refused to nobody."""
        bodies = [body for entry in entries for body in _bodies(entry)]
        rows = self._payloads.pack(bodies)
        self._connection.execute("BEGIN IMMEDIATE")
        if self._others_wrote():
            rows = self._payloads.pack(bodies)
        if rows:
            self._connection.executemany(s.PAYLOAD.sql, rows)
        return bodies

    def _others_wrote(self) -> bool:
        """Notice what other processes changed since the last transaction; tells whether payloads were taken away."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        self._fences.clear()
        purges = self._connection.execute("SELECT count FROM purges").fetchone()[0]
        if purges == self._purges:
            return False
        first, self._purges = self._purges < 0, purges
        self._payloads.forget()
        return not first

    def _take(self, batch: Batch, entry: Entry) -> None:
        if entry.command is not None:
            batch.execute()
            entry.result = execute_command(self._connection, entry.command, batch.row)
            self._fences.clear()
            return
        try:
            self._check(entry)
        except WriteRefused as error:
            entry.error = error
            return
        batch.add(entry)
        if entry.cuts:
            for exchange, request in entry.cuts.items():
                self._payloads.sent(exchange, request.like)

    def _check(self, entry: Entry) -> None:
        for fact in entry.facts:
            if isinstance(fact, OF_NO_RUN):
                continue
            run = fact.run
            current = self._fences.get(run) or self._fence(run)
            fence = getattr(fact, "fence", None)
            if fence is not None and fence != current:
                raise StaleWriter(
                    f"run {run} was claimed anew (claim {current}, this driver holds {fence}): a later driver has "
                    "taken it over, so nothing of this unit was written"
                )

    def _fence(self, run: int) -> int:
        row = self._connection.execute("SELECT fence FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            raise WriteRefused(f"run {run} is not in this ledger; it may have been deleted")
        if len(self._fences) >= FENCES_MOST:
            self._fences.clear()
        fence = self._fences[run] = int(row[0])
        return fence

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _bodies(entry: Entry) -> Iterable[Body]:
    return entry.bodies if entry.command is None else input_bodies(entry.command)
