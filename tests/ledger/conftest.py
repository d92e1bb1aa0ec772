"""A ledger of every kind, and short ways to write into one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from stagebook.ledger.claim import Claim
from stagebook.ledger.facts import (
    ExchangeReceived,
    ExchangeSent,
    OutputMade,
    OutputRemoved,
    StepEnded,
    StepStarted,
)
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request, content_hash
from stagebook.model.records import WHOLE, NewRun, Run
from stagebook.model.status import StepStatus
from stagebook.model.usage import Charge, Usage

DEFINITION = orjson.dumps({"name": "book", "stages": [{"name": "pages"}, {"name": "label"}, {"name": "report"}]})


@dataclass
class Drive:
    """A run that is being driven, and what a driver writes."""

    ledger: Ledger
    run: Run
    claim: Claim
    clock: int = 1_700_000_000_000_000
    steps: dict[tuple[str, str], int] = field(default_factory=dict)

    def now(self) -> int:
        self.clock += 1_000_000
        return self.clock

    def started(self, stage: str, item: str = WHOLE, *, attempt: int = 1, reads: object = None) -> StepStarted:
        step = self.steps.setdefault((stage, item), 0) or self.ledger.new_id()
        self.steps[stage, item] = step
        fence = self.claim.fence
        return StepStarted(
            step, self.run.id, stage, item, fence, attempt, b"f" * 16, orjson.dumps(reads or {}), self.now()
        )

    def ended(
        self,
        stage: str,
        item: str = WHOLE,
        status: StepStatus = StepStatus.COMPLETED,
        *,
        attempt: int = 1,
        reason: str | None = None,
        warnings: tuple[str, ...] = (),
        final: bool = True,
        reused_from: int | None = None,
    ) -> StepEnded:
        return StepEnded(
            step=self.steps[stage, item],
            run=self.run.id,
            fence=self.claim.fence,
            attempt=attempt,
            status=status,
            at=self.now(),
            reason=reason,
            warnings=warnings,
            final=final,
            reused_from=reused_from,
        )

    def made(
        self, stage: str, item: str = WHOLE, data: object = None, *, by: str = "stage", step: int | None = None
    ) -> OutputMade:
        text = data if isinstance(data, bytes) else orjson.dumps(data)
        step = step or self.steps[stage, item]
        return OutputMade(
            self.ledger.new_id(), self.run.id, step, stage, item, text, content_hash(text), by, self.now()
        )

    def removed(self, stage: str, item: str = WHOLE, *, step: int | None = None) -> OutputRemoved:
        step = step or self.steps[stage, item]
        return OutputRemoved(self.ledger.new_id(), self.run.id, step, stage, item, "stage", self.now())

    async def step(
        self, stage: str, item: str = WHOLE, data: object = None, *, reads: object = None, **ended: object
    ) -> int:
        """A whole step, durable; gives its output's id."""
        started = self.started(stage, item, reads=reads)
        made = self.made(stage, item, data)
        await self.ledger.write(started, made, self.ended(stage, item, **ended))  # type: ignore[arg-type]  passed on
        return made.id

    def sent(self, request: Request, step: int | None = None, *, occurrence: int = 0, attempt: int = 1) -> ExchangeSent:
        return ExchangeSent(
            id=self.ledger.new_id(),
            run=self.run.id,
            step=step,
            attempt=attempt,
            occurrence=occurrence,
            try_number=1,
            kind=request.kind,
            provider=request.provider,
            model=request.model,
            method=request.method,
            url=request.url,
            headers=orjson.dumps(dict(request.headers)),
            request_hash=request.digest(),
            segments=request.segments,
            prepared_at=self.now(),
            sent_at=self.now(),
        )

    def received(self, exchange: int, body: bytes, *, status: int = 200, cost: int | None = None) -> ExchangeReceived:
        charge = None
        if cost is not None:
            usage = Usage(100, 20, 40, 10, 5)
            charge = Charge(usage, b'{"prompt_tokens": 100}', cost, "2026-11", "genai-prices", "m-2026", "stop")
        return ExchangeReceived(exchange, status, b'{"x-request-id": "r"}', body, charge, self.now())

    async def exchange(self, request: Request, step: int | None, body: bytes, *, cost: int | None = None) -> int:
        """A whole exchange, durable; gives its id."""
        sent = self.sent(request, step)
        await self.ledger.write(sent)
        await self.ledger.write(self.received(sent.id, body, cost=cost))
        return sent.id


@pytest.fixture(params=["sqlite", "memory", "postgres", "pooled"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger of each kind is."""
    if request.param in {"postgres", "pooled"}:
        return str(request.getfixturevalue(request.param))
    return str(tmp_path / "ledger.db") if request.param == "sqlite" else ":memory:"


@pytest.fixture(params=["sqlite", "postgres", "pooled"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger is that several processes can open."""
    if request.param in {"postgres", "pooled"}:
        return str(request.getfixturevalue(request.param))
    return str(tmp_path / "ledger.db")


@pytest.fixture
async def ledger(place: str) -> AsyncIterator[Ledger]:
    async with await Ledger.open(place) as opened:
        yield opened


@pytest.fixture
async def file_ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger in a file, for what only files have."""
    async with await Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def new_run() -> Callable[..., NewRun]:
    def make(given: bytes = b'{"title": "Moby"}', **changes: object) -> NewRun:
        made = {"definition": DEFINITION, "source": "book.py:scan", "settings": b"{}", **changes}
        return NewRun(pipeline="book", input=given, **made)  # type: ignore[arg-type]  passed on

    return make


@pytest.fixture
def begin(new_run: Callable[..., NewRun]) -> Callable[..., Awaitable[Drive]]:
    """Create a run and claim it."""

    async def make(ledger: Ledger, given: bytes = b'{"title": "Moby"}', **changes: object) -> Drive:
        run = await ledger.create_run(new_run(given, **changes))
        return Drive(ledger, run, await ledger.claim(run.run_id))

    return make


@pytest.fixture
async def drive(ledger: Ledger, begin: Callable[..., Awaitable[Drive]]) -> Drive:
    """A run of every kind of ledger."""
    return await begin(ledger)


@pytest.fixture
async def file_drive(file_ledger: Ledger, begin: Callable[..., Awaitable[Drive]]) -> Drive:
    """A run of a ledger in a file."""
    return await begin(file_ledger)
