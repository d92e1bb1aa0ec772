"""Confidence intervals of 95 %: Wilson's for right or wrong, Student's for other scores."""

from math import sqrt
from typing import Final, Literal

from pydantic import BaseModel

_Z: Final = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""
_STUDENT: Final = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
"""The 97.5th percentiles of Student's distribution with 1 to 30 degrees of freedom (NIST/SEMATECH 1.3.6.7.2)."""


class Interval(BaseModel):
    """Where the mean of all answers of this kind lies, with a confidence of 95 %."""

    low: float
    """Its lower end."""
    high: float
    """Its upper end."""
    method: Literal["wilson", "student", "bootstrap"]
    """How it was computed."""


class Moments:
    """Mean and variance of numbers that come one by one; none of them is kept (Welford 1962)."""

    __slots__ = ("_squares", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """Count a number."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self._squares += step * (value - self.mean)

    @property
    def variance(self) -> float:
        """Of the sample, with Bessel's correction; 0 of fewer than two numbers."""
        return self._squares / (self.count - 1) if self.count > 1 else 0.0


def wilson(right: float, count: int) -> Interval | None:
    """The score interval of a proportion (Wilson 1927): inside 0 to 1, and of some width where all are right.

    Args:
        right: How many are right.
        count: Out of how many; of none, there is no interval.
    """
    if count == 0:
        return None
    share, squared = right / count, _Z * _Z
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    width = _Z / (1 + squared / count) * sqrt(share * (1 - share) / count + squared / (4 * count * count))
    return Interval(low=max(0.0, middle - width), high=min(1.0, middle + width), method="wilson")


def student(moments: Moments, scale: tuple[float, float]) -> Interval | None:
    """The interval of a mean by Student's distribution, cut off at the ends of its scale.

    Two answers at least are needed; None of fewer.
    """
    if moments.count <= 1:
        return None
    width = _quantile(moments.count - 1) * sqrt(moments.variance / moments.count)
    low, high = scale
    return Interval(low=max(low, moments.mean - width), high=min(high, moments.mean + width), method="student")


def _quantile(freedom: int) -> float:
    """Student's 97.5th percentile; past the table by Abramowitz and Stegun 26.7.5, which is exact to 1e-5 there."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
