"""How patiently batches are gathered, polled and tried again: pure."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Times and counts of batches; the defaults suit batches that take minutes to hours."""

    tick: float = 0.05
    """Seconds between looks at whether what is gathered should leave."""
    calm: float = 0.2
    """Seconds for which everything that a run has under way must have waited for a batch, before one leaves."""
    quiet: float = 10.0
    """Seconds without another request after which a batch leaves, though other steps are still at work."""
    first_wait: float = 1.0
    """Seconds before the first poll."""
    growth: float = 1.5
    """How much longer each wait is than the one before."""
    longest_wait: float = 60.0
    """Seconds between polls at most."""
    alone: int = 10
    """Requests that came back from a batch unanswered are asked one by one, at full price, if there are no more."""
    most_requests: int | None = None
    """Requests in a batch, where that is to be less than the provider takes."""
    arrival: float = 30.0
    """Seconds from its sending for which a creation without an answer may still be on its way, also when its sender was
    killed: only then does it say something that the provider's list does not have it."""
    settling: float = 10.0
    """Seconds that a submission under way is given when a run is stopped."""

    def waits(self) -> Iterator[float]:
        """Seconds before each poll."""
        wait = self.first_wait
        while True:
            yield wait
            wait = min(wait * self.growth, self.longest_wait)
