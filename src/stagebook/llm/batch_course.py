"""One batch, from its upload to its last answer: submitted once, whatever breaks in between, and polled to its end."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeVar

import orjson

from stagebook.door.batch_member import Member, Outcome
from stagebook.door.door import OutwardDoor
from stagebook.door.journal import Journal
from stagebook.door.retry import RETRIED_STATUSES, RetryPolicy
from stagebook.ledger.clock import now
from stagebook.ledger.facts import ExchangeLost, ExchangeReceived, Fact
from stagebook.ledger.store import Ledger
from stagebook.llm.batch_format import BatchFormat, Entry, Line, Listed, State
from stagebook.llm.batch_policy import BatchPolicy
from stagebook.llm.codec import Unreadable
from stagebook.llm.providers import Reached
from stagebook.model.errors import ProviderError, ProviderUnavailable, RequestRefused
from stagebook.model.exchange import Request, Response
from stagebook.model.usage import Charge

T = TypeVar("T")

PAGES: Final = 50
"""Pages of a provider's list that are looked through for a batch that may have been made: 5,000 batches."""
SKEW: Final = 3600.0
"""Seconds by which a provider's clock may be behind."""
AT_ONCE: Final = 200
"""Lines read before the event loop has its turn."""
_MICROSECONDS: Final = 1_000_000
_UNANSWERED = """
SELECT id FROM exchanges WHERE run = ? AND step IS NULL AND kind = 'batch' AND request_hash = ?
    AND state IN ('sent', 'lost', 'unsent')
"""


