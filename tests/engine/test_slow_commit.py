"""A step that was made in time is completed, however long its commit takes."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stagebook import Key, Pipeline, Skip, Text
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError


class Book(BaseModel):
    title: str = "Moby"


class Report(BaseModel):
    text: Text


class Following(BaseModel):
    after: str


class Page(BaseModel):
    number: Annotated[int, Key]


class Blocker:
    """Another process's hold on the database: while it lasts, nothing is committed."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


def in_a_thread(pipeline: Pipeline, begin: Callable[[], None]) -> None:
    @pipeline.stage(timeout=0.3)
    def report(book: Book) -> Report:
        begin()
        return Report(text="made")


def on_the_loop(pipeline: Pipeline, begin: Callable[[], None]) -> None:
    @pipeline.stage(timeout=0.3)
    async def report(book: Book) -> Report:
        begin()
        return Report(text="made")


def by_a_model(pipeline: Pipeline, begin: Callable[[], None]) -> None:
    @pipeline.prompt(text="{{ book.title }}", returns=Report, model="openai:gpt-4.1-mini", timeout=3)
    def report(book: Book) -> None: ...

    @report.check
    def it_is_made(report: Report) -> None:
        begin()


def skipped(pipeline: Pipeline, begin: Callable[[], None]) -> None:
    @pipeline.stage(timeout=0.3)
    async def report(book: Book) -> Report | Skip:
        begin()
        return Skip("nothing to report")


def as_items(pipeline: Pipeline, begin: Callable[[], None]) -> None:
    @pipeline.stage(timeout=0.5)
    async def report(book: Book) -> AsyncIterator[Page]:
        yield Page(number=1)
        begin()


def in_two_attempts(pipeline: Pipeline, begin: Callable[[], None]) -> None:
    @pipeline.stage(timeout=0.3, attempts=2)
    def report(book: Book) -> Report:
        begin()
        return Report(text="made")


@pytest.mark.parametrize("declare", [in_a_thread, on_the_loop, by_a_model, skipped, as_items, in_two_attempts])
async def test_a_step_made_in_time_is_completed_when_its_commit_takes_longer(
    bench: Any, tmp_path: Any, declare: Callable[[Pipeline, Callable[[], None]], None]
) -> None:
    pipeline = Pipeline("book", input=Book)
    blocker = Blocker(str(tmp_path / "ledger.db"))
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin() -> None:
        blocker.begin()
        loop.call_soon_threadsafe(began.set)

    declare(pipeline, begin)
    run = await bench.begin(pipeline, Book())
    driving = asyncio.create_task(bench.carry_on(run, pipeline))
    await began.wait()
    await asyncio.sleep(4 if declare is by_a_model else 0.8)
    blocker.end()
    ended = await driving
    assert ended.finished
    became = "skipped" if declare is skipped else "completed"
    assert await bench.steps(run) == {("report", ""): became}
    attempts = await bench.ledger.query("SELECT status FROM attempts")
    assert attempts.rows == [(became,)]
    events = await bench.ledger.query("SELECT kind FROM events WHERE kind IN ('completed', 'skipped', 'failed')")
    assert events.rows == [(became,)]
    assert list(await bench.outputs(run, "report")) == {skipped: [], as_items: ["1"]}.get(declare, [""])


@pytest.mark.parametrize("declare", [in_a_thread, on_the_loop])
async def test_a_step_made_in_time_whose_commit_fails_is_not_completed(
    tmp_path: Any, declare: Callable[[Pipeline, Callable[[], None]], None]
) -> None:
    pipeline = Pipeline("book", input=Book)
    blocker = Blocker(str(tmp_path / "ledger.db"))
    declare(pipeline, blocker.begin)

    @pipeline.stage()
    def following(report: Report) -> Following:
        return Following(after=report.text)

    graph = pipeline.check()
    async with await Ledger.open(tmp_path / "ledger.db", busy_seconds=0.6) as ledger:
        run = await begin(Start(graph, "test", Book(), Settings()), Site(ledger, {}))
        driving = asyncio.create_task(carry_on(run, graph, Site(ledger, {})))
        await asyncio.sleep(1.5)
        blocker.end()
        with pytest.raises(LedgerError, match=r"busy|locked"):
            await driving
        assert await ledger.outputs(run.id) == []
        assert [(step.stage, step.status.value) for step in await ledger.steps(run.id)] in ([], [("report", "running")])
