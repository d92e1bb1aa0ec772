"""What a run has sent and received lately, found again by the phrases that it shares with what is sent next.

An answer returns in later requests: a draft in its refinement, an outline in the draft. So do the parts that requests
of several stages have in common. They are told by phrases: runs of letters and spaces, which are the same wherever
they stand, however the text around them was escaped or laid out. What shares most serves as dictionary.
"""

import re
from collections import Counter, OrderedDict
from typing import Final

from stagebook.ledger.payload_codec import LEAST, PHRASE_LEVEL, Dictionary
from stagebook.model.exchange import DIGEST_SIZE

RECENT_MOST: Final = 64
"""Payloads remembered for a run."""
SIZE_MOST: Final = 16 * 1024
"""Bytes of a payload from which it is not remembered: what is larger comes from the input."""
BASES_MOST: Final = 6
"""Payloads that serve as dictionary together. Each takes a hash in the row; more gain nothing that is worth it."""
GENERATIONS: Final = 2
"""How far payloads may lean on one another in turn, so that reading one back unpacks few others."""
PATIENCE: Final = 64
"""Looks in a row for one kind of request that may find nothing; from then on only one in `PAUSE` is taken."""
PAUSE: Final = 512
"""A look after many that were not taken costs up to 3 ms, since all that came meanwhile is looked through; a stage of
many thousand unlike calls would pay that for nothing."""
KINDS_MOST: Final = 256
"""Kinds of request of which the misses are counted."""
_PHRASE: Final = re.compile(rb"[\w\x80-\xff][\w\x80-\xff ,']{15,47}")


class _Kept:
    """A payload, and its phrases once somebody asked."""

    __slots__ = ("data", "generation", "phrases")

    def __init__(self, data: bytes, generation: int) -> None:
        self.data = data
        self.generation = generation
        self.phrases: list[bytes] | None = None


class Recent:
    """The payloads that one run stored lately; belongs to the writer's thread."""

    __slots__ = ("_kept", "_misses", "_owners")

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._owners: dict[bytes, bytes] = {}
        self._misses: Counter[bytes] = Counter()

    def add(self, digest: bytes, data: bytes, base: bytes | None) -> None:
        """Remember a payload that is durable now.

        Only then: what leans on it must never be stored before it.

        Args:
            digest: Its hash.
            data: Its bytes.
            base: Hashes of what it was packed against.
        """
        if digest in self._kept or not LEAST <= len(data) < SIZE_MOST:
            return
        leans_on = (self._kept[one] for one in hashes(base or b"") if one in self._kept)
        generation = 1 + max((other.generation for other in leans_on), default=-1)
        if generation < GENERATIONS:
            self._kept[digest] = _Kept(data, generation)
        if len(self._kept) > RECENT_MOST:
            self._drop()

    def like(self, digest: bytes, data: bytes, kind: bytes) -> Dictionary | None:
        """Make a dictionary of the payloads that share most phrases with this one; None where none does.

        Args:
            digest: Its hash.
            data: Its bytes.
            kind: Of the request that it is a part of.
        """
        self._misses[kind] += 1
        misses = self._misses[kind]
        if len(self._misses) > KINDS_MOST:
            self._misses.clear()
        if misses > PATIENCE and misses % PAUSE:
            return None
        for other, kept in self._kept.items():  # looked through only now: many a run never asks
            if kept.phrases is None:
                kept.phrases = _PHRASE.findall(kept.data)
                self._owners.update(dict.fromkeys(kept.phrases, other))
        shared: Counter[bytes] = Counter()
        for phrase in _PHRASE.findall(data):
            owner = self._owners.get(phrase)
            if owner is not None and owner != digest:
                shared[owner] += len(phrase)
        chosen = [owner for owner, _ in reversed(shared.most_common(BASES_MOST))]
        if not chosen:
            return None
        del self._misses[kind]
        return Dictionary(b"".join(chosen), b"".join(self._kept[one].data for one in chosen), PHRASE_LEVEL)

    def _drop(self) -> None:
        digest, kept = self._kept.popitem(last=False)
        for phrase in kept.phrases or ():
            if self._owners.get(phrase) == digest:
                del self._owners[phrase]


def hashes(base: bytes) -> list[bytes]:
    """Take the hashes of a row's `base` apart."""
    return [base[at : at + DIGEST_SIZE] for at in range(0, len(base), DIGEST_SIZE)]
