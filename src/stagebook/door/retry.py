"""When to try again and how long to wait: pure."""

import email.utils
import random
from collections.abc import Mapping
from dataclasses import dataclass

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 529})
"""Statuses that say "later": request timeout, too many requests, server errors, and Anthropic's "overloaded"."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Full-jitter exponential backoff (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""

    tries: int = 4
    """Most sendings of one request in one drive: the first and three more."""
    base: float = 2.0
    """Seconds: the first wait is drawn from 0 to this."""
    cap: float = 60.0
    """Seconds: no drawn wait is longer."""
    longest_asked: float = 300.0
    """Seconds: a provider that asks for a longer wait than this is not waited for."""

    def delay(self, failures: int, asked: float | None, rng: random.Random) -> float | None:
        """Say how long to wait before the next try.

        Args:
            failures: Tries that failed so far, at least 1.
            asked: Seconds that the provider asked for (Retry-After), if it did.
            rng: Where jitter comes from.

        Returns:
            Seconds, or None when it is not to be tried again.
        """
        if failures >= self.tries:
            return None
        drawn = rng.uniform(0.0, min(self.cap, self.base * 2.0 ** (failures - 1)))
        if asked is None:
            return drawn
        if asked > self.longest_asked:
            return None
        # a little past what was asked, each caller differently, or all come back in the same instant
        return asked + min(drawn, 0.1 * asked + 0.05)


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3: seconds or a date) or `retry-after-ms`.

    Args:
        headers: Names in lower case.
        now: Seconds since 1970.

    Returns:
        Seconds to wait, at least 0; None if nothing readable was asked.
    """
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        try:
            return max(0.0, float(milliseconds) / 1000.0)
        except ValueError:
            pass
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None
