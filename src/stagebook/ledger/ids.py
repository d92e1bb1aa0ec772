"""Numbers for rows, unique over all processes without asking for each."""

import threading
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Final

COUNTER_BITS: Final = 30
"""Lower bits of an id: a process gives out 2**30 numbers before it takes another writer number. 23 bits are left
above them, since JavaScript and JSON readers hold integers exactly below 2**53."""


class Ids:
    """Gives out ids: the writer number that the ledger reserved for this process, and a counter.

    Args:
        reserve: Reserves a writer number, where none was given by `fill` before it is needed; may block.
    """

    __slots__ = ("_lock", "_numbers", "_reserve")

    def __init__(self, reserve: Callable[[], int]) -> None:
        self._reserve = reserve
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(())

    @property
    def used_up(self) -> bool:
        """Whether the next id takes another writer number."""
        return not length_hint(self._numbers)

    def fill(self, writer: int) -> None:
        """Go on with the ids of a writer number that was reserved for this process."""
        with self._lock:
            self._begin(writer)

    def next(self) -> int:
        """Give the next id; they grow within a process."""
        number = next(self._numbers, None)  # no other thread comes in between
        if number is not None:
            return number
        with self._lock:
            while (number := next(self._numbers, None)) is None:
                self._begin(self._reserve())
            return number

    def _begin(self, writer: int) -> None:
        self._numbers = iter(range(writer << COUNTER_BITS, (writer + 1) << COUNTER_BITS))
