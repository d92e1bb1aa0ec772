"""The one place where this process meets the world: prepared -> sent -> received."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import NamedTuple

import orjson

from stagebook.door.batch_member import BatchWay, Member, Outcome, facts_of, headers_of
from stagebook.door.budget import Budget, Hold
from stagebook.door.journal import Answered, Journal
from stagebook.door.rate import WEIGHTLESS, Lane, Lanes, Turn, Weight
from stagebook.door.retry import RETRIED_STATUSES, RetryPolicy, asked_wait
from stagebook.door.secrets import REFERENCE, blot, redact, resolve
from stagebook.door.transport import Transport, TransportError
from stagebook.ledger.clock import now
from stagebook.ledger.facts import ExchangeLost, ExchangeParsed, ExchangeReceived, ExchangeSent
from stagebook.ledger.store import Ledger
from stagebook.model.errors import (
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestRefused,
)
from stagebook.model.exchange import Request, Response
from stagebook.model.usage import Charge

Meter = Callable[[Response], Charge | None]
"""Reads usage and cost out of an answer, so that both are durable with it."""

Weigh = Callable[[Request], Weight]
"""Tells what a request is going to count against a limit of tokens."""

Explain = Callable[[Response], ProviderError | None]
"""Makes a sharper error out of a provider's error body; None leaves it to the door."""

Settles = Callable[[Response], bool]
"""Says whether a poll's answer is the last one: what was asked for is there, or will never be."""


class Sent(NamedTuple):
    """An answer, and whether it used up a try."""

    response: Response
    """As it came, or as the ledger kept it."""
    free: bool = False
    """It was replayed from an attempt that had failed: it counts for no try."""


