"""What steps and exchanges add up to: computed when asked for, never stored."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Final


@dataclass(slots=True)
class StageSummary:
    """One stage of one run."""

    stage: str
    """Name; empty for what belongs to no step."""
    total: int = 0
    """Steps that are in the ledger."""
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    running: int = 0
    pending: int = 0
    reused: int = 0
    """Of the completed: taken over from another run."""
    started_at: int | None = None
    """When its first step began."""
    ended_at: int | None = None
    """When its last step ended, so far."""
    worked: int = 0
    """Microseconds in its attempts, added up (side by side counts twice)."""
    exchanges: int = 0
    """Sendings, retries included."""
    cost: int = 0
    """Picodollars, of every answer, accepted or not."""
    unpriced: int = 0
    """Answers of models for which no price is known."""
    possibly_paid: int = 0
    """Sent, and no whole answer came."""
    unanswered: int = 0
    """Sent and still open; as good as possibly paid where nobody drives the run."""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    reasoning_output_tokens: int = 0
    avoided: int = 0
    """Picodollars that its reused steps had cost where they ran."""


@dataclass(slots=True)
class RunSummary:
    """One run."""

    run: int
    """Id."""
    stages: dict[str, StageSummary] = field(default_factory=dict)
    """By name, those that have steps or exchanges."""
    warnings: list[str] = field(default_factory=list)
    """`stage[item]: text`, oldest step first."""
    errors: list[str] = field(default_factory=list)
    """`stage[item]: reason` of failed steps, oldest first."""

    def stage(self, name: str) -> StageSummary:
        """Find or make a stage's summary."""
        found = self.stages.get(name)
        if found is None:
            found = self.stages[name] = StageSummary(name)
        return found

    def total(self) -> StageSummary:
        """Add up all stages."""
        return added(self.stages.values())


def added(stages: Iterable[StageSummary]) -> StageSummary:
    """Add up stages, of one run or of several."""
    result = StageSummary("")
    for one in stages:
        for name in _SUMMED:
            setattr(result, name, getattr(result, name) + getattr(one, name))
        result.started_at = _known(min, result.started_at, one.started_at)
        result.ended_at = _known(max, result.ended_at, one.ended_at)
    return result


_SUMMED: Final = tuple(one.name for one in fields(StageSummary) if one.name not in {"stage", "started_at", "ended_at"})


def _known(choose: Callable[[int, int], int], first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return choose(first, second)
