"""What happened, as a stream."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, after everything with a lower `seq`."""

    seq: int
    """Place in the order of commits, over all runs."""
    at: int
    """Microseconds since 1970, UTC."""
    run: int | None
    """Id of the run."""
    kind: str
    """`run_created`, `drive_started`, `drive_ended`, `completed`, `failed`, `skipped` (a step), `attempt_failed`,
    `wish`, `settings`, `stage_start`, `stage_complete`, or the kind of a note."""
    step: int | None
    """Id of the step, if it is about one."""
    data: bytes | None
    """JSON object."""
