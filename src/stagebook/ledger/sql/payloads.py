"""The payloads table: what is new is packed before the transaction begins, what is known is not packed again."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from stagebook.ledger.blob_files import BLOB_LEAST, BlobFiles
from stagebook.ledger.entry import Body, Likeness
from stagebook.ledger.payload_codec import Encoding, Packed, Packer
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.dictionaries import Dictionaries

PayloadRow = tuple[bytes, int, int, bytes | None, str | None, bytes | None]
_BASE: Final = 3
KNOWN_MOST: Final = 1 << 16
"""Hashes remembered as stored: about 8 MB."""


class PayloadWriter:
    """Packs what the writer is about to store; belongs to the writer's thread.

    Args:
        connection: The writer's.
        blobs: Where large ones go.
        files: Whether there is a place for files.
    """

    def __init__(self, connection: Connection, blobs: BlobFiles, *, files: bool) -> None:
        self._blobs = blobs
        self._files = files
        self._packer = Packer()
        self._dictionaries = Dictionaries(connection, blobs)
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._packed: dict[bytes, PayloadRow] = {}

    def forget(self) -> None:
        """Forget what is stored: payloads were taken away by somebody, or a transaction failed."""
        self._known.clear()
        self._dictionaries.forget()

    def pack(self, bodies: Iterable[Body]) -> list[PayloadRow]:
        """Make rows of the payloads that are not known to be stored, and write the files of large ones.

        Raises:
            OSError: A file could not be written.
        """
        rows: dict[bytes, PayloadRow] = {}
        for body in bodies:
            if body.hash in self._known:
                self._known.move_to_end(body.hash)
            elif body.hash not in rows:
                rows[body.hash] = self._row(body)
            self._dictionaries.learn(body)
        self._packed = rows
        return list(rows.values())

    def stored(self, bodies: Iterable[Body]) -> None:
        """Remember what was committed."""
        for body in bodies:
            self._known[body.hash] = None
            if body.hash in self._packed:
                self._dictionaries.stored(body, self._packed[body.hash][_BASE])
        while len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)

    def sent(self, exchange: int, like: Likeness) -> None:
        """Remember what a request resembled: its answer names only the exchange."""
        self._dictionaries.sent(exchange, like)

    def _row(self, body: Body) -> PayloadRow:
        packed = Packed(Encoding.RAW, None, body.data)
        if not body.plain:
            packed = self._packer.pack(body.data, self._dictionaries.of(body))
        size = len(body.data)
        if self._files and len(packed.body) > BLOB_LEAST:
            location = self._blobs.write(body.hash, packed.body)
            return (body.hash, size, packed.encoding, packed.base, location, None)
        return (body.hash, size, packed.encoding, packed.base, None, packed.body)
