"""Requests, put together again from their parts."""

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.segments import join
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.model.errors import LedgerError, NotFound
from stagebook.model.exchange import Request


def read_request(connection: Connection, blobs: BlobFiles, exchange: int) -> bytes:
    """Read the exact bytes of a request's body.

    Raises:
        NotFound: No such exchange, or a part of it is gone.
        LedgerError: What is stored is not what was sent.
    """
    row = connection.execute(
        "SELECT method, url, request_hash, request_size, skeleton FROM exchanges WHERE id = ?", (exchange,)
    ).fetchone()
    if row is None:
        raise NotFound(f"exchange {exchange} is not in this ledger")
    method, url, digest, size, skeleton = row
    if skeleton is None and size > 0:
        raise NotFound(f"the request of exchange {exchange} was purged; its hash, tokens and cost are kept")
    body = b""
    if skeleton is not None:
        splices = connection.execute(
            "SELECT at, payload FROM segments WHERE exchange = ? ORDER BY position", (exchange,)
        ).fetchall()
        parts = [(at, read_payload(connection, blobs, payload)) for at, payload in splices]
        body = join(read_payload(connection, blobs, skeleton), parts)
    if Request(method, url, (body,)).digest() != digest:
        raise LedgerError(
            f"the request of exchange {exchange} does not have the hash of what was sent: the ledger is damaged"
        )
    return body
