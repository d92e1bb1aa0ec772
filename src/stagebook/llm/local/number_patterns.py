"""Patterns of the numbers that a JSON schema allows, of bounded length."""

import math
from collections.abc import Mapping
from typing import Any

LARGEST = 999_999
"""Where a schema sets no bound: a small model that writes a number does not know when to stop."""


def integer_pattern(schema: Mapping[str, Any]) -> tuple[str, int]:
    """Write the pattern of a schema's integers.

    Args:
        schema: Of type `integer`; minimum, maximum and their exclusive forms are held.

    Returns:
        The pattern, and the most characters that it matches.

    Raises:
        ValueError: No integer is allowed.
    """
    low, high = _integers(schema)
    if low > high:
        raise ValueError(f"the schema allows no integer between {low} and {high}")
    return _between(low, high), max(len(str(low)), len(str(high)))


def number_pattern(schema: Mapping[str, Any]) -> tuple[str, int]:
    """Write the pattern of a schema's numbers, with at most two decimals.

    Args:
        schema: Of type `number`.

    Returns:
        The pattern, and the most characters that it matches.

    Raises:
        ValueError: No number of two decimals is allowed.
    """
    low, high = _integers(schema)
    if low > high:
        return _hundredths(schema)
    whole = _between(low, high)
    most = max(len(str(low)), len(str(high)))
    least_with_decimals = low + 1 if low < 0 else low  # -3.25 lies below -3
    most_with_decimals = high - 1 if high > 0 else high
    if least_with_decimals > most_with_decimals:
        return (whole, most) if schema.get("minimum") == schema.get("maximum") else _hundredths(schema)
    return f"({whole}|{_between(least_with_decimals, most_with_decimals)}\\.[0-9]{{1,2}})", most + 3


def _integers(schema: Mapping[str, Any]) -> tuple[int, int]:
    """Say which whole numbers are allowed; the first is above the second where none is."""
    lows = [math.ceil(schema["minimum"])] if "minimum" in schema else []
    highs = [math.floor(schema["maximum"])] if "maximum" in schema else []
    if "exclusiveMinimum" in schema:
        lows.append(math.floor(schema["exclusiveMinimum"]) + 1)
    if "exclusiveMaximum" in schema:
        highs.append(math.ceil(schema["exclusiveMaximum"]) - 1)
    low = max(lows) if lows else min(0, *highs, 0) - (LARGEST if highs and min(highs) < 0 else 0)
    high = min(highs) if highs else max(low, 0) + LARGEST
    return low, high


def _hundredths(schema: Mapping[str, Any]) -> tuple[str, int]:
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    if low is None or high is None:
        raise ValueError("the schema allows no number")
    first, last = math.floor(low * 100) + 1, math.ceil(high * 100) - 1
    texts = [f"{value / 100:.2f}" for value in range(first, last + 1)]
    if not texts:
        raise ValueError(f"the schema allows no number of two decimals between {low} and {high}")
    return f"({'|'.join(text.replace('.', chr(92) + '.') for text in texts)})", max(map(len, texts))


def _between(low: int, high: int) -> str:
    """Write the pattern of all integers from `low` to `high`."""
    parts = [f"-{part}" for part in _naturals(max(1, -high), -low)] + _naturals(max(low, 0), high)
    return f"({'|'.join(parts)})"


def _naturals(low: int, high: int) -> list[str]:
    """Write the patterns of a range from 0 up, one or more for each count of digits."""
    parts: list[str] = []
    while low <= high:
        last = min(high, 10 ** len(str(low)) - 1)
        parts += _same_length(str(low), str(last))
        low = last + 1
    return parts


def _same_length(low: str, high: str) -> list[str]:
    """Cut a range of figures of one length where the first digit turns over."""
    rest = len(low) - 1
    if rest == 0 or (set(low[1:]) == {"0"} and set(high[1:]) == {"9"}):
        digit = low[0] if low[0] == high[0] else f"[{low[0]}-{high[0]}]"
        return [digit + (f"[0-9]{{{rest}}}" if rest else "")]
    if low[0] == high[0]:
        return [low[0] + part for part in _same_length(low[1:], high[1:])]
    turn = int(low[0]) + 1
    head = _same_length(low, low[0] + "9" * rest)
    middle_and_tail = _same_length(str(turn) + "0" * rest, high)
    if turn < int(high[0]) and set(high[1:]) != {"9"}:
        middle_and_tail = _same_length(str(turn) + "0" * rest, str(int(high[0]) - 1) + "9" * rest)
        middle_and_tail += _same_length(high[0] + "0" * rest, high)
    return head + middle_and_tail
