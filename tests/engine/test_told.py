"""What a run tells its own stages: the call of an answer, what became of steps, and warnings."""

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel

from stagebook import Call, From, Key, Outcome, Pipeline, Rows, Text, Warn
from stagebook.engine.drive import Stop
from stagebook.model.errors import DefinitionError
from stagebook.model.usage import dollars
from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Rule, Script

MODEL = "openai:gpt-4.1-mini"


class Book(BaseModel):
    pages: int = 3


class Page(BaseModel):
    number: Annotated[int, Key]


class Note(BaseModel):
    text: Text
    call: Call = Call()


class Label(BaseModel):
    word: str
    call: Call = Call()


class Report(BaseModel):
    lines: list[str]


def book() -> Pipeline:
    pipeline = Pipeline("book", input=Book, model=MODEL)

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        for number in range(1, book.pages + 1):
            yield Page(number=number)

    return pipeline


def noted(*, tell_outcomes: bool = True) -> Pipeline:
    pipeline = book()

    @pipeline.prompt(each=Page, text="Note {{ page.number }}.", returns=Note, on_error="collect")
    def note(page: Page) -> None: ...

    if tell_outcomes:

        @pipeline.stage()
        def report(outcomes: Annotated[list[Outcome], From("note")], notes: list[Note]) -> Report:
            assert {one.asked for one in outcomes} <= {MODEL}
            told = [f"{one.stage}[{one.item}] {one.status}: {one.reason}" for one in outcomes]
            return Report(lines=[*told, f"{len(notes)} notes"])

    return pipeline


