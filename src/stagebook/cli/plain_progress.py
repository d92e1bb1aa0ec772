"""Progress for a log: one plain line per stage that is over, and now and then one for what takes long."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from stagebook.cli.display import finished
from stagebook.cli.quantities import count, duration, money, plural
from stagebook.definition.graph import Graph
from stagebook.engine.progress import Progress, StageProgress
from stagebook.model.usage import PICODOLLARS

LOOK_SECONDS: Final = 0.1
LONG_SECONDS: Final = 10.0
"""A run that has said nothing for so long says how far it is."""

BATCH_SECONDS: Final = 60.0
"""The same for one that waits for a provider's batch, which may take a day."""


class PlainProgress:
    """Watches a run's counters.

    Args:
        progress: The counters.
        graph: The pipeline.
        say: Prints a line.
    """

    def __init__(self, progress: Progress, graph: Graph, say: Callable[[str], None]) -> None:
        self._progress = progress
        self._graph = graph
        self._say = say
        self._told: set[str] = set()
        self._announced = False
        self._last = time.monotonic()

    async def watch(self) -> None:
        """Tell what happens, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.tell()

    def tell(self) -> None:
        """Tell what has happened since the last time."""
        if self._progress.by_batch is not None and not self._announced:
            self._announced = True
            self._tell(self._progress.by_batch)
        for name, stage in self._progress.stages.items():
            news = stage.began is not None or stage.skipped  # what an earlier drive completed is none
            if news and name not in self._told and ((stage.failed and not stage.running) or self._over(name)):
                self._told.add(name)
                self._tell(_summary(stage))
        long = LONG_SECONDS if self._progress.batches() is None else BATCH_SECONDS
        if time.monotonic() - self._last >= long:
            busy = [stage for stage in self._progress.stages.values() if stage.running]
            self._tell(self._so_far(busy))

    def _over(self, name: str) -> bool:
        return finished(name, self._graph, self._progress.stages)

    def _tell(self, line: str) -> None:
        self._say(line)
        self._last = time.monotonic()

    def _so_far(self, busy: list[StageProgress]) -> str:
        at = ", ".join(f"{stage.title} {stage.done}/{stage.expected}" for stage in busy) or "waiting"
        spent = money(Decimal(self._progress.cost) / PICODOLLARS)
        elapsed = duration(time.monotonic() - self._progress.began)
        held = "".join(f"; {told}" for told in (self._progress.batches(), self._progress.pacing()) if told)
        return f"... {at}; {count(self._progress.tokens)} tokens written, {spent}, {elapsed} elapsed{held}"


def _summary(stage: StageProgress) -> str:
    """Say in a line how a stage ended."""
    if stage.failed:
        how = f"{stage.failed} of {plural(stage.expected, 'step')} failed" if stage.mapped else "failed"
    elif stage.skipped == stage.done and stage.done:
        how = "skipped"
    else:
        how = f"completed, {plural(stage.completed, 'step')}" if stage.mapped else "completed"
    parts = [how]
    if stage.calls:
        parts.append(f"{count(stage.input_tokens + stage.output_tokens)} tokens")
        parts.append(money(Decimal(stage.cost) / PICODOLLARS))
    if stage.began is not None:
        parts.append(duration(stage.seconds()))
    return f"{stage.title}: {', '.join(parts)}"
