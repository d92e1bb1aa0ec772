"""What the ledger knows of a run's batches: what was uploaded, what was made, and which answers are still to come."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from stagebook.door.journal import ANSWERED
from stagebook.ledger.clock import now
from stagebook.ledger.facts import ExchangeLost
from stagebook.ledger.store import Ledger
from stagebook.llm.batch_course import Batch
from stagebook.llm.batch_format import BatchFormat, Entry
from stagebook.llm.codec import Unreadable
from stagebook.llm.providers import Reached
from stagebook.model.errors import NotFound
from stagebook.model.exchange import Request
from stagebook.model.records import RecordedExchange
from stagebook.model.status import ExchangeState

EVERY: Final = 1_000_000_000
"""More rows than a run has."""
SECONDS: Final = 600.0
_BATCHES: Final = """
SELECT id, url, state, http_status, response, sent_at, provider, model FROM exchanges
WHERE run = ? AND step IS NULL AND kind = 'batch' ORDER BY id
"""
_IN_FLIGHT: Final = "SELECT id FROM exchanges WHERE run = ? AND step IS NULL AND kind = 'batch' AND state = 'sent'"
_WRITTEN: Final = "SELECT id FROM exchanges WHERE run = ? AND step IS NOT NULL"
_STEPS: Final = "SELECT id FROM steps WHERE run = ?"
_RESULTS: Final = """
SELECT id, request_hash, attempt, occurrence, state, http_status, response, response_headers FROM exchanges
WHERE run = ? AND step IS NULL AND kind = 'poll' AND http_status = 200
    AND (url LIKE '%/files/%/content' OR url LIKE '%/batches/%/results')
ORDER BY id
"""
_UPLOADS: Final = "/files"


class _Row(NamedTuple):
    """An upload or a creation, as recorded."""

    exchange: int
    url: str
    state: str
    status: int
    response: bytes | None
    sent_at: int
    provider: str
    model: str

    @property
    def is_answered(self) -> bool:
        """Whether what was asked for was done."""
        return self.state in ANSWERED and 200 <= self.status < 300  # noqa: PLR2004  success, RFC 9110


class Going(NamedTuple):
    """A batch of an earlier drive that still owes answers."""

    provider: str
    model: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What a run's earlier drives left."""

    going: tuple[Going, ...] = ()
    handles: frozenset[str] = frozenset()
    """All batches that the run has made."""
    results: tuple[RecordedExchange, ...] = ()
    """Fetched answers of whole batches, which need not be fetched again."""


async def doubt_in_flight(ledger: Ledger, run: int) -> None:
    """Say of creations that were cut off by the end of their driver that nobody knows yet whether they were made.

    They are looked up at the provider before anything is submitted, so they are not possibly paid.
    """
    found = await ledger.query(_IN_FLIGHT, (run,))
    lost = [
        ExchangeLost(int(str(exchange)), "its driver ended before the answer came; it is looked up", False, now())
        for (exchange,) in found.rows
    ]
    if lost:
        await ledger.write(*lost)


async def read_record(
    ledger: Ledger, run: int, formats: Mapping[str, BatchFormat], reached: Callable[[str], Reached]
) -> BatchRecord:
    """Read what earlier drives left of batches.

    Args:
        ledger: Where it is.
        run: The run's id.
        formats: By provider.
        reached: Says where a provider's requests go.

    Raises:
        MissingKey: The key of a provider that has a batch is not set.
    """
    found = await ledger.query(_BATCHES, (run,), limit=EVERY, timeout=SECONDS)
    rows = [_row(cells) for cells in found.rows]
    if not rows:
        return BatchRecord()
    written = await _numbers(ledger, _WRITTEN, run)
    steps = await _numbers(ledger, _STEPS, run)
    going: list[Going] = []
    handles: set[str] = set()
    for provider, model in dict.fromkeys((row.provider, row.model) for row in rows):
        if provider not in formats:
            continue
        reader = _Reader(ledger, formats[provider], reached(provider), model, written, steps)
        for batch in await reader.batches([row for row in rows if (row.provider, row.model) == (provider, model)]):
            going += [Going(provider, model, batch)] if batch.entries else []
        handles |= reader.handles
    return BatchRecord(_latest_only(going), frozenset(handles), await _results(ledger, run) if going else ())