async def test_an_answer_tells_of_its_call(bench: Any) -> None:
    run, _ = await bench.run(noted(), Book(pages=2))
    kept = [orjson.loads(data)["call"] for data in (await bench.outputs(run, "note")).values()]
    recorded = await bench.ledger.query(
        "SELECT input_tokens, output_tokens, cost, received_at - sent_at FROM exchanges ORDER BY step"
    )
    assert sorted((one["input_tokens"], one["output_tokens"], one["cost_usd"]) for one in kept) == sorted(
        (read, wrote, dollars(cost)) for read, wrote, cost, _ in recorded.rows
    )
    assert {one["duration_ms"] for one in kept} <= {took // 1000 for *_, took in recorded.rows}
    assert all(one["model"].startswith("gpt-4.1-mini") and one["finish_reason"] == "stop" for one in kept)
    assert all(one["finished_at"].endswith("Z") for one in kept)
    assert {one["asked"] for one in kept} == {MODEL}


async def test_nobody_asks_the_model_for_the_call(bench: Any) -> None:
    pipeline = book()

    @pipeline.prompt(each=Page, text="Label {{ page.number }}.", returns=Label)
    def label(page: Page) -> None: ...

    run, _ = await bench.run(pipeline, Book(pages=1))
    schema = orjson.loads(pipeline.check().stages["label"].prompt.schema or b"")  # type: ignore[union-attr]  a prompt
    assert list(schema["properties"]) == ["word"]
    assert "$defs" not in schema
    (data,) = (await bench.outputs(run, "label")).values()
    assert orjson.loads(data)["call"]["input_tokens"] > 0
    assert pipeline.check().stages["label"].prompt.call_field == "call"  # type: ignore[union-attr]  a prompt


async def test_what_a_model_writes_of_its_call_is_not_believed(bench: Any) -> None:
    pipeline = book()

    @pipeline.prompt(each=Page, text="Label {{ page.number }}.", returns=Label)
    def label(page: Page) -> None: ...

    lie = orjson.dumps({"word": "x", "call": {"model": "gpt-99", "cost_usd": "0"}}).decode()
    bench.provider.use(Script(rules=[Rule(answer=lie)]))
    run, _ = await bench.run(pipeline, Book(pages=1))
    (data,) = (await bench.outputs(run, "label")).values()
    assert orjson.loads(data)["call"]["model"].startswith("gpt-4.1-mini")


async def test_a_resumed_step_tells_of_the_call_that_was_paid_for(bench: Any) -> None:
    pipeline = book()
    stop = Stop()
    seen: list[str] = []

    @pipeline.prompt(each=Page, text="Note {{ page.number }}.", returns=Note)
    def note(page: Page) -> None: ...

    @note.check
    async def first_time_it_stops(note: Note) -> None:
        seen.append(note.call.model)
        if len(seen) == 1:
            stop.now("stopped by the test")
            import asyncio

            await asyncio.sleep(10)

    run = await bench.begin(pipeline, Book(pages=1))
    await bench.carry_on(run, pipeline, stop=stop)
    assert await bench.outputs(run, "note") == {}
    await bench.carry_on(run, pipeline)
    assert len(bench.provider.bill.entries) == 1
    (data,) = (await bench.outputs(run, "note")).values()
    call = orjson.loads(data)["call"]
    table = await bench.ledger.query("SELECT input_tokens, cost, received_at - sent_at FROM exchanges")
    assert (call["input_tokens"], call["cost_usd"], call["duration_ms"]) == (
        table.rows[0][0],
        dollars(int(table.rows[0][1])),
        int(table.rows[0][2]) // 1000,
    )
    assert seen[0] == seen[1] != ""


async def test_a_stage_reads_what_became_of_failed_steps(bench: Any) -> None:
    bench.provider.use(Script(rules=[Rule(contains="Note 2.", faults=(ErrorStatus(status=400),))]))
    run, _ = await bench.run(noted(), Book(pages=3))
    (data,) = (await bench.outputs(run, "report")).values()
    lines = orjson.loads(data)["lines"]
    assert lines[-1] == "2 notes"
    assert len(lines) == 2
    assert lines[0].startswith("note[2] failed: ")
    assert "400" in lines[0]


async def test_a_stage_warns_without_failing_and_others_read_it(bench: Any) -> None:
    pipeline = Pipeline("book", input=Book)

    @pipeline.stage()
    def pages(book: Book, warn: Warn) -> Iterator[Page]:
        warn("page 7 is torn")
        yield Page(number=1)

    @pipeline.stage(each=Page)
    def torn(page: Page, warn: Warn) -> Report:
        warn(f"page {page.number} is stained")
        return Report(lines=[])

    @pipeline.stage()
    def report(outcomes: Annotated[list[Outcome], From("pages", "torn")]) -> Report:
        return Report(lines=[f"{one.stage}[{one.item}] {one.status}: {one.warnings}" for one in outcomes])

    run, _ = await bench.run(pipeline, Book())
    (data,) = (await bench.outputs(run, "report")).values()
    assert orjson.loads(data)["lines"] == [
        "pages[] completed: ('page 7 is torn',)",
        "torn[1] completed: ('page 1 is stained',)",
    ]


async def test_rows_are_read_with_their_keys_and_by_key(bench: Any) -> None:
    pipeline = noted(tell_outcomes=False)

    @pipeline.stage()
    async def joined(pages: Rows[Page], notes: Rows[Note]) -> Report:
        lines = []
        async for key, page in pages.items():
            note = await notes.get(key)
            lines.append(f"{key}={page.number}:{'answered' if note is not None else 'failed'}")
        return Report(lines=lines)

    bench.provider.use(Script(rules=[Rule(contains="Note 2.", faults=(ErrorStatus(status=400),))]))
    run, _ = await bench.run(pipeline, Book(pages=3))
    (data,) = (await bench.outputs(run, "joined")).values()
    assert orjson.loads(data)["lines"] == ["1=1:answered", "2=2:failed", "3=3:answered"]


def test_outcomes_without_a_stage_are_refused() -> None:
    pipeline = book()

    @pipeline.stage()
    def report(outcomes: list[Outcome]) -> Report: ...

    with pytest.raises(DefinitionError, match=r"it is not said of which stages.*From\('stage', \.\.\.\)"):
        pipeline.check()


def test_a_call_without_a_default_is_refused() -> None:
    class Bare(BaseModel):
        text: Text
        call: Call

    pipeline = book()

    @pipeline.prompt(each=Page, text="{{ page.number }}", returns=Bare)
    def note(page: Page) -> None: ...

    with pytest.raises(DefinitionError, match=r"Bare\.call is a Call without a default.*call: Call = Call\(\)"):
        pipeline.check()
