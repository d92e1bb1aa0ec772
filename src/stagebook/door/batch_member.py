"""A request on its way through a provider's batch: who sends it, what the provider calls it, what came of it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol, Self

from stagebook.door.journal import Journal
from stagebook.ledger.facts import ExchangeLost, ExchangeReceived, ExchangeSent, Fact
from stagebook.model.exchange import DIGEST_SIZE, Request
from stagebook.model.usage import Charge

_ID: Final = 7
"""Bytes of a number below 2**53."""
_COUNT: Final = 2
"""Bytes of an attempt or an occurrence; beyond 65,535 it is written as that."""
MARK_SIZE: Final = 8
"""Bytes that tell a run from those of other ledgers, whose numbers may be the same."""
_SIZE: Final = 2 * _ID + 2 * _COUNT + DIGEST_SIZE + MARK_SIZE
_MOST: Final = (1 << 8 * _COUNT) - 1

Key = tuple[int, bytes, int]
"""A step, its request's digest and its occurrence: what an answer is found by."""


class Member(NamedTuple):
    """One request of a batch."""

    exchange: int
    """The id of the row that its answer is going to be."""
    step: int
    attempt: int
    """Of the step."""
    digest: bytes
    """Of the request."""
    occurrence: int
    """The how-manieth time that the step sends this very request."""
    mark: bytes
    """Of the run."""

    @property
    def key(self) -> Key:
        """What its answer is found by, also by a later drive."""
        return self.step, self.digest, self.occurrence

    def custom_id(self) -> str:
        """Write it as the provider is given it: 56 characters of `A-Za-z0-9_-`, where 64 are allowed.

        It holds the whole of the member, so that what was uploaded says who asked.
        """
        packed = self.exchange.to_bytes(_ID) + self.step.to_bytes(_ID)
        packed += min(self.attempt, _MOST).to_bytes(_COUNT) + min(self.occurrence, _MOST).to_bytes(_COUNT)
        return base64.urlsafe_b64encode(packed + self.digest + self.mark).rstrip(b"=").decode()

    @classmethod
    def read(cls, custom_id: object) -> Self | None:
        """Read what `custom_id` wrote; None where it is somebody else's."""
        if not isinstance(custom_id, str):
            return None
        try:
            packed = base64.urlsafe_b64decode(custom_id + "=" * (-len(custom_id) % 4))
        except (binascii.Error, ValueError):
            return None
        if len(packed) != _SIZE:
            return None
        numbers, at = [], 0
        for size in (_ID, _ID, _COUNT, _COUNT):
            numbers.append(int.from_bytes(packed[at : at + size]))
            at += size
        exchange, step, attempt, occurrence = numbers
        return cls(exchange, step, attempt, packed[at:-MARK_SIZE], occurrence, packed[-MARK_SIZE:])


class Outcome(NamedTuple):
    """What came of one request of a batch."""

    status: int | None
    """HTTP status of its answer; None: there is none."""
    body: bytes
    """The answer."""
    error: str | None = None
    """Why there is no answer."""
    possibly_paid: bool = False
    """Whether the model may have been asked all the same."""
    batch: str = ""
    """The batch, as the provider calls it."""
    submitted_at: int = 0
    """When the batch was."""
    charge: Charge | None = None
    """What it cost."""
    recorded: bool = False
    """Whether it is in the ledger already."""
    alone: bool = False
    """Whether so few of its batch are left that it is to be asked by itself."""


class BatchWay(Protocol):
    """Sends requests through a provider's batches."""

    @property
    def mark(self) -> bytes:
        """The run's, for its requests."""
        ...

    def find(self, key: Key) -> Member | None:
        """Name the request of this key that a batch holds, or held, and that nobody was given the answer of."""
        ...

    async def ask(self, member: Member, request: Request) -> Outcome:
        """Wait until the batch that holds a request is done; one that no batch holds is put into the next.

        Raises:
            ProviderError: The provider would take no batch.
        """
        ...


def facts_of(
    member: Member, request: Request, outcome: Outcome, *, journal: Journal, headers: bytes, at: int
) -> tuple[Fact, ...]:
    """Write an answer that came through a batch as the exchange that it is.

    Unlike a live call it is written with its answer: what went over the wire before was the batch, which has rows of
    its own.

    Args:
        member: Whose answer.
        request: What it was asked with.
        outcome: What came of it.
        journal: Names the run; its step and attempt are the member's own.
        headers: The request's, JSON, secrets as references.
        at: Now, microseconds.
    """
    sent = ExchangeSent(
        id=member.exchange,
        run=journal.run,
        step=member.step,
        attempt=member.attempt,
        occurrence=member.occurrence,
        try_number=1,
        kind="model",
        provider=request.provider,
        model=request.model,
        method=request.method,
        url=request.url,
        headers=headers,
        request_hash=member.digest,
        segments=request.segments,
        prepared_at=outcome.submitted_at or at,
        sent_at=outcome.submitted_at or at,
    )
    if outcome.status is None:
        return sent, ExchangeLost(member.exchange, outcome.error or "no answer", outcome.possibly_paid, at)
    told = b'{"x-stagebook-batch":"%s"}' % outcome.batch.encode()
    return sent, ExchangeReceived(member.exchange, outcome.status, told, outcome.body, outcome.charge, at)


def headers_of(outcome: Outcome) -> Mapping[str, str]:
    """The headers that an answer through a batch is given: by which one it came."""
    return {"x-stagebook-batch": outcome.batch}
