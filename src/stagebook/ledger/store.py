"""The ledger as everyone uses it: writing, claiming and reading."""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from stagebook.ledger.claim import Claim, HeldLock, Locks, who_drives
from stagebook.ledger.clock import now
from stagebook.ledger.commands import BeginDrive, Command, CreateRun, EndDrive, LoseUnanswered, ReserveWriter
from stagebook.ledger.entry import Entry
from stagebook.ledger.event import Event
from stagebook.ledger.facts import Fact
from stagebook.ledger.fingerprints import Fingerprints
from stagebook.ledger.ids import Ids
from stagebook.ledger.location import locate
from stagebook.ledger.names import choose_run, no_such_run
from stagebook.ledger.opening import open_database
from stagebook.ledger.sql import reading, reusing
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.sql.requests import read_request
from stagebook.ledger.sql.totals import summarize
from stagebook.ledger.summary import RunSummary
from stagebook.ledger.table import LIMIT, TIMEOUT, Cell, Table
from stagebook.ledger.writer import Writer
from stagebook.model.errors import LedgerError, NotFound, RunIsDriven
from stagebook.model.exchange import content_hash
from stagebook.model.records import Made, NewRun, OutputRef, RecordedExchange, Run, Step
from stagebook.model.status import Wish

if TYPE_CHECKING:
    from stagebook.ledger.sql.database import Database
    from stagebook.ledger.upkeep import Upkeep

BUSY_SECONDS: Final = 30.0
"""How long a commit waits for another process before it fails."""
PAGE: Final = 500
"""Outputs read at once by a stream."""
_CLAIM_TRIES: Final = 5
"""`is_driven` of another process holds the lock for an instant; a claim that meets it tries again."""
_CLAIM_PAUSE: Final = 0.01


