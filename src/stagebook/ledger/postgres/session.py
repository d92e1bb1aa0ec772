"""The writing side of a ledger in PostgreSQL: turns entries into transactions; belongs to the writer's thread.

A transaction takes two journeys: one with everything that is written, one with COMMIT. Where the connection is lost,
the whole transaction is tried again on a new one. Whether a COMMIT that got no answer was carried out is not guessed:
each transaction counts up a number in a row of `sessions` that belongs to this writer, and that row is read again. It
is locked as long as the old transaction is still being committed somewhere. Where a network fell silent, the server
does not know that we are gone, and ends that transaction for its idleness.
"""

# ruff: noqa: S608  the schema's name is letters, digits and underscores

import os
import platform
import select
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.entry import Body, Entry
from stagebook.ledger.facts import SettingsChanged, WishSet
from stagebook.ledger.postgres.address import Address
from stagebook.ledger.postgres.batch import PostgresBatch
from stagebook.ledger.postgres.connection import PostgresConnection, Raw, connect
from stagebook.ledger.postgres.errors import explain, passes, refuse, speaks_of_one_row
from stagebook.ledger.postgres.locking import COMMANDS, EVERYTHING, ending_when_idle, key
from stagebook.ledger.sql import statements as s
from stagebook.ledger.sql.command_rows import execute_command, input_bodies
from stagebook.ledger.sql.payloads import PayloadRow, PayloadWriter
from stagebook.model.errors import LedgerError, StaleWriter, WriteRefused

T = TypeVar("T")
Answer: TypeAlias = psycopg.Cursor[tuple[Any, ...]]  # Any: one type per column
Sync: TypeAlias = Callable[[], None]
"""Waits for the answers to what was sent."""
FENCES_MOST: Final = 1 << 16
"""Runs whose fence is remembered."""
FIRST_PAUSE: Final = 0.02
"""Seconds before the first new try; each next one waits twice as long."""
LONGEST_PAUSE: Final = 1.0
IDLE_SECONDS: Final = 10.0
"""How long a transaction of ours may wait for its next statement, until the server ends it and its locks."""
LOOK_SECONDS: Final = 1.0
"""How long one look at what became of a COMMIT waits for the old transaction."""


class _Outdated(Exception):
    """What was remembered of fences or purges is not so any more: the transaction is begun again."""


