"""How a stage behaves when things go wrong."""

from dataclasses import dataclass
from typing import Literal

OnError = Literal["stop", "collect"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Retry, limits and what a failure does."""

    on_error: OnError = "stop"
    """`stop`: a failed step ends the run once what is in flight is finished; `collect`: the others go on without it."""
    attempts: int = 1
    """Most attempts of a step whose own function raised (provider errors are retried by the door)."""
    timeout: float | None = None
    """Seconds that one attempt may take."""
    concurrency: int | None = None
    """Most steps of this stage at once; None: the run's."""
