"""The attempts of one step: how each ended, and why."""

from dataclasses import dataclass
from typing import Any, Final

from stagebook.insight.run_document import iso
from stagebook.ledger.store import Ledger
from stagebook.model.status import RunStatus, StepStatus

MOST: Final = 10_000
_ATTEMPTS: Final = """
SELECT number, status, started_at, ended_at, error_type, reason FROM attempts WHERE step = ? ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class AttemptDocument:
    """One attempt."""

    number: int
    """From 1."""
    status: str
    """A StepStatus, or `interrupted`: its driver ended before it did."""
    error_type: str | None
    """Class of the error that it failed with."""
    reason: str | None
    """Why it failed or was skipped."""
    started_at: int
    """Microseconds since 1970, UTC."""
    seconds: float | None
    """None while it has not ended."""

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {
            "attempt": self.number,
            "status": self.status,
            "error_type": self.error_type,
            "reason": self.reason,
            "started_at": iso(self.started_at),
            "seconds": self.seconds,
        }


async def attempts_of(ledger: Ledger, step: int, *, driven: bool) -> list[AttemptDocument]:
    """List a step's attempts, oldest first.

    Args:
        ledger: Where they are.
        step: Id of the step.
        driven: Whether somebody drives the run.
    """
    table = await ledger.query(_ATTEMPTS, (step,), limit=MOST)
    found: list[AttemptDocument] = []
    for number, status, started, ended, error_type, reason in table.rows:
        left = status == StepStatus.RUNNING and not driven
        begun = int(str(started))
        found.append(
            AttemptDocument(
                number=int(str(number)),
                status=RunStatus.INTERRUPTED if left else str(status),
                error_type=None if error_type is None else str(error_type),
                reason=None if reason is None else str(reason),
                started_at=begun,
                seconds=None if ended is None else round((int(str(ended)) - begun) / 1e6, 3),
            )
        )
    return found