class PostgresSession:
    """Commits entries.

    Args:
        raw: Its connection, without a transaction; a lost one is replaced.
        address: The ledger's.
        blobs: Not used, as every payload is a row here.
        busy_seconds: How long a server that is away is waited for.
    """

    def __init__(self, raw: Raw, address: Address, blobs: BlobFiles, busy_seconds: float) -> None:
        self._address = address
        self._busy_seconds = busy_seconds
        self._connection = PostgresConnection(raw, address.schema)
        self._payloads = PayloadWriter(self._connection, blobs, files=False)
        self._fences: dict[int, int] = {}
        self._purges: int | None = None
        self._commits = 0
        self._unanswered: list[Entry] | None = None
        """What the COMMIT that got no answer was to make durable."""
        schema = address.schema
        self._everything, self._commands = key(schema, EVERYTHING), key(schema, COMMANDS)
        self._own = f"INSERT INTO {schema}.sessions (pid, host) VALUES ($1, $2) RETURNING id".encode()
        self._shared = f"SELECT {ending_when_idle(IDLE_SECONDS)}, pg_advisory_xact_lock_shared($1)".encode()
        self._mark = (
            f"UPDATE {schema}.sessions SET commits = $1 WHERE id = $2 RETURNING (SELECT count FROM {schema}.purges)"
        ).encode()
        self._look = (
            f"WITH soon AS MATERIALIZED (SELECT set_config('lock_timeout', '{LOOK_SECONDS * 1000:.0f}', true)) "
            f"SELECT commits FROM soon, {schema}.sessions AS own WHERE id = $1 FOR UPDATE OF own"
        ).encode()
        self._share = f"SELECT id, fence FROM {schema}.runs WHERE id = ANY($1) ORDER BY id FOR SHARE".encode()
        self._hold = f"SELECT id, fence FROM {schema}.runs WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE".encode()
        self._id: int = self._value(self._own, (os.getpid(), platform.node()))

    def commit(self, entries: Sequence[Entry]) -> None:
        """Commit entries in one transaction; an entry that is refused carries its error, the others are durable.

        Raises:
            LedgerError: The database failed as a whole, or was away for too long; nothing was written.
        """
        until = monotonic() + self._busy_seconds
        try:
            entries = self._retried(self._without_committed, until, entries)
            bodies = [body for entry in entries for body in _bodies(entry)]
            try:
                self._retried(self._commit_together, until, entries, bodies)
            except Exception as error:
                if not speaks_of_one_row(error):
                    raise
                self._retried(self._commit_one_by_one, until, entries, bodies)
        except Exception as error:
            self._payloads.forget()
            raise explain(error, self._address) from error

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            if self._unanswered is None and self._connection.usable:
                self._connection.execute("DELETE FROM sessions WHERE id = ?", (self._id,))
        self._connection.close()

    def _retried(self, function: Callable[..., T], until: float, *args: Any) -> T:  # Any: passed on
        """Call a function, again on a new connection where the old one is lost, until the time is up."""
        pause = FIRST_PAUSE
        while True:
            try:
                if self._connection.raw.closed:
                    self._connection.raw = connect(self._address, self._busy_seconds)
                return function(*args)
            except _Outdated:
                self._roll_back()
            except Exception as error:
                self._roll_back()
                if not passes(error) or monotonic() + pause > until:
                    raise
                sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _without_committed(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Leave out what a COMMIT that got no answer, and was then given up, made durable after all."""
        unanswered = self._unanswered
        if unanswered is None or not self._was_committed():
            return entries
        return [entry for entry in entries if entry not in unanswered]

    def _synced(self, pipeline: psycopg.Pipeline) -> None:
        """Send all that is queued, and read the answers.

        A psycopg pipeline's own sync tries to send once and then waits for answers: of a large unit the rest would stay
        here, while the server waits for it.
        """
        link = self._connection.raw.pgconn
        unsent = True
        while unsent:
            unsent = bool(link.flush())
            readable, writable, _ = select.select([link.socket], [link.socket], [])
            if readable:
                link.consume_input()
            unsent = unsent or not writable
        pipeline.sync()

    def _was_committed(self) -> bool:
        """Find out what became of the COMMIT that got no answer, if there is one."""
        if self._unanswered is None:
            return False
        committed = self._value(self._look, (self._id,)) > self._commits
        self._commits += committed
        self._unanswered = None
        return committed

    def _commit_together(self, entries: Sequence[Entry], bodies: Sequence[Body]) -> None:
        if self._was_committed():
            return
        for entry in entries:
            entry.error = None
        rows = self._payloads.pack(bodies)
        with self._learning(bodies), self._connection.raw.pipeline() as pipeline:
            check = self._begin(entries, bodies, rows, lambda: self._synced(pipeline))
            batch = PostgresBatch(self._connection, self._fences)
            for entry in entries:
                self._take(batch, entry)
            batch.execute()
            batch.write_events()
            self._synced(
                pipeline
            )  # and not the pipeline's end, after which a server does not count our silence as idleness
            check()
            batch.settle()
            self._send_commit(entries)

    def _commit_one_by_one(self, entries: Sequence[Entry], bodies: Sequence[Body]) -> None:
        if self._was_committed():
            return
        self._fences.clear()
        check = self._begin(entries, bodies, self._payloads.pack(bodies), _at_once)
        for entry in entries:
            entry.error = None
            self._connection.raw.execute(b"SAVEPOINT unit")
            try:
                batch = PostgresBatch(self._connection, self._fences)
                self._take(batch, entry)
                batch.execute()
                batch.settle()
                batch.write_events()
            except Exception as error:  # told to its waiter below
                if not speaks_of_one_row(error):
                    raise
                self._connection.raw.execute(b"ROLLBACK TO unit")
                self._fences.clear()
                entry.error = refuse(error)
            self._connection.raw.execute(b"RELEASE unit")
        check()
        with self._learning(bodies):
            self._send_commit(entries)

    def _begin(
        self, entries: Sequence[Entry], bodies: Sequence[Body], rows: list[PayloadRow], sync: Sync
    ) -> Callable[[], None]:
        """Begin, lock what is relied on, and write the payloads, which belong to nobody and so are refused to nobody.

        Gives what has to be called before the commit: it sees whether what was remembered is so.
        """
        raw = self._connection.raw
        commands = any(entry.command is not None for entry in entries)
        runs = sorted({run for entry in entries for run in entry.runs()})
        raw.execute(b"BEGIN")
        raw.execute(self._shared, (self._everything,))
        if commands:
            raw.execute(b"SELECT pg_advisory_xact_lock($1)", (self._commands,))
        marked = raw.execute(self._mark, (self._commits + 1, self._id))
        fences = raw.execute(self._hold if _changes_runs(entries) else self._share, (runs,)) if runs else None
        known = self._purges is not None and not commands and all(run in self._fences for run in runs)
        if not known:  # one journey more: what is written depends on what is found
            sync()
            self._differs(runs, marked, fences)
            rows = self._payloads.pack(bodies)
        if rows:
            rows.sort(key=_hash)  # two that write the same ones then wait for each other in one order
            PostgresBatch(self._connection, self._fences).send(s.PAYLOAD, rows)

        def check() -> None:
            if known and self._differs(runs, marked, fences):
                raise _Outdated

        return check

    def _differs(self, runs: list[int], marked: Answer, fences: Answer | None) -> bool:
        """Take over fences and purges as they are; tells whether they are other than was remembered."""
        row = marked.fetchone()
        if row is None:
            raise LedgerError(f"the ledger {self._address.shown} has lost the row of this writer; open it again")
        found: dict[int, int] = {} if fences is None else dict(fences.fetchall())
        differs = [run for run in runs if self._fences.get(run) != found.get(run)]
        if len(self._fences) + len(found) > FENCES_MOST:
            self._fences.clear()
        for run in differs:
            self._fences.pop(run, None)
        self._fences.update(found)
        if row[0] == self._purges:
            return bool(differs)
        self._purges = row[0]
        self._payloads.forget()
        return True

    def _send_commit(self, entries: Sequence[Entry]) -> None:
        self._unanswered = list(entries)
        self._connection.raw.execute(b"COMMIT")

    @contextmanager
    def _learning(self, bodies: Sequence[Body]) -> Iterator[None]:
        """Learn what came of the COMMIT that is sent within, whose answer may come as late as when that is left."""
        try:
            yield
        except psycopg.Error as error:
            if error.diag.severity_nonlocalized == "ERROR":  # the server said so itself: nothing was committed
                self._unanswered = None
            raise
        self._unanswered = None
        self._commits += 1
        self._payloads.stored(bodies)

    def _take(self, batch: PostgresBatch, entry: Entry) -> None:
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
            run = getattr(fact, "run", None)
            if run is None:
                continue
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
        fence = self._fences[run] = int(row[0])
        return fence

    def _value(self, sql: bytes, values: tuple[object, ...]) -> int:
        row = self._connection.raw.execute(sql, values).fetchone()
        if row is None:
            raise LedgerError(f"the ledger {self._address.shown} has lost the row of this writer; open it again")
        return int(row[0])

    def _roll_back(self) -> None:
        """Take back what was begun, and forget what it taught."""
        self._fences.clear()
        raw = self._connection.raw
        if raw.closed or raw.info.transaction_status == TransactionStatus.IDLE:
            return
        try:
            raw.execute(b"ROLLBACK")
        except psycopg.Error:
            raw.close()


def _at_once() -> None:
    """Wait for nothing: outside of a pipeline every statement has been answered."""


def _bodies(entry: Entry) -> Iterable[Body]:
    return entry.bodies if entry.command is None else input_bodies(entry.command)


def _hash(row: PayloadRow) -> bytes:
    return row[0]


def _changes_runs(entries: Sequence[Entry]) -> bool:
    return any(isinstance(fact, WishSet | SettingsChanged) for entry in entries for fact in entry.facts)
