"""What goes out through the door and what comes back."""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

DIGEST_SIZE: Final = 16
"""Bytes of a content hash. 128 bits: a collision would take about 2**64 tries made on purpose."""


_HELD: Final = 2047
"""Most bytes that hashlib hashes without letting go of the interpreter's lock (HASHLIB_GIL_MINSIZE - 1)."""
_SMALL: Final = 1 << 16
"""Bytes up to which getting the lock back, with other threads at work, costs more than hashing does."""


class Hasher(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""
        ...


def hash_into(hasher: Hasher, data: bytes) -> None:
    """Feed bytes to a hasher, without giving the interpreter's lock away where there is little to do."""
    if _HELD < len(data) <= _SMALL:
        view = memoryview(data)
        for at in range(0, len(data), _HELD):
            hasher.update(view[at : at + _HELD])
    else:
        hasher.update(data)


def content_hash(data: bytes) -> bytes:
    """Hash bytes for addressing: BLAKE2b (RFC 7693) with a digest of 16 bytes."""
    if len(data) <= _HELD:
        return blake2b(data, digest_size=DIGEST_SIZE).digest()
    hasher = blake2b(digest_size=DIGEST_SIZE)
    hash_into(hasher, data)
    return hasher.digest()


class Request(NamedTuple):
    """One request, complete but for its secrets."""

    method: str
    """HTTP method, upper case."""
    url: str
    """Address without credentials."""
    segments: tuple[bytes, ...]
    """The body's exact bytes, in order; cut where large parts begin and end, so that each is stored once."""
    headers: Mapping[str, str] = MappingProxyType({})
    """Headers as recorded; `env:NAME` in a value (`Bearer env:NAME`) is resolved when it is sent, and never stored."""
    kind: str = "http"
    """`model`, `poll` (for a model's answer), `batch` (of many requests to a model), `http` or `tool`."""
    provider: str | None = None
    """Whose limits count: `openai`, `local`, or the host."""
    model: str | None = None
    """The model asked for, if one is."""
    patience: float | None = None
    """Seconds without a byte of an answer after which a try ends; None: only the whole of it is limited."""

    hashed: bytes | None = None
    """Content hash of the body, where it is known already."""
    timeout: float | None = None
    """Seconds that one try may take; None: as long as the transport lets any."""
    read_as: bytes = b""
    """What else decides what an answer means: at an endpoint of one's own, its address and headers,
    and where the text is."""

    by_batch: bool = False
    """Whether it goes by a provider's batch, at half the price."""

    @property
    def body(self) -> bytes:
        """The body, whole."""
        return b"".join(self.segments)

    @property
    def body_hash(self) -> bytes:
        """Content hash of the body."""
        return self.hashed or content_hash(self.body)

    def digest(self) -> bytes:
        """The request's identity for replay: a hash of method, address and body (not of headers: they hold secrets)."""
        return blake2b(f"{self.method} {self.url}\n".encode() + self.body_hash, digest_size=DIGEST_SIZE).digest()


class Response(NamedTuple):
    """One answer, as it came."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers, names in lower case."""
    body: bytes
    """Exact bytes."""
    exchange: int | None = None
    """The exchange's id in the ledger."""
    replayed: bool = False
    """Whether it was answered from the ledger instead of the world."""
