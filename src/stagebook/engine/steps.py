"""Runs one step: binds, computes or asks, and writes what came of it."""

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

from stagebook.definition.graph import PromptSpec, ReadKind, StageSpec
from stagebook.definition.markers import Skip
from stagebook.door.budget import Budget
from stagebook.door.door import OutwardDoor
from stagebook.door.journal import Journal
from stagebook.door.stage import StageDoor
from stagebook.engine.bind import Binder, Bound
from stagebook.engine.calls import with_call
from stagebook.engine.commit import Commit
from stagebook.engine.fingerprint import of_computing, of_prompt
from stagebook.engine.handover import Handover
from stagebook.engine.items import ItemKeeper
from stagebook.engine.outputs import Live, Outputs, name
from stagebook.engine.plan import StepKey
from stagebook.engine.progress import Progress
from stagebook.engine.reuse import Reuse
from stagebook.engine.settings import Settings
from stagebook.engine.threads import StageThreads
from stagebook.ledger.clock import now
from stagebook.ledger.facts import OutputMade, StepEnded, StepStarted, Unit
from stagebook.ledger.store import Ledger
from stagebook.llm.client import ModelClient
from stagebook.llm.reading import kept, read_json, read_text, relaxed_value
from stagebook.llm.stage import StageLlm
from stagebook.model.errors import Complaint, LedgerError, StagebookError, StageFailed, WriteRefused
from stagebook.model.exchange import content_hash
from stagebook.model.prompt import Prompt
from stagebook.model.records import Step
from stagebook.model.status import StepStatus

_DEEPEST = 10
"""Errors behind an error that are looked at: an SDK makes its own of httpx2's, which the door makes of ours."""


@dataclass(frozen=True, slots=True)
class Crew:
    """What every step of a drive works with."""

    ledger: Ledger
    run: int
    fence: int
    binder: Binder
    outputs: Outputs
    door: OutwardDoor
    client: ModelClient
    settings: Settings
    progress: Progress
    threads: StageThreads
    budget: Budget | None = None
    reuse: Reuse | None = None
    by_batch: frozenset[str] = frozenset()
    """Stages whose answers come by providers' batches."""


