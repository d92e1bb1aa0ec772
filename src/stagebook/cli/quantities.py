"""How amounts are written for people: short, and as wide as a column allows."""

from decimal import Decimal
from typing import Final

MINUTE: Final = 60
HOUR: Final = 3600
_SMALLEST: Final = Decimal("0.0001")


def money(amount: Decimal) -> str:
    """Write dollars: `$0`, `<$0.0001`, `$0.0123`, `$12.30`."""
    if not amount:
        return "$0"
    if amount < _SMALLEST:
        return f"<${_SMALLEST}"
    return f"${amount:.4f}" if amount < 1 else f"${amount:,.2f}"


def duration(seconds: float) -> str:
    """Write a time: `<0.1s`, `0.4s`, `59s`, `3:21`, `1:02:03`."""
    whole = round(seconds)
    if 0 < seconds < 0.1:  # noqa: PLR2004  a tenth is the smallest that is shown
        return "<0.1s"
    if seconds < 10:  # noqa: PLR2004  below it a tenth is worth a character
        return f"{seconds:.1f}s"
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        return f"{whole // MINUTE}:{whole % MINUTE:02}"
    return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"


def roughly(seconds: float) -> str:
    """Write a guessed time: `12 s`, `3 min`, `1 h 20 min`."""
    if seconds < MINUTE:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / MINUTE)
    if minutes < MINUTE:
        return f"{minutes} min"
    return f"{minutes // MINUTE} h {minutes % MINUTE} min"


def count(number: int) -> str:
    """Write a count in at most five characters: `9999`, `12.3k`, `123k`, `1.2M`."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if number >= size:
            scaled = number / (1000 if letter == "k" else size)
            return f"{scaled:.1f}{letter}" if scaled < 100 else f"{scaled:.0f}{letter}"  # noqa: PLR2004  three digits
    return str(number)


def plural(number: int, noun: str) -> str:
    """Write a count with its noun: `1 step`, `2,000 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
