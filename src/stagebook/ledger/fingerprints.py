"""Finds steps by their fingerprint in memory, so that no index is one more page of every commit."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from stagebook.model.exchange import DIGEST_SIZE

_BUCKET: Final = 2
"""Bytes of a fingerprint that choose its bucket: a million of them make 65,536 buckets of some 15."""
_ID: Final = 8
_ENTRY: Final = DIGEST_SIZE + _ID


class Fingerprints:
    """Fingerprints of steps, some 40 bytes each: buckets of entries that stand one after the other.

    Args:
        steps: Fingerprint and id of each.
    """

    def __init__(self, steps: Iterable[tuple[bytes, int]] = ()) -> None:
        self._buckets: defaultdict[bytes, bytearray] = defaultdict(bytearray)
        buckets = self._buckets
        for fingerprint, step in steps:
            buckets[fingerprint[:_BUCKET]] += fingerprint + step.to_bytes(_ID)

    def steps(self, fingerprint: bytes) -> list[int]:
        """List the steps of a fingerprint, in the order in which they were given."""
        bucket = self._buckets.get(fingerprint[:_BUCKET])
        found: list[int] = []
        at = -1 if bucket is None else bucket.find(fingerprint)
        while bucket is not None and at >= 0:
            if at % _ENTRY == 0:
                found.append(int.from_bytes(bucket[at + DIGEST_SIZE : at + _ENTRY]))
            at = bucket.find(fingerprint, at + 1)
        return found
