"""What a payload may be packed against: the input of its run, an earlier payload of its kind, or what it repeats.

Windows of a transcript stand in the input word for word; what is left of a request (the skeleton) differs little from
that of the request before it, and so do the frames of answers; large parts repeat answers and parts of other requests
(see recent.py). What serves as dictionary is named in the row (`base`) and stays for as long as a row needs it. A
dictionary serves one run only, so that runs lean on each other no more than they share payloads.
"""

from collections import OrderedDict
from typing import Final, TypeVar

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.entry import Body, Likeness
from stagebook.ledger.payload_codec import DICTIONARY_LEAST, LEAST, Dictionary
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.sql.recent import Recent

K = TypeVar("K")
V = TypeVar("V")
INPUTS_MOST: Final = 16
"""Runs whose input and recent payloads are kept ready; each takes a few times the size of its input, and up to 1 MB."""
KINDS_MOST: Final = 128
"""Kinds of payload kept ready; each takes about 100 KB."""
KIND_SIZE_MOST: Final = 64 * 1024
"""Bytes of a payload from which it is too large to be kept ready for others of its kind."""
SENT_MOST: Final = 1 << 14
"""Requests remembered for their answers."""
_ANSWER: Final = b"answer:"


class Dictionaries:
    """Dictionaries of the runs that are being written; belongs to the writer's thread.

    Args:
        connection: The writer's.
        blobs: Where large payloads are.
    """

    def __init__(self, connection: Connection, blobs: BlobFiles) -> None:
        self._connection = connection
        self._blobs = blobs
        self._inputs: OrderedDict[int, Dictionary | None] = OrderedDict()
        self._kinds: OrderedDict[tuple[int, bytes], Dictionary] = OrderedDict()
        self._sent: OrderedDict[int, Likeness] = OrderedDict()
        """What the answer to a request resembles, by exchange."""
        self._recent: OrderedDict[int, Recent] = OrderedDict()

    def forget(self) -> None:
        """Forget every dictionary: payloads were taken away by somebody, or not stored after all."""
        self._inputs.clear()
        self._kinds.clear()
        self._recent.clear()

    def sent(self, exchange: int, like: Likeness) -> None:
        """Remember what a request resembled, for its answer."""
        _keep(self._sent, exchange, Likeness(like.run, _ANSWER + like.kind), SENT_MOST)

    def of(self, body: Body) -> list[Dictionary]:
        """Find what a payload may be packed against."""
        like = self._likeness(body)
        if like is None:
            return []
        found = [self._input(like.run)]
        if not like.part:
            found.append(self._kinds.get((like.run, like.kind)))
        elif (recent := self._recent.get(like.run)) is not None:
            found.append(recent.like(body.hash, body.data, like.kind))
        return [dictionary for dictionary in found if dictionary is not None and dictionary.base != body.hash]

    def learn(self, body: Body) -> None:
        """Take a payload that is being stored as the dictionary of its kind, if that has none."""
        like = self._likeness(body)
        if like is None or like.part or not LEAST <= len(body.data) <= KIND_SIZE_MOST:
            return
        key = (like.run, like.kind)
        if key in self._kinds:
            self._kinds.move_to_end(key)
        else:
            _keep(self._kinds, key, Dictionary(body.hash, body.data), KINDS_MOST)

    def stored(self, body: Body, base: bytes | None) -> None:
        """Remember what is durable now and may return: answers, and the large parts of requests."""
        like = self._likeness(body)
        if like is None or (not like.part and body.answer_to is None):
            return
        recent = self._recent.get(like.run)
        if recent is None:
            recent = Recent()
            _keep(self._recent, like.run, recent, INPUTS_MOST)
        else:
            self._recent.move_to_end(like.run)
        recent.add(body.hash, body.data, base)

    def _likeness(self, body: Body) -> Likeness | None:
        if body.answer_to is None:
            return body.like
        like = self._sent.get(body.answer_to)
        if like is not None:
            return like
        row = self._connection.execute("SELECT run FROM exchanges WHERE id = ?", (body.answer_to,)).fetchone()
        return None if row is None else Likeness(row[0], _ANSWER)

    def _input(self, run: int) -> Dictionary | None:
        if run in self._inputs:
            self._inputs.move_to_end(run)
            return self._inputs[run]
        row = self._connection.execute(
            "SELECT p.hash, p.size FROM runs r JOIN payloads p ON p.hash = r.input WHERE r.id = ?", (run,)
        ).fetchone()
        if row is None:
            return None
        dictionary = None
        if row[1] >= DICTIONARY_LEAST:
            dictionary = Dictionary(row[0], read_payload(self._connection, self._blobs, row[0]))
        _keep(self._inputs, run, dictionary, INPUTS_MOST)
        return dictionary


def _keep(kept: "OrderedDict[K, V]", key: K, value: V, most: int) -> None:
    kept[key] = value
    if len(kept) > most:
        kept.popitem(last=False)