class StepRunner:
    """Runs the steps of one drive.

    Args:
        crew: What it works with.
        prior: Steps that an earlier drive began, by key.
        on_items: Told of items that a streaming stage yielded, once they are durable.
        on_withdrawn: Told of an item that is no longer yielded.
    """

    def __init__(
        self,
        crew: Crew,
        prior: dict[StepKey, Step],
        on_items: Callable[[str, str, list[str]], None],
        on_withdrawn: Callable[[str, str], None],
    ) -> None:
        self._crew = crew
        self._prior = prior
        self.items = ItemKeeper(crew.ledger, crew.outputs, crew.run, crew.fence, on_items, on_withdrawn)

    async def run(self, spec: StageSpec, item: str) -> StepStatus:
        """Run a step to its end, with as many attempts as its policy allows; a failure is written, not raised.

        Raises:
            WriteRefused: The ledger would not take what it made (the run was taken over).
            LedgerError: The ledger failed (the disk is full).
        """
        key = StepKey(spec.name, item)
        prior = self._prior.get(key)
        step = self.step_id(key)
        first = prior.attempts + 1 if prior is not None else 1
        failed = prior.failed_attempt if prior is not None else 0
        for attempt in range(first, first + spec.policy.attempts):
            journal = await self._journal(spec, step, attempt, failed, fresh=attempt == 1)
            work = _Work(spec, key, step, attempt, journal)
            limit: asyncio.Timeout | None = None
            try:
                if spec.policy.timeout is None or spec.name in self._crew.by_batch:  # a batch takes what it takes
                    return await self._attempt(work)
                async with asyncio.timeout(spec.policy.timeout) as limit:
                    return await self._attempt(work)
            except asyncio.CancelledError:
                if held := journal.held():
                    self._crew.ledger.follow(*held)
                raise
            except (WriteRefused, LedgerError):
                raise  # the ledger's trouble is not the step's: it is as it was, and a resume runs it
            except StagebookError as failure:
                error: Exception = failure
            except Exception as failure:  # noqa: BLE001  whatever a stage's own function raises is that step's failure
                behind = _behind(failure)
                if isinstance(behind, WriteRefused | LedgerError):
                    raise behind from None
                ours = isinstance(failure, TimeoutError) and limit is not None and limit.expired()
                if ours and work.commit is not None:  # it was made in time, and only its commit took longer
                    return await work.commit.durable()
                late = f"{name(key)} took longer than its timeout of {spec.policy.timeout or 0:g} s"
                error = StageFailed(late if ours else _told(key, failure, behind))
            final = attempt == first + spec.policy.attempts - 1 or not isinstance(error, StageFailed)
            await self._end(work, StepStatus.FAILED, reason=str(error), error=error, final=final)
            if final:
                return StepStatus.FAILED
            failed = attempt
        raise AssertionError("a step has at least one attempt")

    def step_id(self, key: StepKey) -> int:
        """Give a step's id: the one that an earlier drive gave it, or a new one."""
        prior = self._prior.get(key)
        return prior.id if prior is not None else self._crew.ledger.new_id()

    async def _journal(self, spec: StageSpec, step: int, attempt: int, failed: int, *, fresh: bool) -> Journal:
        """Make the attempt's journal, with what earlier attempts were answered."""
        recorded = [] if fresh else await self._crew.ledger.recorded(step)
        progress = self._crew.progress
        return Journal(
            self._crew.run,
            step,
            attempt,
            recorded,
            failed,
            lambda charge: progress.charge(spec.name, charge),
            holds=spec.prompt is not None,
        )

    async def _attempt(self, work: "_Work") -> StepStatus:
        bound = await self._crew.binder.bind(work.spec, work.key.item)
        if work.spec.prompt is not None:
            return await self._ask(work, work.spec.prompt, bound)
        fingerprint = of_computing(work.spec, bound.digest)
        if self._unchanged(work, fingerprint):
            return StepStatus.COMPLETED
        self._start(work, fingerprint, bound)
        for read in work.spec.reads:
            if read.kind is ReadKind.DOOR:
                crew = self._crew
                bound.values[read.parameter] = StageDoor(crew.door, work.journal, crew.client.recognise)
            elif read.kind is ReadKind.LLM:
                model = self._crew.settings.model_of(work.spec)
                bound.values[read.parameter] = StageLlm(self._crew.client, work.journal, model)
            elif read.kind is ReadKind.WARN:
                bound.values[read.parameter] = work.warn
        if not (work.spec.is_async or work.spec.streams or work.spec.checks):
            return await self._compute(work, bound)
        made = await self._call(work.spec, bound.values)
        if isinstance(made, Skip):
            return await self._end(work, StepStatus.SKIPPED, reason=made.reason)
        if work.spec.streams:
            await self.items.keep(work.spec, work.step, work.key.item, made, self._crew.threads)
            return await self._end(work, StepStatus.COMPLETED)
        data = _data(work, made)
        return await self._finish(work, data, await self._checked(work.spec, made, bound.values))

    async def _compute(self, work: "_Work", bound: Bound) -> StepStatus:
        """Call an ordinary function, and hand what it made to the ledger from its own thread.

        So the event loop is woken once, when all of it is durable, and not a second time in between.
        """
        ledger, function = self._crew.ledger, work.spec.function
        waiter = asyncio.get_running_loop().create_future()
        handover = Handover(waiter, outlasts=work.limited)
        unit: list[_Unit] = []

        def job() -> Callable[[], None]:
            if not handover.wanted:  # stopped before the thread came to it
                return lambda: None
            try:
                made = function(**bound.values)
                if isinstance(made, Skip):
                    return handover.give(made)
                unit.append(self._unit(work, _data(work, made), []))
                return handover.write(ledger, unit[0].facts)
            except BaseException as error:  # noqa: BLE001  whatever it is belongs to the step
                return handover.fail(error)

        self._crew.threads.hand(job)
        try:
            skipped = await handover.taken()
        except asyncio.CancelledError:
            if handover.written:
                work.commit = Commit(waiter, lambda: self._written(work, unit[0]))
            raise
        if isinstance(skipped, Skip):
            return await self._end(work, StepStatus.SKIPPED, reason=skipped.reason)
        return self._written(work, unit[0])

    def _unchanged(self, work: "_Work", fingerprint: bytes) -> bool:
        """Whether an earlier drive completed this very step: it came up again only because something above it did."""
        prior = self._prior.get(work.key)
        if prior is None or prior.status is not StepStatus.COMPLETED or prior.fingerprint != fingerprint:
            return False
        if work.spec.streams or self._crew.outputs.live(work.key) is not None:
            self._crew.progress.stages[work.spec.name].reused += 1
            return True
        return False

    async def _call(self, spec: StageSpec, values: dict[str, Any]) -> Any:
        """Call a stage's function; an ordinary one off the event loop, since it may compute or block."""
        if inspect.isasyncgenfunction(spec.function):
            return spec.function(**values)
        if spec.is_async:
            return await spec.function(**values)
        if inspect.isgeneratorfunction(spec.function):
            return spec.function(**values)
        return await self._crew.threads.start(lambda: spec.function(**values))

    async def _ask(self, work: "_Work", prompt: PromptSpec, bound: Bound) -> StepStatus:
        """Render, ask, validate, check, and keep."""
        spec, crew = work.spec, self._crew
        more = None if prompt.bare else await self._call(spec, bound.values)
        if isinstance(more, Skip):
            self._start(work, None, bound)
            return await self._end(work, StepStatus.SKIPPED, reason=more.reason)
        messages = prompt.template.render({**bound.values, **(more or {})})
        question = Prompt(messages, prompt.sampling, spec.output.__name__ if prompt.schema else None, prompt.schema)
        model = crew.settings.model_of(spec) or prompt.model
        request = crew.client.request(question, model)
        fingerprint = of_prompt(spec, prompt, request)
        if self._unchanged(work, fingerprint):
            return StepStatus.COMPLETED
        self._start(work, fingerprint, bound)
        how = crew.settings.how_asked(model) if prompt.call_field is not None and crew.settings.endpoints else ""
        if crew.reuse is not None and not work.journal.answered:
            taken = await crew.reuse.find(
                spec, fingerprint, model, how, lambda value, last: self._checked(spec, value, bound.values, last=last)
            )
            if taken is not None:
                crew.progress.stages[spec.name].reused += 1
                return await self._finish(work, taken.data, taken.warnings, taken.step)

        def parse(text: str) -> BaseModel:
            if prompt.text_field is not None:
                return read_text(spec.output, prompt.text_field, text)
            return read_json(spec.output, text)

        async def read(text: str, last: bool) -> tuple[bytes, list[str]]:  # noqa: FBT001  a Reader's shape
            value = parse(text)
            if prompt.call_field is not None:
                value = await with_call(value, prompt.call_field, model, how, work.journal, crew.ledger)
            return kept(value), await self._checked(spec, value, bound.values, last=last)

        async def salvage(text: str, last: bool) -> tuple[bytes, list[str]]:  # noqa: ARG001, FBT001  a Reader's shape
            value = relaxed_value(spec.output, prompt.text_field, text)
            if prompt.call_field is not None:
                value = await with_call(value, prompt.call_field, model, how, work.journal, crew.ledger)
            return kept(value), []

        answer = await crew.client.ask(
            question,
            model,
            work.journal,
            read,
            tries=crew.settings.tries or prompt.tries,
            salvage=salvage if crew.settings.lenient else None,
            written=request,
            patient=spec.name in crew.by_batch,
        )
        data, warnings = answer.value
        return await self._finish(work, data, [*answer.warnings, *warnings])

    async def _checked(
        self, spec: StageSpec, value: BaseModel, values: dict[str, Any], *, last: bool = True
    ) -> list[str]:
        """Let every check look at a value; on the last try, complaints that do not insist become warnings.

        Returns:
            Their warnings.

        Raises:
            Complaint: A check refuses it.
        """
        warnings: list[str] = []
        for check in spec.checks:
            given = {check.parameter: value, **{one: values[one] for one in check.reads}}
            try:
                said = check.function(**given)
                if isinstance(said, Awaitable):
                    said = await said
            except Complaint as complaint:
                if complaint.insist or not last:
                    raise
                said = str(complaint)
            if isinstance(said, str):
                warnings.append(said)
            elif said is not None:
                warnings.extend(said)
        return warnings

    def _start(self, work: "_Work", fingerprint: bytes | None, bound: Bound) -> None:
        """Write that the attempt began; it rides along with the next commit."""
        crew, key = self._crew, work.key
        started = StepStarted(
            work.step, crew.run, key.stage, key.item, crew.fence, work.attempt, fingerprint, bound.reads, now()
        )
        if work.journal.holds:
            work.journal.hold(started)
        else:
            crew.ledger.follow(started)
        work.started = True

    async def _finish(
        self, work: "_Work", data: bytes, warnings: list[str], reused_from: int | None = None
    ) -> StepStatus:
        """Write an output and that its step is completed, as one unit."""
        unit = self._unit(work, data, warnings, reused_from)
        return await self._commit(work, unit.facts, lambda: self._written(work, unit))

    async def _commit(self, work: "_Work", facts: Unit, then: Callable[[], StepStatus]) -> StepStatus:
        """Write what a step came to, and take note once it is durable."""
        ledger, facts = self._crew.ledger, (*work.journal.held(), *facts)
        if not work.limited:
            await ledger.write(*facts)
            return then()
        waiter = asyncio.get_running_loop().create_future()
        ledger.hand_in(waiter, *facts)
        work.commit = Commit(waiter, then)
        return await work.commit.durable()

    def _unit(self, work: "_Work", data: bytes, warnings: list[str], reused_from: int | None = None) -> "_Unit":
        """Make the facts of a completed step; of an output that is live already, none."""
        crew, key, at = self._crew, work.key, now()
        digest = content_hash(data)
        said = (*work.warnings, *warnings)
        ended = StepEnded(
            work.step,
            crew.run,
            crew.fence,
            work.attempt,
            StepStatus.COMPLETED,
            at,
            warnings=said,
            reused_from=reused_from,
        )
        before = crew.outputs.live(key)
        if before is not None and before.content_hash == digest:
            return _Unit((ended,), None, data)
        output = crew.ledger.new_id()
        by = "stage" if reused_from is None else "reuse"
        made = OutputMade(output, crew.run, work.step, key.stage, key.item, data, digest, by, at, crew.fence)
        return _Unit((made, ended), Live(output, digest), data)

    def _written(self, work: "_Work", unit: "_Unit") -> StepStatus:
        """Take note of what is durable now."""
        if unit.live is not None:
            self._crew.outputs.put(work.key, unit.live, unit.data)
        warnings = unit.facts[-1].warnings
        self._crew.progress.warnings.extend(f"{name(work.key)}: {warning}" for warning in warnings)
        return StepStatus.COMPLETED

    async def _end(
        self,
        work: "_Work",
        status: StepStatus,
        *,
        reason: str | None = None,
        error: Exception | None = None,
        final: bool = True,
    ) -> StepStatus:
        """Write that the attempt ended without an output."""
        if not work.started:
            self._start(work, None, Bound({}, b"{}", b""))
        kind = type(error).__name__ if error is not None else None
        crew = self._crew
        said = tuple(work.warnings)
        ended = StepEnded(work.step, crew.run, crew.fence, work.attempt, status, now(), reason, kind, said, final=final)

        def then() -> StepStatus:
            if final:
                crew.progress.warnings.extend(f"{name(work.key)}: {warning}" for warning in said)
            return status

        return await self._commit(work, (ended,), then)


