"""The payloads table: what is new is packed before the transaction begins, what is known is not packed again."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from stagebook.ledger.blob_files import BLOB_LEAST, BlobFiles
from stagebook.ledger.entry import Body
from stagebook.ledger.payload_codec import DICTIONARY_LEAST, Dictionary, Encoding, Packed, Packer, unpack
from stagebook.model.errors import LedgerError, NotFound

PayloadRow = tuple[bytes, int, int, bytes | None, str | None, bytes | None]
KNOWN_MOST: Final = 1 << 16
"""Hashes remembered as stored: about 8 MB."""
DICTIONARIES_MOST: Final = 16
"""Runs whose dictionary is kept ready; each takes a few times its input's size."""


def read_payload(connection: sqlite3.Connection, blobs: BlobFiles, digest: bytes) -> bytes:
    """Read a payload's bytes, with those of the payload that it needs as dictionary.

    Raises:
        NotFound: No payload has this hash.
        LedgerError: It is damaged.
    """
    row = connection.execute(
        "SELECT size, encoding, base, location, body FROM payloads WHERE hash = ?", (digest,)
    ).fetchone()
    if row is None:
        raise NotFound(f"no payload {digest.hex()} is in this ledger; its run may have been deleted or purged")
    size, encoding, base, location, body = row
    packed: bytes = body if location is None else blobs.read(location)
    dictionary = None if base is None else read_payload(connection, blobs, base)
    data = unpack(encoding, packed, size, dictionary)
    if len(data) != size:
        raise LedgerError(
            f"payload {digest.hex()} has {len(data)} bytes where {size} were stored: the ledger is damaged"
        )
    return data


class PayloadWriter:
    """Packs what the writer is about to store; belongs to the writer's thread.

    Args:
        connection: The writer's.
        blobs: Where large ones go; None keeps them all in the database.
    """

    def __init__(self, connection: sqlite3.Connection, blobs: BlobFiles, *, files: bool) -> None:
        self._connection = connection
        self._blobs = blobs
        self._files = files
        self._packer = Packer()
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._dictionaries: OrderedDict[int, Dictionary | None] = OrderedDict()
        self._runs: OrderedDict[int, int] = OrderedDict()

    def forget(self) -> None:
        """Forget what is stored: payloads were taken away by somebody."""
        self._known.clear()
        self._dictionaries.clear()

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
        return list(rows.values())

    def stored(self, rows: Iterable[PayloadRow]) -> None:
        """Remember what was committed."""
        for row in rows:
            self._known[row[0]] = None
        while len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)

    def belongs(self, exchange: int, run: int) -> None:
        """Remember the run of an exchange, whose answer will name only the exchange."""
        self._runs[exchange] = run
        if len(self._runs) > KNOWN_MOST:
            self._runs.popitem(last=False)

    def _row(self, body: Body) -> PayloadRow:
        packed = Packed(Encoding.RAW, None, body.data)
        if not body.plain:
            packed = self._packer.pack(body.data, self._dictionary(body))
        size = len(body.data)
        if self._files and len(packed.body) > BLOB_LEAST:
            location = self._blobs.write(body.hash, packed.body)
            return (body.hash, size, packed.encoding, packed.base, location, None)
        return (body.hash, size, packed.encoding, packed.base, None, packed.body)

    def _dictionary(self, body: Body) -> Dictionary | None:
        run = body.run
        if run is None and body.exchange is not None:
            run = self._run_of(body.exchange)
        if run is None:
            return None
        if run in self._dictionaries:
            self._dictionaries.move_to_end(run)
            return self._dictionaries[run]
        row = self._connection.execute(
            "SELECT p.hash, p.size FROM runs r JOIN payloads p ON p.hash = r.input WHERE r.id = ?", (run,)
        ).fetchone()
        if row is None:
            return None
        dictionary = None
        if row[1] >= DICTIONARY_LEAST:
            dictionary = Dictionary(row[0], read_payload(self._connection, self._blobs, row[0]))
        self._dictionaries[run] = dictionary
        if len(self._dictionaries) > DICTIONARIES_MOST:
            self._dictionaries.popitem(last=False)
        return dictionary

    def _run_of(self, exchange: int) -> int | None:
        run = self._runs.pop(exchange, None)
        if run is None:
            row = self._connection.execute("SELECT run FROM exchanges WHERE id = ?", (exchange,)).fetchone()
            run = None if row is None else int(row[0])
        return run
