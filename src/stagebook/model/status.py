"""The words for where things stand. A step's is stored; everything above a step is computed from its steps."""

from enum import StrEnum


class StepStatus(StrEnum):
    """Where one step stands; the only status that is stored."""

    PENDING = "pending"
    """Declared or expected, and not begun."""
    RUNNING = "running"
    """Begun; if its driver is gone it counts as pending again."""
    COMPLETED = "completed"
    """Its output is durable."""
    FAILED = "failed"
    """Its last attempt failed; the reason is kept."""
    SKIPPED = "skipped"
    """Decided not to run, with the reason; counts as done, costs nothing."""

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to the step in this drive."""
        return self in {StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED}


class RunStatus(StrEnum):
    """Where a run (or one of its stages) stands; always computed, never stored."""

    PENDING = "pending"
    """Created, nothing begun."""
    RUNNING = "running"
    """A living process drives it."""
    COMPLETED = "completed"
    """Every step that is planned is completed or skipped, or failed where the stage collects its errors."""
    FAILED = "failed"
    """A step failed and nobody drives the run."""
    INTERRUPTED = "interrupted"
    """Unfinished, and nobody drives it: `resume` goes on."""
    PAUSED = "paused"
    """Unfinished, nobody drives it, and a pause was wished (by a person or a budget)."""
    CANCELLED = "cancelled"
    """Ended by wish before it was finished."""


class Wish(StrEnum):
    """What its owner wants of a run; stored, because no step's status says it."""

    RUN = "run"
    """Go on until finished."""
    PAUSE = "pause"
    """Finish what is in flight, begin nothing new."""
    CANCEL = "cancel"
    """As pause, and do not come back."""


class ExchangeState(StrEnum):
    """How far one exchange with the outside came."""

    PREPARED = "prepared"
    """Rendered and waiting for its turn; nothing left this process."""
    SENT = "sent"
    """About to leave, durable before the wire; without a later state it is possibly paid."""
    RECEIVED = "received"
    """Answered; the whole answer is durable before anyone reads it."""
    PARSED = "parsed"
    """Its answer was read and accepted or complained about."""
    UNSENT = "unsent"
    """The connection was refused: the provider never saw it."""
    LOST = "lost"
    """Sent, and no whole answer came back (timeout, cut, killed): possibly paid, unless it was a stage's own tool."""
