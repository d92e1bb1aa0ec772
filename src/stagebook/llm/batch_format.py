"""What a provider's batch endpoint is to the rest of the house: pure functions to requests and from answers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from stagebook.door.batch_member import Member
from stagebook.llm.codec import Unreadable
from stagebook.llm.providers import Reached
from stagebook.model.exchange import Request

T = TypeVar("T")

FRAME: Final = 160
"""Bytes, at most, that a batch writes around one request."""
_HANDLE: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")

Entry = tuple[Member, Request]
"""One request of a batch, and who asks it."""


class State(NamedTuple):
    """How far a batch is."""

    handle: str
    """The batch, as the provider calls it."""
    ended: bool
    """Whether nothing more will come of it."""
    done: int = 0
    """Requests that have an answer, as far as the provider tells."""
    whole: bool = True
    """Whether it came to its own end: neither expired nor cancelled."""
    results: tuple[str, ...] = ()
    """What the answers are fetched by."""
    refused: str | None = None
    """Why the provider took none of it."""
    later: bool = False
    """Whether it was refused only because too much is waiting there already."""


class Line(NamedTuple):
    """What came of one request, as a file of results says it."""

    custom_id: object
    """As it came."""
    status: int | None
    """HTTP status; None: the model was not asked."""
    body: bytes
    """The answer, or the error, JSON."""
    error: str | None = None
    """Why the model was not asked."""


class Listed(NamedTuple):
    """One batch in the provider's list."""

    state: State
    file: str | None
    """The file that it was made from, where there is one."""
    total: int
    """Requests in it."""
    created_at: float
    """Seconds since 1970, by the provider's clock."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be."""

    requests: int
    size: int
    """Bytes. What is held in memory while it is sent is a small multiple of it."""


class BatchFormat(Protocol):
    """One provider's way to take batches."""

    limits: Limits

    def upload(self, endpoint: Reached, entries: Sequence[Entry]) -> Request | None:
        """Write what has to be uploaded before; None where the creation holds it all."""
        ...

    def uploaded(self, body: bytes) -> str:
        """Read what was uploaded is called.

        Raises:
            Unreadable: The answer does not say.
        """
        ...

    def create(self, endpoint: Reached, file: str | None, entries: Sequence[Entry], run: str) -> Request:
        """Write the request that makes a batch.

        Args:
            endpoint: Where each of the requests would be sent.
            file: What was uploaded, where something had to be.
            entries: The requests; not needed where a file holds them.
            run: A name for people who look at the provider's list.
        """
        ...

    def members(self, body: bytes) -> Iterator[tuple[Member, bytes]]:
        """Read what a recorded upload, or creation, held: who asked, and the exact body."""
        ...

    def file_of(self, body: bytes) -> str | None:
        """Read which file a recorded creation is of; None where it holds the requests itself."""
        ...

    def poll(self, endpoint: Reached, handle: str) -> Request:
        """Write the request for how far a batch is."""
        ...

    def state(self, body: bytes) -> State:
        """Read how far a batch is.

        Raises:
            Unreadable: The answer does not say.
        """
        ...

    def results(self, endpoint: Reached, state: State) -> list[Request]:
        """Write the requests for the answers of a batch that ended."""
        ...

    def lines(self, body: bytes) -> Iterator[Line]:
        """Read answers; a line that is none is passed over."""
        ...

    def cancel(self, endpoint: Reached, handle: str) -> Request:
        """Write the request that ends a batch before its time."""
        ...

    def listing(self, endpoint: Reached, after: str | None) -> Request:
        """Write the request for the newest batches, or for those before one."""
        ...

    def listed(self, body: bytes) -> tuple[list[Listed], str | None]:
        """Read a list of batches, and after which one it goes on.

        Raises:
            Unreadable: The answer is no list.
        """
        ...


def handle_in(value: object) -> str:
    """Take a handle that goes into an address.

    Raises:
        Unreadable: It is none that could.
    """
    if isinstance(value, str) and _HANDLE.fullmatch(value) and value.strip("."):
        return value
    raise Unreadable(f"{value!r} does not name a batch or a file")


def asking(endpoint: Reached, method: str, url: str, segments: Iterable[bytes] = (), kind: str = "poll") -> Request:
    """Write a request about a batch, with the headers of the provider's other requests."""
    return Request(method, url, tuple(segments), endpoint.headers, kind, endpoint.provider.name)


def understood(read: Callable[[Mapping[str, Any]], T], document: Mapping[str, Any]) -> T:
    """Read a document of a provider's.

    Raises:
        Unreadable: It has another shape.
    """
    try:
        return read(document)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise Unreadable(f"the answer about batches has another shape ({type(error).__name__})") from error
