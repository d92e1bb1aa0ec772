"""NUL characters, which no ledger can hold: a stage reads what a resumed one would read."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel

from stagebook import Key, Pipeline, Text
from stagebook.engine.drive import Stop


class Book(BaseModel):
    pages: int = 1


class Page(BaseModel):
    number: Annotated[int, Key]
    text: str


class Note(BaseModel):
    text: Text


async def test_a_call_whose_prompt_held_a_nul_is_not_paid_for_again_by_a_resume(bench: Any) -> None:
    pipeline = Pipeline("book", input=Book, model="openai:gpt-4.1-mini")
    stop = Stop()
    seen: list[str] = []

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        yield Page(number=1, text="before\0after")

    @pipeline.prompt(each=Page, text="Note {{ page.text }}.", returns=Note)
    def note(page: Page) -> None: ...

    @note.check
    async def the_first_time_it_stops(note: Note, page: Page) -> None:
        seen.append(page.text)
        if len(seen) == 1:
            stop.now("stopped by the test")
            await asyncio.sleep(10)

    run = await bench.begin(pipeline, Book())
    await bench.carry_on(run, pipeline, stop=stop)
    await bench.carry_on(run, pipeline)
    assert seen == ["before\ufffdafter"] * 2
    assert len(bench.provider.bill.entries) == 1
