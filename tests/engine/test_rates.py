"""Runs against a provider that lets only so much through."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel
from tests.engine.conftest import Bench

from stagebook import Key, Pipeline
from stagebook.door import rate
from stagebook.engine.drive import Stop
from stagebook.ledger.store import Ledger
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_limit import RateLimit

WINDOW = 1.0


class Book(BaseModel):
    pages: int


class Page(BaseModel):
    number: Annotated[int, Key]


class Label(BaseModel):
    word: str


pipeline = Pipeline("labels", input=Book, model="openai:gpt-4.1-mini")


@pipeline.stage()
def pages(book: Book) -> Iterator[Page]:
    yield from (Page(number=number) for number in range(book.pages))


@pipeline.prompt(each=Page, returns=Label, text="Label page {{ page.number }}, which is about ink.", max_tokens=100)
def label(page: Page) -> None: ...


@asynccontextmanager
async def limited(folder: Path, **limit: int) -> AsyncIterator[Bench]:
    async with (
        FakeProvider(rate_limit=RateLimit(**limit, window=WINDOW)) as provider,
        await Ledger.open(folder / "ledger.db") as ledger,
    ):
        yield Bench(ledger, provider)


@pytest.fixture(autouse=True)
def _short_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "WINDOW_SECONDS", WINDOW)
    monkeypatch.setattr("stagebook.engine.pacing.WINDOW_SECONDS", WINDOW)
    monkeypatch.setattr(rate, "SLACK_SECONDS", 1.0)


async def statuses(bench: Bench) -> dict[int, int]:
    found = await bench.ledger.query("SELECT http_status, count(*) FROM exchanges GROUP BY 1")
    return {int(str(status)): int(str(count)) for status, count in found.rows}


@pytest.mark.parametrize(
    ("limit", "told"), [({"requests": 40}, "40"), ({"tokens": 6000}, "/6000")], ids=["requests", "tokens"]
)
async def test_a_limit_that_is_told_is_kept(tmp_path: Path, limit: dict[str, int], told: str) -> None:
    async with limited(tmp_path, **limit) as bench:
        began = time.monotonic()
        run, ended = await bench.run(pipeline, Book(pages=110), concurrency=64, limits={"openai:gpt-4.1-mini": told})
        assert ended.finished
        assert time.monotonic() - began > 2 * WINDOW
        assert await statuses(bench) == {200: 110}
        assert len(bench.provider.bill.charged) == 110
        assert (await bench.ledger.run(run.run_id)).settings.count(told.encode()) == 1


async def test_without_being_told_a_run_heeds_what_it_is_answered(tmp_path: Path) -> None:
    async with limited(tmp_path, requests=30) as bench:
        _, ended = await bench.run(pipeline, Book(pages=90), concurrency=64)
        assert ended.finished
        assert not ended.failed
        answered = await statuses(bench)
        assert answered[200] == 90
        assert answered[429] > 0
        assert len(bench.provider.bill.charged) == 90


async def test_a_run_that_is_told_to_stop_does_not_wait_for_turns(tmp_path: Path) -> None:
    async with limited(tmp_path, requests=1000) as bench:
        run = await bench.begin(pipeline, Book(pages=30), concurrency=16, limits={"openai": "3/"})
        stop = Stop()

        async def soon() -> None:
            while not bench.provider.bill.charged:
                await asyncio.sleep(0.01)
            stop.finish("told")

        _, ended = await asyncio.gather(soon(), bench.carry_on(run, pipeline, stop))
        assert (ended.finished, ended.failed, ended.stopped) == (False, (), "told")
        assert await statuses(bench) == {200: 3}
        assert "failed" not in (await bench.steps(run)).values()
        assert (await bench.carry_on(run, pipeline, Stop())).finished
        assert await statuses(bench) == {200: 30}


async def test_what_another_process_has_just_sent_counts_too(tmp_path: Path) -> None:
    async with limited(tmp_path, requests=40) as bench:
        settings = {"concurrency": 64, "limits": {"openai": "40"}}
        await bench.run(pipeline, Book(pages=40), **settings)
        other = Bench(bench.ledger, bench.provider)  # its lanes know of nothing
        _, ended = await other.run(pipeline, Book(pages=40), **settings)
        assert ended.finished
        assert await statuses(bench) == {200: 80}