class _Reader:
    """Reads one model's batches."""

    def __init__(
        self, ledger: Ledger, form: BatchFormat, endpoint: Reached, model: str, written: set[int], steps: set[int]
    ) -> None:
        self._ledger = ledger
        self._format = form
        self._endpoint = endpoint
        self._model = model
        self._written = written
        self._steps = steps
        self.handles: set[str] = set()

    async def batches(self, rows: list[_Row]) -> list[Batch]:
        """Read batches: of a file that was uploaded, or each for itself."""
        found: dict[str, Batch] = {}
        for row in rows:
            if row.url.endswith(_UPLOADS):
                body, answer = await self._request(row), await self._answer(row)
                if row.is_answered and body is not None and answer is not None:
                    file = self._format.uploaded(answer)
                    found[file] = self._holding(row, body, file)
                continue
            body = await self._request(row)
            file_of = None if body is None else self._format.file_of(body)
            key = file_of or f"{row.exchange}"
            batch = found.get(key)
            if batch is None:
                if file_of is not None or body is None:
                    continue  # its file's record was purged
                batch = found[key] = self._holding(row, body, None)
            await self._created(batch, row)
        return list(found.values())

    async def _created(self, batch: Batch, row: _Row) -> None:
        batch.submitted_at = row.sent_at
        if not row.is_answered:
            if batch.handle is None and not 400 <= row.status < 500:  # noqa: PLR2004  those were refused
                batch.doubtful.append(row.exchange)
            return
        answer = await self._answer(row)
        if answer is None:
            return
        try:
            batch.handle = self._format.state(answer).handle
        except Unreadable:
            batch.doubtful.append(row.exchange)
            return
        self.handles.add(batch.handle)
        guessed = b'"found_in"' in answer
        batch.doubtful = [row.exchange] if guessed else []

    def _holding(self, row: _Row, body: bytes, file: str | None) -> Batch:
        """Read which requests a recorded body holds; kept are those that have no answer yet."""
        entries: dict[int, Entry] = {}
        total = 0
        for member, asked in self._format.members(body):
            total += 1
            if member.exchange not in self._written and member.step in self._steps:
                endpoint = self._endpoint
                request = Request(
                    *("POST", endpoint.url, (asked,), endpoint.headers, "model", endpoint.provider.name, self._model)
                )
                entries[member.exchange] = member, request
        return Batch(entries, total, row.sent_at, file)

    async def _request(self, row: _Row) -> bytes | None:
        """Read a request; None where it was purged, and with it what was to come of it."""
        try:
            return await self._ledger.request_body(row.exchange)
        except NotFound:
            return None

    async def _answer(self, row: _Row) -> bytes | None:
        """Read an answer; None where there is none, or none any more."""
        try:
            return None if row.response is None else await self._ledger.payload(row.response)
        except NotFound:
            return None


def _latest_only(going: list[Going]) -> tuple[Going, ...]:
    """Keep each request in the last of the batches that hold it: from the others it came back unanswered."""
    seen: set[Any] = set()
    for one in reversed(going):
        for exchange, (member, _) in list(one.batch.entries.items()):
            if member.key in seen:
                del one.batch.entries[exchange]
            seen.add(member.key)
    return tuple(one for one in going if one.batch.entries)


async def _results(ledger: Ledger, run: int) -> tuple[RecordedExchange, ...]:
    found = await ledger.query(_RESULTS, (run,), limit=EVERY, timeout=SECONDS)
    return tuple(
        RecordedExchange(
            id=int(str(exchange)),
            request_hash=_bytes(digest),
            attempt=int(str(attempt)),
            occurrence=int(str(occurrence)),
            state=ExchangeState(str(state)),
            http_status=int(str(status)),
            response_hash=_bytes(response) or None,
            response_headers=None if headers is None else str(headers).encode(),
        )
        for exchange, digest, attempt, occurrence, state, status, response, headers in found.rows
    )


async def _numbers(ledger: Ledger, sql: str, run: int) -> set[int]:
    found = await ledger.query(sql, (run,), limit=EVERY, timeout=SECONDS)
    return {int(str(number)) for (number,) in found.rows}


def _row(cells: tuple[Any, ...]) -> _Row:
    exchange, url, state, status, response, sent_at, provider, model = cells
    answer = None if response is None else _bytes(response)
    return _Row(int(exchange), str(url), str(state), int(status or 0), answer, int(sent_at), str(provider), str(model))


def _bytes(cell: Any) -> bytes:
    return cell if isinstance(cell, bytes) else orjson.dumps(cell) if cell is not None else b""
