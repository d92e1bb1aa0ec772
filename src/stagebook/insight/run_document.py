"""A run as one document: what `--json` prints, what `show` draws, and what the HTTP surface answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stagebook.model.usage import dollars


@dataclass(frozen=True, slots=True)
class StepCounts:
    """How many steps a stage has, and how they ended."""

    total: int
    """Known so far: one, or the items that it is mapped over."""
    completed: int
    failed: int
    skipped: int
    reused: int
    """Of the completed: taken over from another run."""


@dataclass(frozen=True, slots=True)
class StageDocument:
    """One stage of a run."""

    name: str
    number: int | None
    """Published number, for people."""
    phase: str | None
    status: str
    """A RunStatus, or `skipped` where every step of it was."""
    steps: StepCounts
    input_tokens: int
    output_tokens: int
    cost: int
    """Picodollars."""
    seconds: float
    """Time at work."""

    @property
    def title(self) -> str:
        """Number and name."""
        return self.name if self.number is None else f"{self.number} {self.name}"

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {
            "name": self.name,
            "number": self.number,
            "phase": self.phase,
            "status": self.status,
            "steps": {
                "total": self.steps.total,
                "completed": self.steps.completed,
                "failed": self.steps.failed,
                "skipped": self.steps.skipped,
                "reused": self.steps.reused,
            },
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": dollars(self.cost),
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class RunDocument:
    """One run."""

    run_id: str
    pipeline: str
    status: str
    """A RunStatus."""
    tags: tuple[str, ...]
    created_at: int
    """Microseconds since 1970, UTC."""
    seconds: float
    """Time at work; of a run that is being driven, since its first step began."""
    cost: int
    """Picodollars, of every answer, accepted or not."""
    avoided: int
    """Picodollars that reused steps had cost where they ran."""
    budget: int | None
    """Picodollars that it may cost at most; None: no limit."""
    possibly_paid: int
    """Requests that were sent and of which no whole answer came."""
    input_tokens: int
    output_tokens: int
    parent: str | None
    """The run that it was forked from."""
    current_stage: str | None
    """At work, or next; None once completed."""
    stages: tuple[StageDocument, ...]
    """Those in scope, in the order of their declaration."""
    warnings: tuple[str, ...]
    """`stage[item]: text`."""
    errors: tuple[str, ...]
    """`stage[item]: reason`."""

    @property
    def progress(self) -> Mapping[str, int]:
        """Stages that are done, of how many, and the percentage."""
        total = len(self.stages)
        done = sum(stage.status in {"completed", "skipped"} for stage in self.stages)
        return {"completed": done, "total": total, "percentage": 100 * done // total if total else 100}

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it: money as decimal strings, times as ISO 8601."""
        return {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "status": self.status,
            "tags": list(self.tags),
            "created_at": iso(self.created_at),
            "seconds": self.seconds,
            "cost_usd": dollars(self.cost),
            "avoided_cost_usd": dollars(self.avoided),
            "budget_usd": None if self.budget is None else dollars(self.budget),
            "possibly_paid": self.possibly_paid,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "parent": self.parent,
            "progress": dict(self.progress),
            "current_stage": self.current_stage,
            "warnings": list(self.warnings),
            "errors": list(self.errors),
            "stages": [stage.to_json() for stage in self.stages],
        }


def iso(microseconds: int) -> str:
    """Write a time as ISO 8601, UTC."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
