"""What a quantity will come to, told from how it went with inputs of other sizes: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final

SAME: Final = 0.01
"""Share by which two sizes may differ and still say nothing about what size does."""


@dataclass(frozen=True, slots=True)
class Range:
    """An amount that is not known exactly."""

    low: float
    expected: float
    high: float

    @classmethod
    def exactly(cls, amount: float) -> "Range":
        """Make one that is known."""
        return cls(amount, amount, amount)

    @classmethod
    def at_most(cls, amount: float) -> "Range":
        """Make one of which only the most is known."""
        return cls(0.0, amount, amount)

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, factor: float) -> "Range":
        """Multiply."""
        return Range(self.low * factor, self.expected * factor, self.high * factor)


NOTHING: Final = Range.exactly(0.0)


def predict(points: Sequence[tuple[float, float]], size: float, *, grows: bool) -> Range | None:
    """Say what a quantity will be at a size.

    With inputs of several sizes: a line whose slope is the median of those between every two points (P. K. Sen,
    "Estimates of the Regression Coefficient Based on Kendall's Tau", J. Am. Stat. Assoc. 63, 1968), which one odd run
    does not move; never falling, as nothing gets less by more input. With one size only: in proportion to the size
    where the quantity is known to grow with it, otherwise anything between the same and in proportion.

    Args:
        points: (size, quantity) of each recorded run.
        size: Of the new input.
        grows: Whether the quantity is a count over items, which there are the more of, the larger the input is.

    Returns:
        The expected amount, and the least and the most that the recorded runs strayed from it; None without points.
    """
    if not points:
        return None
    slopes = [
        (second - first) / (larger - smaller)
        for (smaller, first), (larger, second) in combinations(points, 2)
        if abs(larger - smaller) > SAME * max(larger, smaller)
    ]
    if slopes:
        slope = max(0.0, median(slopes))
        base = median(amount - slope * at for at, amount in points)
        strayed = [amount - (base + slope * at) for at, amount in points]
        return _around(base + slope * size, min(strayed), max(strayed))
    usual = median(amount for _, amount in points)
    before = median(at for at, _ in points)
    factor = size / before if before and abs(size - before) > SAME * before else 1.0
    least, most = min(amount for _, amount in points), max(amount for _, amount in points)
    if grows or factor == 1.0:
        return Range(least * factor, usual * factor, most * factor)
    return Range(least * min(1.0, factor), usual * (1.0 + factor) / 2, most * max(1.0, factor))


def _around(expected: float, below: float, above: float) -> Range:
    return Range(max(0.0, expected + below), max(0.0, expected), max(0.0, expected + above))
