"""One step's record of what it sent: numbers its requests, and answers from the ledger what was answered before."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stagebook.ledger.facts import Fact
from stagebook.model.records import RecordedExchange
from stagebook.model.status import ExchangeState
from stagebook.model.usage import Charge

ANSWERED = frozenset({ExchangeState.RECEIVED, ExchangeState.PARSED})


class Answered(NamedTuple):
    """The call that brought an answer."""

    model: str
    """As it was asked for; empty where no model was."""
    charge: Charge | None
    sent_at: int
    """Microseconds since 1970."""
    received_at: int


class Journal:
    """What one attempt of one step has sent and will send.

    A request is known by its digest and its occurrence (the how-manieth time that this very request is sent within the
    step), so that three samples of one prompt stay three. A step that does the same things in the same order therefore
    meets its own answers again after a crash.

    Args:
        run: Id of the run; None for exchanges that no step makes.
        step: Id of the step.
        attempt: Number of this attempt, from 1.
        recorded: What earlier attempts sent, oldest first.
        failed_attempt: Last attempt that ended as failed: answers up to it are replayed without using up tries.
        on_charge: Told of every answer that is paid for (the creation of a job is not).
        holds: Whether what nobody waits for is held until something is written that somebody waits for.
    """

    __slots__ = (
        "_answers",
        "_counts",
        "_free",
        "_held",
        "_latest",
        "attempt",
        "holds",
        "last",
        "on_charge",
        "run",
        "step",
    )

    def __init__(
        self,
        run: int,
        step: int | None,
        attempt: int = 1,
        recorded: Iterable[RecordedExchange] = (),
        failed_attempt: int = 0,
        on_charge: Callable[[Charge], None] | None = None,
        *,
        holds: bool = False,
    ) -> None:
        self.on_charge = on_charge
        self.holds = holds
        self._held: tuple[Fact, ...] = ()
        self.last: Answered | None = None
        """What was answered last, unless it was answered from the ledger."""
        self.run = run
        self.step = step
        self.attempt = attempt
        self._counts: dict[bytes, int] = {}
        self._answers: dict[tuple[bytes, int], RecordedExchange] = {}
        self._latest: dict[bytes, RecordedExchange] = {}
        self._free = failed_attempt
        for exchange in recorded:
            status = exchange.http_status or 0
            if exchange.state in ANSWERED and 200 <= status < 300:  # noqa: PLR2004  success, RFC 9110
                self._answers[exchange.request_hash, exchange.occurrence] = exchange
                self._latest[exchange.request_hash] = exchange

    def hold(self, fact: Fact) -> None:
        """Keep a fact until the next unit of this step is written: it leaves in the same one."""
        self._held = (*self._held, fact)

    def held(self) -> tuple[Fact, ...]:
        """Take what is held."""
        held, self._held = self._held, ()
        return held

    def occurrence(self, digest: bytes) -> int:
        """Number this sending of a request."""
        number = self._counts.get(digest, 0)
        self._counts[digest] = number + 1
        return number

    def answer(self, digest: bytes, occurrence: int) -> RecordedExchange | None:
        """Find the answer that an earlier attempt already paid for."""
        return self._answers.get((digest, occurrence))

    def latest(self, digest: bytes) -> RecordedExchange | None:
        """Find the last answer to a request that is sent over and over, a poll."""
        return self._latest.get(digest)

    def foresees(self, digest: bytes) -> bool:
        """Whether the next sending of a request will be answered from the ledger."""
        return bool(self._answers) and (digest, self._counts.get(digest, 0)) in self._answers

    @property
    def answered(self) -> bool:
        """Whether an earlier attempt was answered, and cut off before it could fail."""
        return any(not self.is_free(one) for one in self._answers.values())

    def is_free(self, exchange: RecordedExchange) -> bool:
        """Whether a replayed answer belongs to an attempt that had failed: it uses up no try of this one."""
        return exchange.attempt <= self._free
