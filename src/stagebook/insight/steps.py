"""The steps of one stage of one run, with what each took."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from stagebook.ledger.store import Ledger
from stagebook.ledger.table import Cell
from stagebook.model.errors import NotFound
from stagebook.model.records import Run, Step
from stagebook.model.status import RunStatus, StepStatus
from stagebook.model.usage import dollars

MOST: Final = 1_000_000_000
"""More rows than a run has."""
_TOTALS: Final = """
SELECT s.id, s.worked, coalesce(sum(e.input_tokens), 0), coalesce(sum(e.output_tokens), 0), coalesce(sum(e.cost), 0)
FROM steps s LEFT JOIN exchanges e ON e.run = s.run AND e.step = s.id
WHERE s.run = ? AND s.stage = ? GROUP BY s.id, s.worked
"""

_ORIGINS: Final = """
SELECT s.id, r.run_id, o.stage, o.item
FROM steps s LEFT JOIN steps o ON o.id = s.reused_from LEFT JOIN runs r ON r.id = o.run
WHERE s.run = ? AND s.stage = ? AND s.reused_from IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a step's output was taken over from."""

    run_id: str | None
    """None: the run was deleted since."""
    stage: str | None
    item: str | None

    def __str__(self) -> str:
        if self.run_id is None:
            return "a run that was deleted"
        return f"{self.run_id}, {self.stage}{f'[{self.item}]' if self.item else ''}"


@dataclass(frozen=True, slots=True)
class StepDocument:
    """One step."""

    id: int
    """In the ledger."""
    stage: str
    item: str
    """The item's key; empty for a stage that runs once."""
    status: str
    """A StepStatus, or `interrupted`: begun, and nobody drives the run."""
    attempts: int
    reason: str | None
    """Why it was skipped or failed."""
    warnings: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    cost: int
    """Picodollars."""
    seconds: float
    """In its attempts that ended."""
    reused_from: Origin | None = None
    """The step of another run whose output it took over."""

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {
            "stage": self.stage,
            "item": self.item or None,
            "status": self.status,
            "attempts": self.attempts,
            "reason": self.reason,
            "warnings": list(self.warnings),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": dollars(self.cost),
            "seconds": self.seconds,
            "reused_from": None
            if self.reused_from is None
            else {"run_id": self.reused_from.run_id, "stage": self.reused_from.stage, "item": self.reused_from.item},
        }


async def steps_of(ledger: Ledger, run: Run, stage: str) -> list[StepDocument]:
    """List the steps of a stage, oldest first."""
    steps = [step for step in await ledger.steps(run.id) if step.stage == stage]
    table = await ledger.query(_TOTALS, (run.id, stage), limit=MOST)
    totals = {row[0]: tuple(int(str(cell)) for cell in row[1:]) for row in table.rows}
    driven = ledger.is_driven(run.run_id)
    origins: dict[object, Origin] = {}
    if any(step.reused_from is not None for step in steps):
        for number, run_id, other, item in (await ledger.query(_ORIGINS, (run.id, stage), limit=MOST)).rows:
            origins[number] = Origin(_text(run_id), _text(other), _text(item))
    documents = [_document(step, driven, *totals.get(step.id, (0, 0, 0, 0))) for step in steps]
    return [replace(one, reused_from=origins.get(one.id)) if origins else one for one in documents]


def one_step(steps: Sequence[StepDocument], stage: str, item: str | None) -> StepDocument:
    """Choose a step by its item's key; a stage that runs once needs none.

    Raises:
        NotFound: There is no such step, or the stage has several and none is named.
    """
    if item is None and len(steps) == 1:
        return steps[0]
    for step in steps:
        if step.item == (item or ""):
            return step
    keys = ", ".join(step.item for step in steps[:8] if step.item)
    more = ", ..." if len(steps) > 8 else ""  # noqa: PLR2004  as many as were listed
    if not steps:
        raise NotFound(f"{stage} has no step yet; see where the run stands with `stagebook show`")
    if not keys:
        raise NotFound(f"{stage} runs once, not for items, so it has no item {item!r}; leave --item out")
    raise NotFound(f"{stage} has no step for the item {item!r}; its items: {keys}{more}")


def _text(cell: Cell) -> str | None:
    return None if cell is None else str(cell)


def _document(step: Step, driven: bool, worked: int, read: int, written: int, cost: int) -> StepDocument:  # noqa: FBT001  one row
    status = RunStatus.INTERRUPTED if step.status is StepStatus.RUNNING and not driven else step.status
    return StepDocument(
        id=step.id,
        stage=step.stage,
        item=step.item,
        status=status,
        attempts=step.attempts,
        reason=step.reason,
        warnings=step.warnings,
        input_tokens=read,
        output_tokens=written,
        cost=cost,
        seconds=round(worked / 1e6, 3),
    )