class Ledger:
    """The store of everything that runs do; made by `Ledger.open`.

    What is written is seen by readers once it is durable. One ledger may be open in many processes.
    """

    def __init__(self, database: "Database", locks: Locks) -> None:
        self._database = database
        self._locks = locks
        self._held: dict[tuple[int, int], HeldLock] = {}
        self._writer = Writer(database.session) if database.session is not None else None
        self._ids = Ids(self._reserve)

    @classmethod
    async def open(
        cls, url: str | Path | None = None, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS
    ) -> "Ledger":
        """Open a ledger, making it if it is not there.

        Args:
            url: None for `.stagebook/ledger.db` in the current folder, a path, `sqlite:///path`, `:memory:`, or
                `postgresql://user:password@host:port/database`.
            read_only: Write nothing, not even a missing file.
            busy_seconds: How long to wait for another process.

        Raises:
            LedgerError: It cannot be opened, or what is there is no ledger.
            LedgerTooNew: A newer Stagebook wrote it.
        """
        database, locks = await asyncio.to_thread(
            open_database, locate(url), read_only=read_only, busy_seconds=busy_seconds
        )
        return cls(database, locks)

    @property
    def where(self) -> str:
        """The ledger's place, for people: a path or an address without a password."""
        return self._database.where

    @property
    def upkeep(self) -> "Upkeep":
        """What is done after runs: export and import, checks, deleting and purging."""
        from stagebook.ledger.upkeep import Upkeep  # noqa: PLC0415  10 ms that a run does not need

        return Upkeep(self._database, self._locks)

    async def close(self) -> None:
        """Commit what was handed in and close; doing it again does nothing.

        Raises:
            WriteRefused: Something followed was refused, and nobody was told yet.
            LedgerError: Something followed could not be written.
        """
        try:
            for run, fence in list(self._held):
                with suppress(LedgerError):  # the lock is let go all the same
                    await self._release(run, fence)
            if self._writer is not None:
                await asyncio.to_thread(self._writer.close)
        finally:
            self._locks.close()
            self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def new_id(self) -> int:
        """Give a number that no other row of this ledger has, in any process; below 2**53.

        Raises:
            LedgerError: The first one of a process takes a row of the ledger, which could not be written.
        """
        return self._ids.next()

    async def write(self, *facts: Fact) -> None:
        """Write a unit of facts, whole or not at all, and return when it is durable.

        What was handed in before it is durable then, too; without facts it only waits for that. A task that is
        cancelled while it waits takes nothing back.

        Raises:
            StaleWriter: The run was claimed anew since; nothing of the unit was written.
            WriteRefused: The database refuses a fact, or refused one that was followed for the same run (told once,
                by the first unit that comes after it); nothing of the unit was written.
            LedgerError: The database failed as a whole; nothing of the unit was written.
        """
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.hand_in(waiter, *facts)
        await waiter

    def hand_in(self, waiter: asyncio.Future[object], *facts: Fact) -> None:
        """As `write`, from any thread: the waiter is resolved when the unit is durable, or with what went wrong.

        Args:
            waiter: Of the event loop that waits; one that was cancelled takes nothing back.
            facts: The unit.

        Raises:
            WriteRefused: As `write`, where it is known at once.
            LedgerError: The ledger is closed or read-only.
        """
        writer, entry = self._writing(), Entry(facts, None, waiter)
        refusal = writer.refusal_of(entry)
        if refusal is not None:
            raise refusal
        writer.put(entry)

    def follow(self, *facts: Fact) -> None:
        """Write a unit of facts without waiting: durable in order with the next `write`, or some 50 ms later by itself.

        A refusal is raised by the next `write` for the same run, or else by `close`. If the database fails, the unit
        is kept and tried again.

        Raises:
            WriteRefused: A fact cannot be stored as it is.
            LedgerError: The ledger is closed or read-only.
        """
        self._writing().put(Entry(facts))

    async def create_run(self, run: NewRun) -> Run:
        """Write a new run, under `RUN_YYYYMMDD_HHMMSS` (UTC), with `_2` and so on for others of the same second.

        Raises:
            WriteRefused: The database refuses it.
            LedgerError: The database failed.
        """
        return await self._create(run, None)

    async def begin_run(self, run: NewRun) -> tuple[Run, Claim]:
        """Write a new run and claim it, in one commit.

        Raises:
            RunIsDriven: Another process took it in the instant after it was written.
            WriteRefused: The database refuses it.
            LedgerError: The database failed.
        """
        made = await self._create(run, (os.getpid(), platform.node()))
        self._held[made.id, made.fence] = await self._lock(made.run_id)
        return made, Claim(made.id, made.run_id, made.fence, True, self._release)

    async def claim(self, run_id: str, *, take_over: bool = False) -> Claim:
        """Take a run to drive it: from now on, writes of earlier drivers are refused.

        Args:
            run_id: As for `run`.
            take_over: Also from a driver on another machine that has not been heard of for a minute.

        Raises:
            RunIsDriven: A living process has it.
            NotFound: No such run.
            LedgerError: The database failed.
        """
        found = await self.run(run_id)
        lock = await self._lock(found.run_id, take_over=take_over)
        try:
            fence = _number(await self._command(BeginDrive(found.id, os.getpid(), platform.node(), now())))
        except BaseException:
            lock.release()
            raise
        self._held[found.id, fence] = lock
        return Claim(found.id, found.run_id, fence, False, self._release)

    def is_driven(self, run_id: str) -> bool:
        """Whether a living process drives the run; by its full readable id."""
        return self._locks.is_held(run_id)

    async def lose_unanswered(self, run: int, fence: int, at: int) -> int:
        """Declare lost what earlier drivers of a run sent and never heard of again.

        Args:
            run: Id of the run.
            fence: The present driver's claim.
            at: Now.

        Returns:
            How many of them are possibly paid: all but calls of a stage's own tools.
        """
        return _number(await self._command(LoseUnanswered(run, fence, at)))

    async def run(self, run_id: str) -> Run:
        """Read a run.

        Args:
            run_id: Readable id, the beginning or the end of one if only one run has it, or `last`.

        Raises:
            NotFound: No run is called so, or several; the text lists the nearest.
        """
        read = self._database.read
        found = read(reading.find_run, run_id)
        if found is None:
            known = [] if run_id == "last" else read(reading.run_ids_like, run_id, 10)
            latest = read(reading.latest_run_ids, 200)
            found = read(reading.find_run, choose_run(run_id, known, latest))
        if found is None:
            raise no_such_run(run_id, [])
        return await self._with_input(*found)

    async def runs(self, *, pipeline: str | None = None, tag: str | None = None, limit: int = 50) -> list[Run]:
        """List runs, newest first; their `input` is left empty (it may be large)."""
        return await self._database.read_apart(reading.list_runs, pipeline, tag, limit)

    async def steps(self, run: int) -> list[Step]:
        """List a run's steps, oldest first."""
        return await self._database.read_apart(reading.list_steps, run)

    async def outputs(self, run: int) -> list[OutputRef]:
        """List a run's live outputs, in the order of their first appearance."""
        return await self._database.read_apart(reading.list_outputs, run)

    async def output_data(self, output: int) -> bytes:
        """Read an output's JSON by its id, whether it is live or was replaced.

        Raises:
            NotFound: No such output, or it stands for a removal.
        """
        row = self._database.read(reading.output_data, output)
        if row is None or row[0] is None:
            raise NotFound(f"output {output} is not in this ledger{'' if row is None else ': it was removed'}")
        return row[0].encode()

    async def output_of(self, run: int, stage: str, item: str) -> bytes | None:
        """Read the live output of a stage for an item (WHOLE for a stage's only one); None if there is none."""
        data = self._database.read(reading.item_data, run, stage, item)
        return None if data is None else data.encode()

    async def stage_outputs(self, run: int, stage: str) -> AsyncIterator[tuple[str, bytes]]:
        """Stream (item, JSON) of a stage's live outputs, in the order of their first appearance."""
        after = 0
        while True:
            rows = await self._database.read_apart(reading.stage_data, run, stage, after, PAGE)
            for first, item, data in rows:
                after = first
                yield item, data.encode()
            if len(rows) < PAGE:
                return

    async def fingerprints(self, pipeline: str, stage: str, besides: int) -> Fingerprints:
        """Find the completed steps of a stage in all runs of a pipeline but one, those of the oldest run first.

        Args:
            pipeline: Its name.
            stage: Its name.
            besides: Id of the run that is left out.
        """
        return await self._database.survey(reusing.fingerprints, pipeline, stage, besides)

    async def made(self, step: int, fingerprint: bytes) -> Made | None:
        """Read a step's live output; None where it is not completed any more, with this fingerprint and an output."""
        return self._database.read(reusing.made, step, fingerprint)

    async def recorded(self, step: int) -> list[RecordedExchange]:
        """List a step's exchanges, oldest first."""
        return self._database.read(reading.recorded, step)

    async def payload(self, digest: bytes) -> bytes:
        """Read bytes by their hash.

        Raises:
            NotFound: They are not here.
            LedgerError: They are damaged.
        """
        return self._database.read(read_payload, self._database.blobs, digest)

    async def request_body(self, exchange: int) -> bytes:
        """Put an exchange's request together again, byte for byte, and check it against the hash of what was sent.

        Raises:
            NotFound: No such exchange, or a part of it was purged.
            LedgerError: It is damaged.
        """
        return self._database.read(read_request, self._database.blobs, exchange)

    async def definition(self, digest: bytes) -> bytes:
        """Read the declaration that a run was made from (`Run.definition_hash`), canonical JSON.

        Raises:
            NotFound: It is not here.
        """
        found = self._database.read(reading.definition, digest)
        if found is None:
            raise NotFound(f"no definition {digest.hex()} is in this ledger")
        return found.encode()

    async def wish(self, run: int) -> Wish:
        """Read what its owner wants of a run; cheap enough to be asked often.

        Raises:
            NotFound: No such run.
        """
        found = self._database.read(reading.wish, run)
        if found is None:
            raise NotFound(f"run {run} is not in this ledger; it may have been deleted")
        return Wish(found)

    async def events(self, after: int = 0, *, run: int | None = None, limit: int = 1000) -> list[Event]:
        """List what happened, in the order of commits.

        Args:
            after: The last `seq` seen.
            run: Only of this run.
            limit: Most events to give back.
        """
        return self._database.read(reading.events, after, run, limit)

    async def summaries(self, runs: Iterable[int] | None = None) -> dict[int, RunSummary]:
        """Add up steps, tokens, cost and warnings, by run and stage.

        Args:
            runs: Ids; None for every run of the ledger.

        Returns:
            By run id, for every run that has steps or exchanges (and for every one that was named).
        """
        chosen = None if runs is None else list(runs)
        return await self._database.read_apart(summarize, chosen)

    async def query(
        self,
        sql: str,
        parameters: Sequence[Cell] = (),
        *,
        limit: int = LIMIT,
        timeout: float = TIMEOUT,  # noqa: ASYNC109  SQLite itself stops at it; a cancelled thread would go on
    ) -> Table:
        """Ask the ledger in SQL, read-only; the views and `payload_text(hash)` are there.

        Args:
            sql: One SELECT.
            parameters: For its question marks.
            limit: Most rows to give back.
            timeout: Seconds that it may take.

        Raises:
            InputError: The statement is wrong, writes, or took too long.
        """
        return await self._database.ask(sql, parameters, limit, timeout)

    async def _create(self, new: NewRun, driver: tuple[int, str] | None) -> Run:
        if self._ids.used_up:  # here it can be awaited
            self._ids.fill(_number(await self._command(_reservation())))
        number, at = self.new_id(), now()
        run_id = str(await self._command(CreateRun(number, new, at, driver)))
        return Run(
            id=number,
            run_id=run_id,
            pipeline=new.pipeline,
            definition_hash=content_hash(new.definition),
            source=new.source,
            input=new.input,
            settings=new.settings,
            tags=new.tags,
            wish=Wish.RUN,
            fence=0 if driver is None else 1,
            parent=new.parent,
            forked_at=new.forked_at,
            created_at=at,
            created_via=new.created_via,
        )

    async def _with_input(self, run: Run, digest: bytes) -> Run:
        return replace(run, input=await self.payload(digest))

    async def _lock(self, run_id: str, *, take_over: bool = False) -> HeldLock:
        for _ in range(_CLAIM_TRIES):
            try:
                lock = self._locks.take(run_id, take_over=take_over)
            except OSError as error:
                raise LedgerError(
                    f"the run {run_id} cannot be locked: {error.strerror} ({error.filename}); "
                    "check the folder's permissions"
                ) from error
            if lock is not None:
                return lock
            await asyncio.sleep(_CLAIM_PAUSE)
        said = self._locks.describe(run_id) or who_drives(run_id, self._database.read(reading.driver, run_id))
        raise RunIsDriven(said)

    async def _release(self, run: int, fence: int) -> None:
        """Let a run go; nothing of it is left unwritten but that it was let go, which nobody has to wait for."""
        lock = self._held.pop((run, fence), None)
        if lock is None:
            return
        try:
            if not self._writing().settled:
                await self.write()
            self._writing().put(Entry((), EndDrive(run, fence, now())))
        finally:
            lock.release()

    def _writing(self) -> Writer:
        if self._writer is None:
            raise LedgerError(f"the ledger {self._database.where} was opened for reading only")
        return self._writer

    async def _command(self, command: Command) -> object:
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._writing().put(Entry((), command, waiter))
        return await waiter

    def _reserve(self) -> int:
        return _number(self._writing().ask(_reservation()))


def _reservation() -> ReserveWriter:
    return ReserveWriter(os.getpid(), platform.node(), now())


def _number(answer: object) -> int:
    if not isinstance(answer, int):
        raise TypeError(f"a command answered {answer!r} where a number belongs")
    return answer
