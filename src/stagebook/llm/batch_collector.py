"""Gathers the requests of one model into batches, and hands each answer to the step that waits for it."""

import asyncio
import copy
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import orjson

from stagebook.door.batch_member import Key, Member, Outcome, facts_of
from stagebook.ledger.clock import now
from stagebook.llm.batch_course import Batch, Desk
from stagebook.llm.batch_format import FRAME, Entry
from stagebook.model.errors import RequestRefused
from stagebook.model.exchange import Request

KEPT_AT_ONCE: Final = 256
"""Answers that are written side by side, so that they share commits."""


class Collector:
    """The batches of one model in one drive; a `BatchWay`.

    A batch leaves when everything that the run has under way waits for one, when it is as large as the provider takes,
    or when no other request came for a while.

    Args:
        desk: Where batches are handed in.
        calm: Whether everything under way waits for a batch.
        stopping: Whether nothing new is to be begun.
    """

    def __init__(self, desk: Desk, calm: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        self.desk = desk
        self._is_calm = calm
        self._ended = False
        """Whether no batch is to be made any more."""
        self._stopping = stopping
        self._gathered: dict[int, Entry] = {}
        self._size = 0
        self._added = 0.0
        self._gathering: asyncio.Task[None] | None = None
        self._submitting: set[asyncio.Task[None]] = set()
        self._following: dict[asyncio.Task[None], Batch] = {}
        self._open: dict[Key, Member] = {}
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._answered: dict[Key, Outcome] = {}
        """Answers that nobody waited for when they came, in the ledger already."""
        self.batches: list[Batch] = []
        """Those under way."""
        self._most = desk.policy.most_requests or desk.format.limits.requests

    @property
    def mark(self) -> bytes:
        """The run's."""
        return self.desk.mark

    @property
    def waiting(self) -> int:
        """Steps that wait here."""
        return len(self._waiting)

    @property
    def gathered(self) -> int:
        """Requests of the batch that is to leave next."""
        return len(self._gathered)

    def find(self, key: Key) -> Member | None:
        """Name the request of this key that a batch holds, or held."""
        return self._open.get(key)

    async def ask(self, member: Member, request: Request) -> Outcome:
        """Wait for an answer; see `BatchWay`."""
        answered = self._answered.pop(member.key, None)
        if answered is not None:
            del self._open[member.key]
            return answered
        waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[member.exchange] = waiting
        if member.key not in self._open:
            self._add(member, request)
        try:
            return await waiting
        finally:
            self._waiting.pop(member.exchange, None)
            entry = self._gathered.pop(member.exchange, None)
            if entry is not None:  # it was stopped before it left
                self._size -= _size(request)

    def resume(self, batch: Batch) -> None:
        """Go on with a batch that an earlier drive began."""
        for member, _ in batch.entries.values():
            self._open[member.key] = member
        self._begin(batch, restored=True)

    async def close(self) -> None:
        """Stop following; a submission that is under way is given a moment, so that its handle is known."""
        self._ended = True
        if self._gathering is not None:
            self._gathering.cancel()
        for task in self._following.keys() - self._submitting:
            task.cancel()
        if self._submitting:
            await asyncio.wait(self._submitting, timeout=self.desk.policy.settling)
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def cancel(self) -> int:
        """Have the provider end all batches, and give it a moment to say what they came to; says how many it took."""
        self._ended = True
        ended = []
        for task, batch in list(self._following.items()):
            if await self.desk.end(batch):
                task.cancel()
                ended.append(asyncio.create_task(self._see_through(batch, ending=True)))
        if ended:
            _, late = await asyncio.wait(ended, timeout=self.desk.policy.settling)
            for one in late:
                one.cancel()
            await asyncio.gather(*ended, return_exceptions=True)
        return len(ended)

    def told(self) -> list[str]:
        """Say what is under way."""
        where = self.desk.endpoint.provider.name
        told = []
        for batch in self.batches:
            what = f"batch of {batch.total:,} at {where}"
            if batch.handle is None:
                told.append(f"{what}: being submitted")
            elif batch.state is None or batch.polled_at is None:
                told.append(f"{what}: submitted")
            else:
                ago = time.monotonic() - batch.polled_at
                told.append(f"{what}: {batch.state.done:,} done, polled {ago:.0f} s ago")
        return told

    def _add(self, member: Member, request: Request) -> None:
        size = _size(request)
        if self._gathered and (len(self._gathered) >= self._most or self._size + size > self.desk.format.limits.size):
            self._leave()
        self._gathered[member.exchange] = member, request
        self._size += size
        self._added = time.monotonic()
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        """Wait until what is gathered should leave."""
        policy, calm_since = self.desk.policy, None
        while self._gathered:
            await asyncio.sleep(policy.tick)
            at = time.monotonic()
            calm_since = (calm_since or at) if self._is_calm() else None
            if (calm_since is not None and at - calm_since >= policy.calm) or at - self._added >= policy.quiet:
                self._leave()

    def _leave(self) -> None:
        """Send off what is gathered."""
        entries, self._gathered, self._size = self._gathered, {}, 0
        if entries:
            for member, _ in entries.values():
                self._open[member.key] = member
            self._begin(Batch(entries, len(entries), now()), restored=False)

    def _begin(self, batch: Batch, *, restored: bool) -> None:
        self.batches.append(batch)
        task = asyncio.create_task(self._carry(batch, restored=restored))
        self._following[task] = batch
        task.add_done_callback(lambda done: self._following.pop(done, None))

    async def _carry(self, batch: Batch, *, restored: bool) -> None:
        """See a batch through, and tell all who wait if it cannot be."""
        left = False
        try:
            if restored:
                await self._attached()
                if batch.handle is None and batch.doubtful:
                    await self.desk.look_up(batch)
                if batch.handle is None:
                    self._drop_unwanted(batch)
            left = bool(batch.entries) and not await self._see_through(batch)
        except asyncio.CancelledError:
            left = True
            raise
        except Exception as raised:  # noqa: BLE001  whoever waits is told whatever it is; a ledger's trouble ends the run
            error = self._told(raised, batch)
            for member, _ in batch.entries.values():
                self._open.pop(member.key, None)
                waiting = self._waiting.get(member.exchange)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(copy.copy(error))
        finally:
            if not left:  # else there is still something to tell of it
                self.batches.remove(batch)

    async def _see_through(self, batch: Batch, *, ending: bool = False) -> bool:
        """Submit a batch, follow it and hand out its answers; says whether it is over, or left to its provider."""
        outcomes: list[tuple[Entry, Outcome]] = []
        while not outcomes:
            await self._submit(batch)
            if self._is_stopping() and not ending:
                return False  # its handle is known: that is all that could be done now
            state = await self.desk.follow(batch)
            if state.later and not self._is_stopping():
                await asyncio.sleep(self.desk.policy.longest_wait)
                self._halve(batch)
                return True
            outcomes = await self.desk.outcomes(batch, state)
            if not outcomes:
                await self.desk.disown(batch)
                if self._is_stopping():
                    return True
        unclaimed = [(entry, outcome) for entry, outcome in outcomes if entry[0].exchange not in self._waiting]
        for (member, _), outcome in outcomes:
            waiting = self._waiting.get(member.exchange)
            if waiting is not None and not waiting.done():
                del self._open[member.key]
                waiting.set_result(outcome)
        for start in range(0, len(unclaimed), KEPT_AT_ONCE):
            some = unclaimed[start : start + KEPT_AT_ONCE]
            await asyncio.gather(*(self._keep(member, request, outcome) for (member, request), outcome in some))
        return True

    async def _submit(self, batch: Batch) -> None:
        task = asyncio.current_task()
        if batch.handle is not None or task is None:
            return
        self._submitting.add(task)
        try:
            await self.desk.submit(batch, self._is_stopping)
        finally:
            self._submitting.discard(task)

    def _is_stopping(self) -> bool:
        return self._ended or self._stopping()

    def _told(self, error: Exception, batch: Batch) -> Exception:
        """Say what to do where a server has no batches at all."""
        if isinstance(error, RequestRefused) and error.status == HTTPStatus.NOT_FOUND and batch.handle is None:
            name, url = self.desk.endpoint.provider.name, self.desk.endpoint.url
            text = f"{name} takes no batches at {url} ({error}); begin a run without --provider-batch"
            return RequestRefused(text, status=error.status)
        return error

    def _halve(self, batch: Batch) -> None:
        """Submit a batch again in two, as the provider has too much of ours waiting already."""
        entries = list(batch.entries.items())
        self._most = max(1, min(self._most, len(entries) // 2))
        for start in range(0, len(entries), self._most):
            part = dict(entries[start : start + self._most])
            self._begin(Batch(part, len(part), now()), restored=False)

    async def _keep(self, member: Member, request: Request, outcome: Outcome) -> None:
        """Write down an answer that nobody waits for: it was paid for, and its step may still ask."""
        headers = orjson.dumps(dict(request.headers))
        journal = self.desk.journal
        facts = facts_of(member, request, outcome, journal=journal, headers=headers, at=now())
        await self.desk.ledger.write(*facts)
        waiting = self._waiting.get(member.exchange)
        if waiting is not None and not waiting.done():  # it came in the meantime
            self._open.pop(member.key, None)
            waiting.set_result(outcome._replace(recorded=True))
        elif outcome.status is None:
            self._open.pop(member.key, None)
        else:
            self._answered[member.key] = outcome._replace(recorded=True)

    def _drop_unwanted(self, batch: Batch) -> None:
        """Leave out of a batch that was never made what no step asks any more; what was uploaded holds it all."""
        unwanted = [exchange for exchange in batch.entries if exchange not in self._waiting]
        for exchange in unwanted:
            self._open.pop(batch.entries.pop(exchange)[0].key, None)
        if unwanted:
            batch.file, batch.total = None, len(batch.entries)

    async def _attached(self) -> None:
        """Let the steps of an earlier drive's batch come and wait for it."""
        policy = self.desk.policy
        until = time.monotonic() + policy.quiet
        while time.monotonic() < until and not (self._waiting and self._is_calm()):  # noqa: ASYNC110  nobody tells of calm
            await asyncio.sleep(policy.tick)


def _size(request: Request) -> int:
    return sum(map(len, request.segments)) + FRAME
