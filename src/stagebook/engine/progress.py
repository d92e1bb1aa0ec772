"""How far a run is: counters that the driver moves and a display reads."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from stagebook.definition.graph import Graph
from stagebook.model.usage import Charge


@dataclass(slots=True)
class StageProgress:
    """One stage's counters."""

    name: str
    title: str
    """Number or label beside the name, for people."""
    mapped: bool
    """Whether it runs for items, so that its total grows."""
    expected: int = 0
    """Steps known so far."""
    running: int = 0
    completed: int = 0
    skipped: int = 0
    failed: int = 0
    reused: int = 0
    """Of the completed: taken over from what was recorded."""
    calls: int = 0
    """Answers paid for in this drive."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    """Picodollars, in this drive and before."""
    began: float | None = None
    """Seconds, monotonic."""
    ended: float | None = None

    @property
    def done(self) -> int:
        """Steps that ended."""
        return self.completed + self.skipped + self.failed

    def seconds(self) -> float:
        """Time since the first step began, until the last one ended."""
        if self.began is None:
            return 0.0
        return (self.ended if self.ended is not None and not self.running else time.monotonic()) - self.began


@dataclass(slots=True)
class Progress:
    """A run's counters; a display reads them as often as it likes."""

    run_id: str = ""
    pipeline: str = ""
    stages: dict[str, StageProgress] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    streaming_tokens: int = 0
    """Tokens of answers that are being written right now, where the model tells (the local one does)."""
    warnings: list[str] = field(default_factory=list)
    pacing: Callable[[], str | None] = field(default=lambda: None)
    """Says who waits for a provider that takes no more at the moment."""
    batches: Callable[[], str | None] = field(default=lambda: None)
    """Says which batches are at their providers, also once the drive has left them there."""
    by_batch: str | None = None
    """Says once which stages are answered by batches, and which are not."""
    stopping: str | None = None
    """Why nothing new is begun, once that is so."""

    def lay_out(self, graph: Graph, stages: frozenset[str]) -> None:
        """Make a counter for every stage in scope."""
        for spec in sorted(graph.stages.values(), key=lambda one: one.position):
            if spec.name in stages:
                title = spec.name if spec.number is None else f"{spec.number} {spec.name}"
                self.stages[spec.name] = StageProgress(spec.name, title, mapped=bool(spec.axis))

    def start(self, stage: str) -> None:
        """A step began."""
        counter = self.stages[stage]
        counter.running += 1
        if counter.began is None:
            counter.began = time.monotonic()

    def end(self, stage: str) -> None:
        """A step that had begun ended."""
        counter = self.stages[stage]
        counter.running -= 1
        counter.ended = time.monotonic()

    def charge(self, stage: str, charge: Charge) -> None:
        """An answer was paid for."""
        counter = self.stages[stage]
        counter.calls += 1
        counter.input_tokens += charge.usage.input_tokens
        counter.output_tokens += charge.usage.output_tokens
        counter.cost += charge.cost or 0
        self.streaming_tokens = 0

    @property
    def cost(self) -> int:
        """Picodollars of all stages."""
        return sum(stage.cost for stage in self.stages.values())

    @property
    def tokens(self) -> int:
        """Tokens written by models, the ones being written included."""
        return sum(stage.output_tokens for stage in self.stages.values()) + self.streaming_tokens

    def fraction(self) -> float:
        """Share of the stages that is done, each stage counting once."""
        if not self.stages:
            return 1.0
        return sum(min(1.0, s.done / s.expected) if s.expected else 0.0 for s in self.stages.values()) / len(
            self.stages
        )

    def seconds_left(self) -> float | None:
        """Guess the time left from the share that is done; None while too little is."""
        share = self.fraction()
        if share < 0.05:  # noqa: PLR2004  below a twentieth the guess would jump
            return None
        return (time.monotonic() - self.began) * (1.0 - share) / share
