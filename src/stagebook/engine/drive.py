"""Drives one run on this machine: takes what is ready, runs it, tells the frontier, until nothing is left."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stagebook.definition.graph import Graph
from stagebook.door.budget import Reached
from stagebook.engine.plan import Frontier, Ready, StepKey
from stagebook.engine.steps import Crew, StepRunner
from stagebook.ledger.clock import now
from stagebook.ledger.facts import StepSkipped
from stagebook.model.records import Step
from stagebook.model.status import StepStatus

MOST_PATIENT: Final = 50_000
"""Steps that wait for providers' batches at once: the largest batch of OpenAI. A waiting step takes some 30 KB."""
PAUSED = "paused"
"""Why a drive ends that its owner, or its budget, wants to pause."""


class Stop:
    """How a drive is told to end early.

    `finish` lets what is in flight come to its end and begins nothing new; `now` cancels that as well.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._event = asyncio.Event()
        self._cancel: Callable[[], None] | None = None
        self._turn_away: Callable[[], None] | None = None

    def finish(self, reason: str) -> None:
        """Begin nothing new."""
        self.reason = self.reason or reason
        self._event.set()
        if self._turn_away is not None:
            self._turn_away()

    def now(self, reason: str) -> None:
        """Cancel what is in flight."""
        self.finish(reason)
        if self._cancel is not None:
            self._cancel()

    def on_now(self, cancel: Callable[[], None]) -> None:
        """Say how to cancel."""
        self._cancel = cancel

    def on_finish(self, turn_away: Callable[[], None]) -> None:
        """Say how to leave what has not been sent yet."""
        self._turn_away = turn_away
        if self.wished:
            turn_away()

    @property
    def wished(self) -> bool:
        """Whether nothing new may begin."""
        return self._event.is_set()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a drive ended."""

    finished: bool
    """Every step in scope has ended."""
    failed: tuple[StepKey, ...]
    """Steps that failed in this drive."""
    stopped: str | None
    """Why it ended early, if it was told to."""
    reached: Reached | None = None
    """The budget, if that is why."""


