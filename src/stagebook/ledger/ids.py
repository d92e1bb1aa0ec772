"""Numbers for rows, unique over all processes without asking for each."""

import threading
from collections.abc import Callable
from typing import Final

COUNTER_BITS: Final = 30
"""Lower bits of an id: a process gives out 2**30 numbers before it takes another writer number. 23 bits are left
above them, since JavaScript and JSON readers hold integers exactly below 2**53."""


class Ids:
    """Gives out ids: the writer number that the ledger reserved for this process, and a counter.

    Args:
        reserve: Reserves a writer number, where none was given by `fill` before it is needed; may block.
    """

    __slots__ = ("_end", "_lock", "_next", "_reserve")

    def __init__(self, reserve: Callable[[], int]) -> None:
        self._reserve = reserve
        self._lock = threading.Lock()
        self._next = self._end = 0

    @property
    def used_up(self) -> bool:
        """Whether the next id takes another writer number."""
        return self._next == self._end

    def fill(self, writer: int) -> None:
        """Go on with the ids of a writer number that was reserved for this process."""
        with self._lock:
            self._begin(writer)

    def next(self) -> int:
        """Give the next id; they grow within a process."""
        with self._lock:
            if self.used_up:
                self._begin(self._reserve())
            number = self._next
            self._next += 1
            return number

    def _begin(self, writer: int) -> None:
        self._next = writer << COUNTER_BITS
        self._end = (writer + 1) << COUNTER_BITS
