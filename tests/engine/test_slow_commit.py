"""A step that was made in time is completed, however long its commit takes."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import Pipeline, Text


class Book(BaseModel):
    title: str = "Moby"


class Report(BaseModel):
    text: Text


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


@pytest.mark.parametrize("declare", [in_a_thread, on_the_loop, by_a_model])
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
    assert await bench.steps(run) == {("report", ""): "completed"}
    attempts = await bench.ledger.query("SELECT status FROM attempts")
    assert attempts.rows == [("completed",)]
    assert list(await bench.outputs(run, "report")) == [""]
