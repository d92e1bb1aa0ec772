"""The least time that a run takes where providers let only so much through in a minute: pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from stagebook.door.rate import WINDOW_SECONDS, Limit
from stagebook.insight.trend import NOTHING, Range
from stagebook.llm.providers import alternatives


def limited_time(
    asked: Iterable[tuple[str | None, Range | None, Range | None, Range | None]], limits: Mapping[str, Limit]
) -> Range | None:
    """Say how many seconds the limits leave a run at least.

    What fits into the first window leaves at once; the rest follows window by window.

    Args:
        asked: Of each stage: its model, calls, tokens read, tokens written.
        limits: By `provider:model`, or by `provider`.

    Returns:
        None where no stage that is limited says how much it asks.
    """
    sums: defaultdict[str, tuple[Range, Range]] = defaultdict(lambda: (NOTHING, NOTHING))
    for model, calls, read, written in asked:
        first = alternatives(model)[0] if model is not None else ""
        name = first if first in limits else first.partition(":")[0]
        if name in limits and calls is not None:
            before = sums[name]
            sums[name] = (before[0] + calls, before[1] + (read or NOTHING) + (written or NOTHING))
    slowest: Range | None = None
    for name, (calls, tokens) in sums.items():
        for amount, most in ((calls, limits[name].requests), (tokens, limits[name].tokens)):
            if most is not None:
                took = Range(
                    *(WINDOW_SECONDS * max(0.0, one / most - 1) for one in (amount.low, amount.expected, amount.high))
                )
                slowest = took if slowest is None else at_least(slowest, took)
    return slowest


def at_least(one: Range, other: Range) -> Range:
    """Give the longer of two times."""
    return Range(max(one.low, other.low), max(one.expected, other.expected), max(one.high, other.high))