class Driver:
    """One drive of one run.

    Args:
        graph: The pipeline.
        frontier: What has happened and what is ready.
        crew: What steps work with.
        prior: Steps that an earlier drive began and did not end.
        stop: Tells to end early.
    """

    def __init__(self, graph: Graph, frontier: Frontier, crew: Crew, prior: dict[StepKey, Step], stop: Stop) -> None:
        self._graph = graph
        self._frontier = frontier
        self._crew = crew
        self._stop = stop
        self._progress = crew.progress
        self.runner = StepRunner(crew, prior, self._on_items, frontier.withdrawn)
        self._queue: deque[StepKey] = deque()
        self._patient: deque[StepKey] = deque()
        """Ready steps of stages that wait for batches: they are not held to the concurrency."""
        self._held: dict[str, deque[StepKey]] = defaultdict(deque)
        self._at_once: Counter[str] = Counter()
        self._active: set[asyncio.Task[None]] = set()
        self._busy = 0
        """Steps under way, but for those that are patient."""
        self._at_ease = 0
        """Patient steps under way."""
        self._idle = asyncio.Event()
        self._failed: list[StepKey] = []
        self._halted = False
        self._broken: BaseException | None = None

    async def drive(self) -> Ended:
        """Run until nothing is left, a failure stops the run, or it is told to end.

        Raises:
            WriteRefused: The ledger would not take what was made.
        """
        self._stop.on_now(self._cancel)
        self._stop.on_finish(self._crew.door.turn_away)
        if self._crew.budget is not None:
            self._crew.budget.watch(self._heed_budget)
        self._take(self._frontier.begin())
        self._fill()
        try:
            while self._active:
                self._idle.clear()
                await self._idle.wait()
        finally:
            await self._drain()
        if self._broken is not None:
            raise self._broken
        stopped = self._stop.reason if self._stop.wished else None
        finished, budget = self._frontier.finished(), self._crew.budget
        reached = budget.reached if budget is not None and not finished else None
        return Ended(finished, tuple(self._failed), stopped, reached)

    def _cancel(self) -> None:
        for task in self._active:
            task.cancel()

    def _heed_budget(self) -> None:
        """Once the budget is reached, begin nothing new, and leave the steps that wait at it when no other is at work.

        They are begun again on resume, where what they were answered is given to them again.
        """
        budget = self._crew.budget
        if budget is None or budget.reached is None:
            return
        self._stop.finish(PAUSED)
        self._progress.stopping = "the budget is reached"
        if self._active and budget.waiting >= len(self._active):
            self._cancel()

    async def _drain(self) -> None:
        """Leave no task behind, also when this drive itself is cancelled."""
        if self._active:
            self._cancel()
            await asyncio.gather(*self._active, return_exceptions=True)

    def _take(self, ready: list[Ready]) -> None:
        """Queue what is to be run; decide what is to be skipped, and whatever follows from that."""
        pending = deque(ready)
        while pending:
            one = pending.popleft()
            self._progress.stages[one.key.stage].expected = self._frontier.rules.expected(
                self._graph.stages[one.key.stage]
            )
            if one.skip is None:
                (self._patient if one.key.stage in self._crew.by_batch else self._queue).append(one.key)
                continue
            crew, key = self._crew, one.key
            step = self.runner.step_id(key)
            crew.ledger.follow(StepSkipped(step, crew.run, key.stage, key.item, crew.fence, one.skip, now()))
            self._progress.stages[key.stage].skipped += 1
            pending.extend(self._frontier.ended(key.stage, key.item, StepStatus.SKIPPED))

    def _on_items(self, stage: str, parent: str, keys: list[str]) -> None:
        for key in keys:
            self._take(self._frontier.yielded(stage, parent, key))
        for spec in self._graph.stages.values():
            if spec.axis and spec.axis[-1] == stage and spec.name in self._progress.stages:
                self._progress.stages[spec.name].expected = self._frontier.rules.expected(spec)
        self._fill()

    def _fill(self) -> None:
        """Begin as many steps as there is room for."""
        while self._queue and self._busy < self._crew.settings.concurrency and not self._closed():
            key = self._queue.popleft()
            limit = self._graph.stages[key.stage].policy.concurrency
            if limit is not None and self._at_once[key.stage] >= limit:
                self._held[key.stage].append(key)
                continue
            self._at_once[key.stage] += 1
            self._busy += 1
            self._begin(key)
        while self._patient and self._at_ease < MOST_PATIENT and not self._closed():
            self._at_ease += 1
            self._begin(self._patient.popleft())
        if not self._active:
            self._idle.set()

    def _begin(self, key: StepKey) -> None:
        self._progress.start(key.stage)
        task = asyncio.create_task(self._run(key))
        self._active.add(task)
        task.add_done_callback(self._done)

    def _closed(self) -> bool:
        return self._stop.wished or self._broken is not None or self._halted

    async def _run(self, key: StepKey) -> None:
        spec = self._graph.stages[key.stage]
        counter = self._progress.stages[key.stage]
        try:
            status = await self.runner.run(spec, key.item)
        finally:
            self._progress.end(key.stage)
            if key.stage in self._crew.by_batch:
                self._at_ease -= 1
            else:
                self._at_once[key.stage] -= 1
                self._busy -= 1
            if self._held[key.stage]:
                self._queue.appendleft(self._held[key.stage].popleft())
        if status is StepStatus.FAILED:
            counter.failed += 1
            self._failed.append(key)
            if spec.policy.on_error == "stop":
                self._halted = True
                self._progress.stopping = f"{key.stage} failed"
                self._crew.door.turn_away()
                return
        elif status is StepStatus.SKIPPED:
            counter.skipped += 1
        else:
            counter.completed += 1
        self._take(self._frontier.ended(key.stage, key.item, status))
        self._fill()  # at once, not when the loop comes round to tell that this task is done

    def _done(self, task: asyncio.Task[None]) -> None:
        self._active.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and self._broken is None:
            self._broken = error
        self._fill()
        if not self._active:
            self._idle.set()
        self._heed_budget()
