"""Reading payloads back."""

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.payload_codec import unpack
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.recent import hashes
from stagebook.model.errors import LedgerError, NotFound


def read_payload(connection: Connection, blobs: BlobFiles, digest: bytes) -> bytes:
    """Read a payload's bytes, with those of the payloads that it needs as dictionary.

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
    dictionary = None if base is None else b"".join(read_payload(connection, blobs, one) for one in hashes(base))
    data = unpack(encoding, packed, size, dictionary)
    if len(data) != size:
        raise LedgerError(
            f"payload {digest.hex()} has {len(data)} bytes where {size} were stored: the ledger is damaged"
        )
    return data
