"""The fake provider's own bill: every request that arrived, what it cost and how it ended.

The bill knows nothing of the ledger, which is what makes it worth comparing with: it is kept by another process, which
is not killed. `answered` means that the last byte was handed to the kernel; whether the client still read it, only the
client can know. So after a kill the client may lack the answer of any entry of `unanswered()`, and of those that were
answered in the moment of the kill.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

import orjson

from stagebook.model.usage import PICODOLLARS, Usage

_MILLION = 1_000_000
_KEPT_PREFIX = "x-stagebook-"
_KEPT_HEADER = "idempotency-key"


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What tokens of a model cost, in whole picodollars a token."""

    input: int
    """An input token that is not cached."""
    cached: int
    """An input token that is cached."""
    output: int
    """An output token, reasoning included."""

    @classmethod
    def per_million(cls, input_usd: str, cached_usd: str, output_usd: str) -> Self:
        """Write a price as price lists do: US dollars for a million tokens, as decimal text."""
        return cls(*(int(Decimal(usd) * PICODOLLARS / _MILLION) for usd in (input_usd, cached_usd, output_usd)))

    def cost(self, usage: Usage) -> int:
        """Picodollars for what was used; cached tokens are inside the input tokens, reasoning inside the output's."""
        fresh = usage.input_tokens - usage.cache_read_input_tokens
        read = fresh * self.input + usage.cache_read_input_tokens * self.cached
        return read + usage.output_tokens * self.output


GPT_4_1_MINI: Final = TokenPrice.per_million("0.40", "0.10", "1.60")
"""OpenAI's list price of gpt-4.1-mini; also what unknown models cost here."""


class Ending(StrEnum):
    """How a request ended, as the provider saw it."""

    ANSWERED = "answered"
    """An answer with status 200 was written to its last byte."""
    REJECTED = "rejected"
    """An error (429, 500, 400, ...) was written to its last byte."""
    CUT = "cut"
    """The provider closed the connection before the answer was whole."""
    CLIENT_GONE = "client_gone"
    """The client closed the connection first: it died, or it was tired of waiting."""


@dataclass(slots=True)
class BillEntry:
    """One request that arrived whole. A request whose body never came to its end is not in the bill."""

    number: int
    """Place in the order of arrival, from 1."""
    arrived_at: float
    """When the last byte of the request was read, in Unix seconds."""
    sha256: str
    """Hex digest of the exact bytes of the body."""
    model: str = ""
    """The model asked for; empty when the body could not be read."""
    headers: dict[str, str] = field(default_factory=dict)
    """The headers `idempotency-key` and `x-stagebook-*` that came with it, names in lower case."""
    input_tokens: int = 0
    """Tokens read, cached ones included."""
    cached_tokens: int = 0
    """Those of them that were cached."""
    output_tokens: int = 0
    """Tokens written, reasoning included; of the whole answer, also when it could not be delivered."""
    reasoning_tokens: int = 0
    """Those of them that were reasoning."""
    cost: int = 0
    """Picodollars; 0 if it is not `charged`."""
    charged: bool = False
    """Whether it is on the bill. It is from the moment the answer is begun, whatever becomes of the connection."""
    status: int | None = None
    """HTTP status that was written or about to be; None when the connection was cut without one."""
    batch: str = ""
    """The batch that it came in; empty for a request that came by itself."""
    fault: str | None = None
    """The kind of the scripted fault that struck it."""
    ended: Ending | None = None
    """How it ended; None while it is in flight."""
    ended_at: float | None = None
    """When it ended, in Unix seconds; for `answered` and `rejected` the moment the last byte was written."""

    def charge(self, usage: Usage, cost: int) -> None:
        """Put it on the bill."""
        self.input_tokens, self.cached_tokens = usage.input_tokens, usage.cache_read_input_tokens
        self.output_tokens, self.reasoning_tokens = usage.output_tokens, usage.reasoning_output_tokens
        self.cost, self.charged = cost, True

    def end(self, ending: Ending) -> None:
        """Note how it ended, unless that is known already."""
        if self.ended is None:
            self.ended, self.ended_at = ending, time.time()

    def in_flight(self, at: float | None = None) -> bool:
        """Whether it had arrived and not ended at a moment (Unix seconds; None: now)."""
        if at is None:
            return self.ended is None
        return self.arrived_at <= at and (self.ended_at is None or self.ended_at > at)