class OutwardDoor:
    """Writes what it is about to send, sends it, and writes what came back before anyone reads it.

    Args:
        ledger: Where it is written.
        transports: By provider; `""` is used where none is named.
        retry: When to try again.
        environment: Where references to secrets are looked up.
        rng: Where jitter comes from.
        budget: What model calls may cost; None: anything.
        lanes: Who goes when; shared by all who ask the same models.
        weigh: What a model call counts where tokens are limited.
    """

    def __init__(
        self,
        ledger: Ledger,
        transports: Mapping[str, Transport],
        *,
        retry: RetryPolicy | None = None,
        environment: Mapping[str, str],
        rng: random.Random | None = None,
        budget: Budget | None = None,
        lanes: Lanes | None = None,
        weigh: Weigh | None = None,
    ) -> None:
        self._ledger = ledger
        self._budget = budget
        self._lanes = lanes or Lanes()
        self._weigh = weigh
        self._waiting: set[asyncio.Future[Turn] | asyncio.Future[Outcome]] = set()
        self._turning_away = False
        self._transports = transports
        self._retry = retry or RetryPolicy()
        self._environment = environment
        self._revealed: _Revealed | None = None
        self._rng = rng or random.SystemRandom()  # nothing to seed, which takes as long as two requests

    async def send(
        self,
        request: Request,
        journal: Journal,
        *,
        meter: Meter | None = None,
        explain: Explain | None = None,
        settles: Settles | None = None,
        transport: Transport | None = None,
        batch: BatchWay | None = None,
        tries: int | None = None,
    ) -> Sent:
        """Send a request, or answer it from the ledger if this step was answered before.

        Args:
            request: What to send, secrets as references.
            journal: The step that sends it.
            meter: Reads what the answer cost.
            explain: Makes a sharper error of an error body.
            settles: The request is a poll: it costs nothing, so it is written with its answer instead of before the
                wire, and only an answer that settles the matter is ever given again.
            transport: Instead of the provider's.
            batch: Sends it within a provider's batch, at half price; not paced, as batches have limits of their own.
            tries: Most sendings, instead of the policy's.

        Returns:
            The first answer whose status is 2xx.

        Raises:
            ProviderError: No such answer after every try that the policy allows.
            MissingKey: A secret is not set; nothing was written or sent.
            UsageError: There is a budget, and nobody knows what the request can cost; nothing was written or sent.
        """
        digest = request.digest()
        occurrence = journal.occurrence(digest)
        recorded = journal.answer(digest, occurrence) if settles is None else journal.latest(digest)
        if recorded is not None and recorded.response_hash is not None:
            body = await self._ledger.payload(recorded.response_hash)
            headers = orjson.loads(recorded.response_headers or b"{}")
            response = Response(recorded.http_status or 200, headers, body, recorded.id, replayed=True)
            if settles is None or settles(response):
                journal.last = None
                return Sent(response, free=journal.is_free(recorded))
        prepared = now()
        revealed = self._reveal(request)
        failures = 0
        way = transport or self.way(request.provider)
        while True:
            sending = _Sending(request, revealed, digest, occurrence, failures + 1, prepared, way, settles is not None)
            if batch is not None:
                outcome, alone = await self._by_batch(batch, sending, journal)
                batch = None if alone else batch
            elif request.kind != "model":
                outcome = await self._once(sending, journal, meter)
            elif self._budget is None:
                outcome = await self._paced(sending, journal, meter)
            else:
                outcome = await self._within(self._budget, sending, journal, meter)
            if isinstance(outcome, Response) and 200 <= outcome.status < 300:  # noqa: PLR2004  success, RFC 9110
                return Sent(outcome)
            failures += 1
            if isinstance(outcome, Response):
                error = (explain and explain(outcome)) or _refusal(request, outcome)
                retried = outcome.status in RETRIED_STATUSES and not isinstance(error, RequestRefused)
            else:
                error, retried = outcome, not isinstance(outcome, RequestRefused)
            again = retried and (tries is None or failures < tries)
            wait = self._retry.delay(failures, error.retry_after, self._rng) if again else None
            if wait is None:
                if failures > 1:
                    error.args = (f"{error} (after {failures} tries)",)
                raise error
            await asyncio.sleep(wait)
            prepared = now()

    @property
    def ledger(self) -> Ledger:
        """Where it writes."""
        return self._ledger

    @property
    def environment(self) -> Mapping[str, str]:
        """Where references to secrets are looked up."""
        return self._environment

    def turn_away(self) -> None:
        """Cancel the prompts that wait for their turn, from now on: nothing is paid for them yet."""
        self._turning_away = True
        for waiting in self._waiting:
            waiting.cancel()

    def way(self, provider: str | None) -> Transport:
        """Give the transport that leads to a provider."""
        return self._transports.get(provider or "") or self._transports[""]

    def parsed(self, response: Response, journal: Journal, complaint: str | None = None) -> None:
        """Write down that an answer was read; rides along with the next commit."""
        if response.exchange is None or response.replayed:
            return
        fact = ExchangeParsed(response.exchange, complaint, now())
        if journal.holds:
            journal.hold(fact)
        else:
            self._ledger.follow(fact)

    async def close(self) -> None:
        """Close every transport."""
        for transport in self._transports.values():
            await transport.close()

    def _reveal(self, request: Request) -> "_Revealed":
        """Resolve references in headers and address; tell which values are secret.

        A mapped stage sends to one address with the same headers again and again: the last answer is kept.
        """
        last = self._revealed
        if (
            last is not None
            and last.url == request.url
            and last.given == request.headers
            and last.secrets == self._values(last.names)  # a key may be changed while a run goes on
        ):
            return last
        places = {**request.headers, "": request.url}
        headers = resolve(places, self._environment)
        names = tuple({name for text in places.values() for name in REFERENCE.findall(text)})
        given = dict(request.headers)  # whose it is may change it
        url = headers.pop("")
        self._revealed = _Revealed(request.url, given, url, headers, names, self._values(names), orjson.dumps(given))
        return self._revealed

    def _values(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([self._environment.get(name, "").strip() for name in names])

    async def _within(
        self, budget: Budget, sending: "_Sending", journal: Journal, meter: Meter | None
    ) -> Response | ProviderError:
        """One try, once there is room for its worst case."""
        hold = await budget.reserve(sending.request, journal.step)
        try:
            outcome = await self._paced(sending, journal, meter, hold)
            if isinstance(outcome, Response):
                if 200 <= outcome.status < 300:  # noqa: PLR2004  success, RFC 9110
                    hold.becomes_job()  # unless its usage has settled it
                else:
                    hold.settle(0)
            return outcome
        finally:
            hold.settle(None)

    async def _paced(
        self, sending: "_Sending", journal: Journal, meter: Meter | None, hold: Hold | None = None
    ) -> Response | ProviderError:
        """One try, once it is its turn."""
        request = sending.request
        lane = self._lanes.of(request.provider, request.model)
        weight = WEIGHTLESS if self._weigh is None or lane.limit.tokens is None else self._weigh(request)
        again = sending.try_number > 1
        turn = lane.enter(weight, again=again)
        if turn is None:
            try:
                turn = await self._wait(lane, weight, journal, again=again)
            except BaseException:
                if hold is not None:
                    hold.settle(0)
                raise
        well = False
        try:
            outcome = await self._once(sending, journal, meter, hold, turn)
            if isinstance(outcome, Response):
                well = 200 <= outcome.status < 300  # noqa: PLR2004  success, RFC 9110
                if outcome.status == HTTPStatus.TOO_MANY_REQUESTS:
                    turn.refused(asked_wait(outcome.headers, time.time()))
            return outcome
        finally:
            turn.end(well=well)

    async def _by_batch(
        self, way: BatchWay, sending: "_Sending", journal: Journal
    ) -> tuple[Response | ProviderError, bool]:
        """One try within a provider's batch; and whether the next one is to be made without.

        Its worst case is reserved before the batch is submitted, unless an earlier drive submitted it: then it is among
        the jobs that the budget knows.
        """
        step, request, ledger, budget = journal.step or 0, sending.request, self._ledger, self._budget
        if held := journal.held():
            ledger.follow(*held)  # the batch names the step, so that is there before it
        member, hold = way.find((step, sending.digest, sending.occurrence)), None
        if budget is not None and member is None:
            hold = await budget.reserve(request._replace(by_batch=True), step)
        member = member or Member(
            *(ledger.new_id(), step, journal.attempt, sending.digest, sending.occurrence, way.mark)
        )
        paid: int | None = 0
        try:
            outcome = await self._patiently(way.ask(member, request))
            journal.last = None
            if not outcome.recorded:
                at, kept = now(), sending.revealed.kept
                await ledger.write(*facts_of(member, request, outcome, journal=journal, headers=kept, at=at))
                journal.last = Answered(request.model or "", outcome.charge, outcome.submitted_at or at, at)
            if outcome.charge is not None and journal.on_charge is not None:
                journal.on_charge(outcome.charge)
            if outcome.charge is not None:
                paid = outcome.charge.cost
            elif outcome.possibly_paid:
                paid = None
        except asyncio.CancelledError:
            paid = None  # the batch goes on at the provider
            raise
        except ProviderError as error:
            return error, False
        finally:
            if hold is not None:
                hold.settle(paid)
            elif budget is not None and paid is not None:
                budget.settle_job(step, paid)
        if outcome.status is None:
            return ProviderUnavailable(outcome.error or "the batch has no answer for it"), outcome.alone
        return Response(outcome.status, headers_of(outcome), outcome.body, member.exchange), outcome.alone

    async def _patiently(self, asking: Coroutine[object, object, Outcome]) -> Outcome:
        """Wait for a batch; who waits can be turned away at any moment, as nothing of its own is under way."""
        if self._turning_away:
            asking.close()
            raise asyncio.CancelledError
        waiting = asyncio.ensure_future(asking)
        self._waiting.add(waiting)
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)

    async def _wait(self, lane: Lane, weight: Weight, journal: Journal, *, again: bool) -> Turn:
        """Wait for a turn; who sends nothing else meanwhile can be turned away."""
        if not journal.holds:
            return await lane.wait(weight, again=again)
        if self._turning_away:
            raise asyncio.CancelledError
        waiting = asyncio.ensure_future(lane.wait(weight, again=again))
        self._waiting.add(waiting)
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)

    async def _once(
        self,
        sending: "_Sending",
        journal: Journal,
        meter: Meter | None,
        hold: Hold | None = None,
        turn: Turn | None = None,
    ) -> Response | ProviderError:
        """One try: two waits and the wire between them."""
        request, ledger, secrets = sending.request, self._ledger, sending.revealed.secrets
        exchange = ledger.new_id()
        sent = ExchangeSent(
            id=exchange,
            run=journal.run,
            step=journal.step,
            attempt=journal.attempt,
            occurrence=sending.occurrence,
            try_number=sending.try_number,
            kind=request.kind,
            provider=request.provider,
            model=request.model,
            method=request.method,
            url=request.url,
            headers=sending.revealed.kept,
            request_hash=sending.digest,
            segments=request.segments,
            prepared_at=sending.prepared_at,
            sent_at=now(),
        )
        late: tuple[ExchangeSent, ...] = (sent,) if sending.is_poll else ()
        if not sending.is_poll:
            try:
                await ledger.write(*journal.held(), sent)
            except asyncio.CancelledError:
                ledger.follow(ExchangeLost(exchange, "stopped before it was sent", False, now()))
                if hold is not None:
                    hold.settle(0)
                raise
        try:
            url = sending.revealed.wire_url
            wire = request if url == request.url else request._replace(url=url)
            answer = await sending.transport.send(wire, sending.revealed.headers)
        except TransportError as error:
            message = redact(str(error), secrets)
            lost = ExchangeLost(exchange, message, error.sent and not sending.is_poll, now())
            ledger.follow(*journal.held(), *late, lost)
            if hold is not None and not error.sent:
                hold.settle(0)
            if error.kind == "forbidden":
                return RequestRefused(message)
            if error.kind == "timeout":
                return ProviderTimeout(message)
            return ProviderUnavailable(message)
        except BaseException as error:
            if not sending.is_poll:
                ledger.follow(ExchangeLost(exchange, f"stopped by {type(error).__name__}", True, now()))
            raise
        body = blot(answer.body, secrets)
        kept = {name: redact(value, secrets) for name, value in answer.headers.items()}
        response = Response(answer.status, kept, body, exchange)
        charge = meter(response) if meter is not None else None
        at = now()
        received = ExchangeReceived(exchange, answer.status, orjson.dumps(kept), body, charge, at)
        await ledger.write(*journal.held(), *late, received)
        journal.last = Answered(request.model or "", charge, sent.sent_at, at)
        if charge is not None and charge.usage.input_tokens:  # without any, it tells that a job has begun
            self._paid(charge, journal, hold)
            if turn is not None:
                turn.answered(charge.usage.input_tokens)
        return response

    def _paid(self, charge: Charge, journal: Journal, hold: Hold | None) -> None:
        """Tell what an answer cost to whoever keeps count."""
        if hold is not None:
            hold.settle(charge.cost)
        elif self._budget is not None:  # a poll brought it
            self._budget.settle_job(journal.step, charge.cost or 0)
        if journal.on_charge is not None:
            journal.on_charge(charge)


class _Revealed(NamedTuple):
    """An address and headers with the values of their references."""

    url: str
    """As it is recorded."""
    given: Mapping[str, str]
    """Headers as they are recorded."""
    wire_url: str
    headers: dict[str, str]
    names: tuple[str, ...]
    """The references."""
    secrets: tuple[str, ...]
    """Their values."""
    kept: bytes
    """The recorded headers as JSON."""


class _Sending(NamedTuple):
    """What one try needs to know."""

    request: Request
    revealed: _Revealed
    digest: bytes
    occurrence: int
    try_number: int
    prepared_at: int
    transport: Transport
    is_poll: bool


def _refusal(request: Request, response: Response) -> ProviderError:
    """Make the error of an answer that is not 2xx; quotes at most 300 characters of its body."""
    where = f"{request.provider or 'the server'} ({request.url})"
    said = " ".join(response.body[:2000].decode("utf-8", "replace").split())[:300]
    asked = asked_wait(response.headers, time.time())
    text = f"{where} answered {response.status}: {said}"
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(text, status=429, retry_after=asked)
    if response.status in RETRIED_STATUSES:
        return ProviderUnavailable(text, status=response.status, retry_after=asked)
    return RequestRefused(text, status=response.status)
