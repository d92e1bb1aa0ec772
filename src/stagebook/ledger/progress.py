"""Being told how far something long has come."""

from collections.abc import Callable
from typing import TypeAlias

Told: TypeAlias = Callable[[str, int, int], None]
"""Called now and then, from a thread, with what is being done, how many of them are done, and of how many."""


def untold(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""
