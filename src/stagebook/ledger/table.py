"""What a question in SQL gives back."""

from dataclasses import dataclass
from typing import Final

Cell = str | int | float | bytes | None
LIMIT: Final = 10_000
"""Rows given back unless more are asked for."""
TIMEOUT: Final = 30.0
"""Seconds that a question may take unless more are given."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows."""

    columns: tuple[str, ...]
    """Names, as the question gives them."""
    rows: list[tuple[Cell, ...]]
    """In the order in which they came."""
    truncated: bool
    """Whether there were more rows than the limit."""