@dataclass(slots=True)
class Batch:
    """What is known of one batch."""

    entries: dict[int, Entry]
    """By the id of the exchange that each answer is going to be; those that still want one."""
    total: int
    """Requests that it was submitted with."""
    submitted_at: int
    """When, microseconds since 1970."""
    file: str | None = None
    """What was uploaded for it."""
    handle: str | None = None
    """Itself, as the provider calls it; None: it is not known whether there is one."""
    doubtful: list[int] = field(default_factory=list)
    """Creations that were sent and not answered, by exchange."""
    state: State | None = None
    polled_at: float | None = None
    """When it was last heard of, monotonic seconds."""

    @property
    def is_guessed(self) -> bool:
        """Whether its handle was found by no more than the batch's size and time."""
        return self.file is None and bool(self.doubtful)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one model's batches are handed in."""

    door: OutwardDoor
    ledger: Ledger
    journal: Journal
    """Of the run, not of a step."""
    run_id: str
    mark: bytes
    """The run's, in the names of its requests."""
    endpoint: Reached
    """Where each request would be sent by itself."""
    model: str
    format: BatchFormat
    meter: Callable[[Response], Charge | None]
    """Reads what an answer cost, at half price."""
    policy: BatchPolicy
    retry: RetryPolicy
    handles: set[str] = field(default_factory=set)
    """Batches that are known, so that none of them is taken for one that is looked for."""
    rng: random.Random = field(default_factory=random.SystemRandom)

    async def submit(self, batch: Batch, stopping: Callable[[], bool]) -> None:
        """Upload and create a batch, unless it turns out that it was created.

        The creation is durable as sent before the wire, and the handle as received before the first poll. A creation
        without an answer is never sent again before the provider's list was looked through for what it made.

        Args:
            batch: What to submit; knows what was done before.
            stopping: Whether nothing new is to be begun.

        Raises:
            ProviderError: It could not be submitted.
        """
        entries = list(batch.entries.values())
        if batch.file is None and batch.handle is None:
            upload = self.format.upload(self.endpoint, entries)
            if upload is not None:
                batch.file = self._read(self.format.uploaded, await self._send(upload, settled=True))
        creation = self.format.create(self.endpoint, batch.file, entries, self.run_id)._replace(model=self.model)
        failures = 0
        while batch.handle is None:
            if batch.doubtful and await self.look_up(batch):
                break
            if stopping():
                raise asyncio.CancelledError
            batch.submitted_at = now()
            try:
                sent = await self.door.send(
                    creation, self.journal, explain=self.endpoint.provider.codec.explain, tries=1
                )
            except RequestRefused:
                raise
            except ProviderError as error:
                failures += 1
                await self._doubt(batch, creation)
                wait = self.retry.delay(failures, error.retry_after, self.rng)
                if wait is None:
                    if await self.look_up(batch):
                        break
                    raise
                await asyncio.sleep(wait)
            else:
                batch.handle = self._read(lambda body: self.format.state(body).handle, sent.response)
        self.handles.add(str(batch.handle))

    async def follow(self, batch: Batch) -> State:
        """Poll a batch until it has ended. Polls cost nothing, and none is ever given again.

        Raises:
            RequestRefused: The provider does not let us ask, or does not know the batch any more.
        """
        poll = self.format.poll(self.endpoint, str(batch.handle))
        for wait in self.policy.waits():
            await asyncio.sleep(wait)
            try:
                answer = await self._send(poll, settled=False)
                batch.state = self.format.state(answer.body)
            except RequestRefused:
                raise
            except (ProviderError, Unreadable):
                continue  # the batch goes on without us: this is no reason to give it up
            batch.polled_at = time.monotonic()
            if batch.state.ended:
                return batch.state
        raise AssertionError("the waits have no end")

    async def outcomes(self, batch: Batch, state: State) -> list[tuple[Entry, Outcome]]:
        """Fetch what came of the requests of a batch that ended; each that is still wanted is there once.

        Returns:
            Nothing, where the batch turns out to be somebody else's.
        """
        found: dict[int, Outcome] = {}
        read = 0
        for request in self.format.results(self.endpoint, state):
            body = await self._fetched(request)
            for line in self.format.lines(body):
                read += 1
                if read % AT_ONCE == 0:
                    await asyncio.sleep(0)
                member = Member.read(line.custom_id)
                if member is not None and _holds(batch, member):
                    found[member.exchange] = self._outcome(line, batch)
        if read and not found and batch.is_guessed:
            return []
        left = _missing(state)
        whole = [(entry, found.get(exchange, left)) for exchange, entry in batch.entries.items()]
        unanswered = sum(_is_unanswered(outcome) for _, outcome in whole)
        alone = unanswered <= self.policy.alone
        handle, at = str(batch.handle), batch.submitted_at
        return [(entry, one._replace(batch=handle, submitted_at=at, alone=alone)) for entry, one in whole]

    async def disown(self, batch: Batch) -> None:
        """Take back that a batch is ours: its answers are not."""
        batch.handle = batch.state = None
        await self._write(ExchangeLost(one, "it was taken for another's batch", False, now()) for one in batch.doubtful)

    async def end(self, batch: Batch) -> bool:
        """Have the provider end a batch before its time; says whether it will."""
        with contextlib.suppress(ProviderError):
            if batch.handle is None and batch.doubtful:
                await self.look_up(batch)
            if batch.handle is not None:
                await self._send(self.format.cancel(self.endpoint, batch.handle), settled=False)
                return True
        return False

    def _outcome(self, line: Line, batch: Batch) -> Outcome:
        if line.status is None:
            return Outcome(None, b"", f"batch {batch.handle}: {line.error}")
        well = 200 <= line.status < 300  # noqa: PLR2004  success, RFC 9110
        charge = self.meter(Response(line.status, {}, line.body)) if well else None
        return Outcome(line.status, line.body, charge=charge)

    async def _doubt(self, batch: Batch, creation: Request) -> None:
        """Remember a creation that was not answered."""
        await self.ledger.write()
        found = await self.ledger.query(_UNANSWERED, (self.journal.run, creation.digest()))
        batch.doubtful = [int(str(exchange)) for (exchange,) in found.rows]

    async def look_up(self, batch: Batch) -> bool:
        """Look through the provider's list for a batch that an unanswered creation may have made.

        Raises:
            ProviderError: The list could not be had.
        """
        found = await self._listed(batch)
        arrived = batch.submitted_at / _MICROSECONDS + self.policy.arrival
        if found is None and batch.doubtful and (left := arrived - now() / _MICROSECONDS) > 0:
            await asyncio.sleep(left)  # what a process sent that was killed may reach the provider after this look
            found = await self._listed(batch)
        at = now()
        if found is None:
            await self._write(
                ExchangeLost(one, "the provider's list of batches does not have it: it was not made", False, at)
                for one in batch.doubtful
            )
            batch.doubtful = []
            return False
        batch.handle = found.state.handle
        body = orjson.dumps({"id": batch.handle, "found_in": "the provider's list of batches"})
        await self._write(ExchangeReceived(one, 200, b"{}", body, None, at) for one in batch.doubtful[-1:])
        return True

    async def _listed(self, batch: Batch) -> Listed | None:
        """Look through the provider's list once."""
        since = batch.submitted_at / _MICROSECONDS - SKEW
        after: str | None = None
        found: Listed | None = None
        for _ in range(PAGES):
            page = await self._send(self.format.listing(self.endpoint, after), settled=False)
            listed, after = self._read(self.format.listed, page)
            found = next((one for one in reversed(listed) if self._may_be(one, batch, since)), found)
            if after is None or any(one.created_at < since for one in listed):
                break
        return found

    def _may_be(self, listed: Listed, batch: Batch, since: float) -> bool:
        """Whether a listed batch is the one: by its file, or else by its size and time (and later by its answers)."""
        if listed.state.handle in self.handles:
            return False
        if batch.file is not None:
            return listed.file == batch.file
        return listed.total == batch.total and listed.created_at >= since

    async def _fetched(self, request: Request) -> bytes:
        """Fetch answers; they are in the ledger whole before one is read, and are fetched once."""
        for wait in self.policy.waits():
            try:
                return (await self._send(request, settled=True)).body
            except RequestRefused as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return b""  # gone: every answer counts as possibly paid
            except ProviderError:
                await asyncio.sleep(wait)
        raise AssertionError("the waits have no end")

    async def _send(self, request: Request, *, settled: bool) -> Response:
        """Send what costs nothing: it is written with its answer."""
        named = request._replace(model=self.model)
        explain = self.endpoint.provider.codec.explain
        return (await self.door.send(named, self.journal, explain=explain, settles=lambda _: settled)).response

    async def _write(self, facts: Iterable[Fact]) -> None:
        unit = tuple(facts)
        if unit:
            await self.ledger.write(*unit)

    @staticmethod
    def _read(read: Callable[[bytes], T], response: Response) -> T:
        """Read an answer about a batch.

        Raises:
            ProviderUnavailable: It is none.
        """
        try:
            return read(response.body)
        except Unreadable as error:
            raise ProviderUnavailable(f"the provider's answer about a batch cannot be read: {error}") from error


def _holds(batch: Batch, member: Member) -> bool:
    """Whether a batch asked for just this, down to the run's mark."""
    entry = batch.entries.get(member.exchange)
    return entry is not None and entry[0].custom_id() == member.custom_id()


def _missing(state: State) -> Outcome:
    """What to say of a request that no line is about."""
    if state.refused is not None:
        body = orjson.dumps({"error": {"message": f"the batch was refused: {state.refused}"}})
        return Outcome(int(HTTPStatus.BAD_REQUEST), body)
    if state.whole:
        return Outcome(None, b"", f"the results of batch {state.handle} do not mention it", possibly_paid=True)
    return Outcome(None, b"", f"batch {state.handle} ended before it came to this request")


def _is_unanswered(outcome: Outcome) -> bool:
    """Whether it will be asked again."""
    return outcome.status is None or outcome.status in RETRIED_STATUSES