class Bill:
    """All entries in the order of arrival, and what can be asked of them."""

    def __init__(self, entries: Iterable[BillEntry] = ()) -> None:
        self.entries: list[BillEntry] = list(entries)
        """Every request that arrived since the start or the last `reset`."""

    def open(self, number: int, sha256: str, headers: Mapping[str, str]) -> BillEntry:
        """Enter a request that has just arrived."""
        kept = {
            lower: value
            for name, value in headers.items()
            if (lower := name.lower()) == _KEPT_HEADER or lower.startswith(_KEPT_PREFIX)
        }
        entry = BillEntry(number, time.time(), sha256, headers=kept)
        self.entries.append(entry)
        return entry

    @property
    def charged(self) -> list[BillEntry]:
        """The entries that cost money."""
        return [entry for entry in self.entries if entry.charged]

    def total(self) -> int:
        """Picodollars of all charged entries."""
        return sum(entry.cost for entry in self.entries if entry.charged)

    def in_flight(self, at: float | None = None) -> list[BillEntry]:
        """The requests that had arrived and were not fully answered at a moment (Unix seconds; None: now)."""
        return [entry for entry in self.entries if entry.in_flight(at)]

    def unanswered(self) -> list[BillEntry]:
        """What was charged and never fully written: still in flight, cut, or the client was gone."""
        return [entry for entry in self.entries if entry.charged and entry.ended is not Ending.ANSWERED]

    def by_body(self) -> dict[str, list[BillEntry]]:
        """The entries of each body, by the hex digest of its bytes; more than one where it was sent again."""
        found: dict[str, list[BillEntry]] = {}
        for entry in self.entries:
            found.setdefault(entry.sha256, []).append(entry)
        return found

    def charged_again(self) -> dict[str, list[BillEntry]]:
        """The bodies that were charged more than once, with their charged entries."""
        paid = {sha256: [one for one in entries if one.charged] for sha256, entries in self.by_body().items()}
        return {sha256: entries for sha256, entries in paid.items() if len(entries) > 1}

    def reset(self) -> None:
        """Forget all entries. Requests in flight are answered and leave no trace in the new bill."""
        self.entries = []

    def summary(self, at: float | None = None) -> dict[str, Any]:
        """Counts and sums.

        Args:
            at: The moment (Unix seconds) for which `in_flight` is counted; None: now.

        Returns:
            `requests`, `charged`, `unanswered`, `in_flight`, one count for each `Ending`, `statuses` (status to count),
            `input_tokens` and `output_tokens` of what was charged, and `cost` in picodollars.
        """
        charged = self.charged
        statuses: dict[str, int] = {}
        for entry in self.entries:
            if entry.status is not None:
                statuses[str(entry.status)] = statuses.get(str(entry.status), 0) + 1
        return {
            "requests": len(self.entries),
            "charged": len(charged),
            "unanswered": len(self.unanswered()),
            "in_flight": len(self.in_flight(at)),
            **{ending.value: sum(entry.ended is ending for entry in self.entries) for ending in Ending},
            "statuses": statuses,
            "input_tokens": sum(entry.input_tokens for entry in charged),
            "output_tokens": sum(entry.output_tokens for entry in charged),
            "cost": sum(entry.cost for entry in charged),
        }

    def to_json(self) -> bytes:
        """Write the bill as `{"entries": [...]}`, each entry with the fields of `BillEntry`."""
        return orjson.dumps({"entries": self.entries})

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote."""
        entries = [BillEntry(**row) for row in orjson.loads(data)["entries"]]
        for entry in entries:
            entry.ended = None if entry.ended is None else Ending(entry.ended)
        return cls(entries)
