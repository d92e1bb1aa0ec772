"""Which texts were met before, in a few bytes for each."""

from array import array

_SMALLEST = 1 << 12
_GOLDEN = 0x9E3779B97F4A7C15
"""Spreads hashes over the table, also those that differ in few bits (D. Knuth, multiplicative hashing)."""


class SeenKeys:
    """Counts 64-bit hashes: an open hash table of machine words, some 16 bytes for each hash (a dict takes 100).

    Files of gigabytes hold millions of prompts, and each must be told from those before it.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _SMALLEST))
        self._used = 0
        self._again: dict[int, int] = {}

    def count(self, hashed: int) -> int:
        """Say the how-manieth time it is that this hash is met, from 1."""
        hashed = hashed or 1  # 0 marks an empty slot
        slots, mask = self._slots, len(self._slots) - 1
        at = (hashed * _GOLDEN >> 32) & mask
        while slots[at]:
            if slots[at] == hashed:
                self._again[hashed] = self._again.get(hashed, 1) + 1
                return self._again[hashed]
            at = (at + 1) & mask
        slots[at] = hashed
        self._used += 1
        if self._used * 2 > len(slots):
            self._grow()
        return 1

    def _grow(self) -> None:
        old, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
        slots, mask = self._slots, len(self._slots) - 1
        for hashed in old:
            if hashed:
                at = (hashed * _GOLDEN >> 32) & mask
                while slots[at]:
                    at = (at + 1) & mask
                slots[at] = hashed