@dataclass(slots=True)
class _Work:
    """One attempt of one step."""

    spec: StageSpec
    key: StepKey
    step: int
    attempt: int
    journal: Journal
    started: bool = False
    warnings: list[str] = field(default_factory=list)
    """What its function warned of."""
    commit: Commit | None = None
    """What it came to, once that is with the ledger."""

    @property
    def limited(self) -> bool:
        """Whether it may run out of time."""
        return self.spec.policy.timeout is not None

    def warn(self, text: str) -> None:
        """Implement `stagebook.Warn`."""
        self.warnings.append(str(text))


class _Unit(NamedTuple):
    """A completed step as it is written."""

    facts: tuple[OutputMade, StepEnded] | tuple[StepEnded]
    live: Live | None
    """The output, if it is a new one."""
    data: bytes


def _data(work: _Work, made: object) -> bytes:
    """Write what a function returned as JSON.

    Raises:
        StageFailed: It is something else than it says that it returns, or nothing that JSON can hold.
    """
    if not isinstance(made, work.spec.output):
        wanted, got = work.spec.output.__name__, type(made).__name__
        raise StageFailed(f"{name(work.key)} returned {got}, not {wanted} ({work.spec.location})")
    try:
        return kept(made)
    except Complaint as complaint:
        raise StageFailed(f"{name(work.key)} returned what JSON cannot hold: {complaint}") from complaint


def _behind(error: Exception) -> BaseException | None:
    """Find what an SDK made an error of its own of: ours if there is one, else what lies deepest."""
    cause = error.__cause__
    for _ in range(_DEEPEST):
        if cause is None or cause.__cause__ is None or isinstance(cause, StagebookError):
            break
        cause = cause.__cause__
    return cause


def _told(key: StepKey, error: Exception, behind: BaseException | None) -> str:
    """Say what a stage's own function raised, on which of its lines, and what lies behind it."""
    frames = [(frame.filename.replace("\\", "/"), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    where = ""
    for others in (("/stagebook/", "/site-packages/"), ("/stagebook/",), ()):  # the stage's own lines, if there are any
        own = [frame for frame in frames if not any(part in frame[0] for part in others)]
        if own:
            where = f" at {own[-1][0]}:{own[-1][1]}"
            break
    cause = "" if behind is None else str(behind) if isinstance(behind, StagebookError) else repr(behind)
    return f"{name(key)} failed with {type(error).__name__}: {error}{where}" + (f" ({cause})" if cause else "")
