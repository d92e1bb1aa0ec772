import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel

from stagebook import Children, Key, Pipeline


class Book(BaseModel):
    pages: int = 3


class Page(BaseModel):
    name: Annotated[str, Key]


class Line(BaseModel):
    name: Annotated[str, Key]


class Word(BaseModel):
    name: Annotated[str, Key]


class Shout(BaseModel):
    text: str


class Notes(BaseModel):
    words: list[str]


class Found(BaseModel):
    lines: list[str]
    words: list[str]
    shouts: list[str]
    notes: list[list[str]]


def pipeline_whose_last_page_is_first() -> Pipeline:
    """Later pages yield before earlier ones do, and in each page the second line before the first."""
    pipeline = Pipeline("backwards", input=Book)
    done: dict[str, asyncio.Event] = {}

    def event(name: str) -> asyncio.Event:
        return done.setdefault(name, asyncio.Event())

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        for number in range(book.pages):
            yield Page(name=f"p{number}")

    @pipeline.stage(each=Page)
    async def lines(page: Page, book: Book) -> AsyncIterator[Line]:
        number = int(page.name[1:])
        if number + 1 < book.pages:
            await event(f"p{number + 1}").wait()
        for line in range(2):
            yield Line(name=f"l{line}")
        event(page.name).set()

    @pipeline.stage(each=Line)
    async def words(line: Line, page: Page) -> AsyncIterator[Word]:
        if line.name == "l0":
            await event(f"{page.name}/l1").wait()
        yield Word(name=f"{page.name}-{line.name}-a")
        yield Word(name=f"{page.name}-{line.name}-b")
        event(f"{page.name}/{line.name}").set()

    @pipeline.stage(each=Word)
    def shout(word: Word) -> Shout:
        return Shout(text=word.name.upper())

    @pipeline.stage(each=Page)
    def notes(page: Page, words: Children[Word]) -> Notes:
        return Notes(words=[word.name for word in words])

    @pipeline.stage()
    def found(lines: list[Line], words: list[Word], shouts: list[Shout], notes: list[Notes]) -> Found:
        return Found(
            lines=[line.name for line in lines],
            words=[word.name for word in words],
            shouts=[one.text for one in shouts],
            notes=[one.words for one in notes],
        )

    return pipeline


@pytest.mark.timeout(20)
async def test_items_below_items_are_gathered_in_the_order_of_their_items_and_not_of_their_arrival(bench: Any) -> None:
    run, ended = await bench.run(pipeline_whose_last_page_is_first(), Book())
    assert ended.finished, await bench.reasons(run)
    found = orjson.loads((await bench.outputs(run, "found"))[""])
    in_order = [f"p{page}-l{line}-{word}" for page in range(3) for line in range(2) for word in "ab"]
    assert found["words"] == in_order
    assert found["shouts"] == [word.upper() for word in in_order]
    assert found["notes"] == [in_order[start : start + 4] for start in (0, 4, 8)]
    assert found["lines"] == ["l0", "l1"] * 3
