"""What is handed to the writer: one unit of facts, or one command, with whoever waits for it."""

import asyncio
from concurrent.futures import Future
from typing import Final, NamedTuple, TypeAlias, cast

from stagebook.ledger.commands import Command
from stagebook.ledger.facts import ExchangeReceived, ExchangeSent, Fact, OutputMade
from stagebook.ledger.json_text import clean_json
from stagebook.ledger.segments import CutBody, cut
from stagebook.model.exchange import content_hash


class Body(NamedTuple):
    """Bytes to be kept by their hash."""

    hash: bytes
    data: bytes
    like: "Likeness | None" = None
    """What they may resemble."""
    answer_to: int | None = None
    """The exchange whose request tells what they may resemble."""
    plain: bool = False
    """Never packed, so that plain SQL can read it."""


class Likeness(NamedTuple):
    """What bytes may resemble: the input of their run, and others of their kind in it."""

    run: int
    kind: bytes
    """Requests that begin alike (model, parameters, name of the schema) differ little in their small parts."""
    part: bool = False
    """Whether it is a large part of a request of this kind, rather than what is left of one."""


class CutRequest(NamedTuple):
    """A request's body, cut and hashed."""

    body: CutBody
    skeleton: bytes | None
    """Hash of the skeleton; None for a request without a body."""
    like: "Likeness"
    """What its skeleton may resemble, and in their own way its answers."""


Waiter: TypeAlias = asyncio.Future[object] | Future[object]
"""A task of an event loop, or a thread."""
KIND_BYTES: Final = 192
"""Bytes of a request's beginning that tell its kind: enough for the model and the name of the schema."""
_NO_BODIES: Final[tuple[Body, ...]] = ()


class Entry:
    """One unit of facts that is durable as a whole or not at all, or one command.

    What costs time and needs no database (hashing, cutting, checking JSON) is done here, where the unit is handed
    in, so that a unit that cannot be stored is refused before anything waits.

    Args:
        facts: The unit.
        command: Or the command.
        waiter: Whom to tell; None for what is only followed.

    Raises:
        WriteRefused: A fact cannot be stored as it is.
    """

    __slots__ = ("bodies", "command", "cuts", "ended", "error", "facts", "hashes", "result", "texts", "waiter")

    def __init__(
        self,
        facts: tuple[Fact, ...] = (),
        command: Command | None = None,
        waiter: Waiter | None = None,
    ) -> None:
        self.facts = facts
        self.command = command
        self.waiter = waiter
        self.result: object = None
        self.error: Exception | None = None
        self.ended = False
        """Whether it was committed or refused; told only of what nobody waits for."""
        self.bodies: tuple[Body, ...] = _NO_BODIES
        self.cuts: dict[int, CutRequest] | None = None
        """By exchange."""
        self.texts: dict[int, tuple[str, bool]] | None = None
        """By output: its JSON as text, and whether a NUL was replaced."""
        self.hashes: dict[int, bytes] | None = None
        """By exchange: hash of the answer's body."""
        for fact in facts:
            kind = type(fact)  # looked at once for each fact that is ever written
            if kind is OutputMade:
                self._take_output(cast("OutputMade", fact))
            elif kind is ExchangeSent:
                self._take_request(cast("ExchangeSent", fact))
            elif kind is ExchangeReceived:
                self._take_answer(cast("ExchangeReceived", fact))

    def _take_output(self, fact: OutputMade) -> None:
        if self.texts is None:
            self.texts = {}
        what = f"the output of stage {fact.stage!r}" + (f", item {fact.item!r}" if fact.item else "")
        self.texts[fact.id] = clean_json(fact.data, what)

    def _take_request(self, fact: ExchangeSent) -> None:
        if self.cuts is None:
            self.cuts = {}
        body = cut(fact.segments)
        skeleton = content_hash(body.skeleton) if body.size else None
        like = Likeness(fact.run, fact.segments[0][:KIND_BYTES] if fact.segments else b"")
        self.cuts[fact.id] = CutRequest(body, skeleton, like)
        if skeleton is not None:
            self.bodies += (Body(skeleton, body.skeleton, like),)
        large = Likeness(fact.run, like.kind, part=True)
        self.bodies += tuple(
            Body(splice.payload, part, large) for splice, part in zip(body.splices, body.large, strict=True)
        )

    def _take_answer(self, fact: ExchangeReceived) -> None:
        if self.hashes is None:
            self.hashes = {}
        digest = self.hashes[fact.id] = content_hash(fact.body)
        self.bodies += (Body(digest, fact.body, answer_to=fact.id),)

    def runs(self) -> set[int]:
        """The runs that the unit's facts name."""
        return {run for fact in self.facts if (run := getattr(fact, "run", None)) is not None}
