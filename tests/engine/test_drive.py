import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, Field, computed_field

from stagebook import Children, Complaint, Door, From, Item, Key, Llm, Pipeline, Rows, Skip, Text
from stagebook.engine.drive import Stop
from stagebook.engine.progress import Progress
from stagebook.model.errors import MissingKey, RunIsDriven
from stagebook.testing.provider_faults import Delay, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

MODEL = "openai:gpt-4.1-mini"


class Book(BaseModel):
    pages: int = 3


class Page(BaseModel):
    number: Annotated[int, Key]
    text: str = ""


class Label(BaseModel):
    word: str = Field(min_length=2)


class Mark(BaseModel):
    word: str


class Loud(Mark):
    volume: int


class Line(BaseModel):
    name: Annotated[str, Key]


class Count(BaseModel):
    total: int
    words: list[str] = []


class Tally(BaseModel):
    text: str


class Post(BaseModel):
    text: Text

    @computed_field
    @property
    def word_count(self) -> int:
        return len(self.text.split())


def book_pipeline() -> Pipeline:
    pipeline = Pipeline("book", input=Book)

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        for number in range(1, book.pages + 1):
            yield Page(number=number, text=f"page {number}")

    return pipeline


async def test_the_ledger_knows_what_the_bill_says(bench: Any) -> None:
    pipeline = book_pipeline()

    @pipeline.prompt(each=Page, text="Label {{ page.text }}.", returns=Label, model=MODEL)
    def label(page: Page) -> None: ...

    @pipeline.stage()
    def count(labels: list[Label]) -> Count:
        return Count(total=len(labels))

    @pipeline.prompt(text="Write about {{ count.total }} pages.", returns=Post, model=MODEL)
    def post(count: Count) -> None: ...

    run, ended = await bench.run(pipeline, Book(pages=7))
    assert ended.finished
    assert await bench.cost(run) == bench.provider.bill.total() > 0
    assert len(bench.provider.bill.charged) == 8
    assert await bench.outputs(run, "count") == {"": b'{"total":7,"words":[]}'}
    written = orjson.loads((await bench.outputs(run, "post"))[""])
    assert written["word_count"] == len(written["text"].split()) > 0


async def test_a_finished_run_is_not_run_again(bench: Any) -> None:
    pipeline = book_pipeline()

    @pipeline.prompt(each=Page, text="Label {{ page.text }}.", returns=Label, model=MODEL)
    def label(page: Page) -> None: ...

    run, _ = await bench.run(pipeline, Book())
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    assert len(bench.provider.bill.entries) == 3


async def test_page_one_is_labelled_while_later_pages_are_still_being_read(bench: Any) -> None:
    pipeline = Pipeline("book", input=Book)
    labelled = asyncio.Event()
    order: list[str] = []

    @pipeline.stage()
    async def pages(book: Book) -> AsyncIterator[Page]:
        yield Page(number=1)
        await labelled.wait()
        order.append("read on")
        yield Page(number=2)

    @pipeline.stage(each=Page)
    async def mark(page: Page) -> Mark:
        order.append(f"mark {page.number}")
        labelled.set()
        return Mark(word="x")

    _, ended = await bench.run(pipeline, Book())
    assert ended.finished
    assert order == ["mark 1", "read on", "mark 2"]


async def test_a_complaint_goes_back_with_its_reason_and_both_answers_are_paid(bench: Any) -> None:
    bench.provider.use(Script(rules=[Rule(contains="Label", answer=['{"word": "bad"}', '{"word": "good"}'])]))
    pipeline = Pipeline("one", input=Book)

    @pipeline.prompt(text="Label {{ book.pages }}.", returns=Label, model=MODEL)
    def label(book: Book) -> None: ...

    @label.check
    def is_good(label: Label, book: Book) -> list[str]:
        if label.word == "bad":
            raise Complaint(f"{label.word} is not allowed for {book.pages} pages")
        return ["only just good"]

    run, ended = await bench.run(pipeline, Book())
    assert ended.finished
    assert await bench.outputs(run, "label") == {"": b'{"word":"good"}'}
    turns = bench.provider.requests[-1].messages
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert "not allowed for 3 pages" in turns[-1]["content"]
    assert await bench.cost(run) == bench.provider.bill.total()
    assert (await bench.ledger.steps(run.id))[0].warnings == ("only just good",)


async def test_tries_used_up_fail_the_step_and_a_later_resume_asks_on(bench: Any) -> None:
    bench.provider.use(Script(rules=[Rule(contains="Label", answer=['{"word": "x"}'] * 3 + ['{"word": "fine"}'])]))
    pipeline = Pipeline("one", input=Book)

    @pipeline.prompt(text="Label {{ book.pages }}.", returns=Label, model=MODEL, tries=3)
    def label(book: Book) -> None: ...

    run, ended = await bench.run(pipeline, Book())
    assert not ended.finished
    assert "at least 2 characters" in (await bench.reasons(run))["label"]
    assert len(bench.provider.bill.entries) == 3
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    assert len(bench.provider.bill.entries) == 4, "what was answered before is replayed, not paid again"


async def test_a_complaint_that_does_not_insist_becomes_a_warning_when_the_tries_are_used_up(bench: Any) -> None:
    pipeline = Pipeline("one", input=Book)

    @pipeline.prompt(text="Label {{ book.pages }}.", returns=Label, model=MODEL, tries=2)
    def label(book: Book) -> None: ...

    @label.check
    def is_good(label: Label) -> None:
        raise Complaint("never good enough", insist=False)

    run, ended = await bench.run(pipeline, Book())
    assert ended.finished
    assert len(bench.provider.bill.charged) == 2
    assert (await bench.ledger.steps(run.id))[0].warnings == ("never good enough",)


async def test_leniently_the_last_answer_is_accepted_with_a_warning(bench: Any) -> None:
    bench.provider.use(Script(rules=[Rule(contains="Label", answer='{"word": "x"}')]))
    pipeline = Pipeline("one", input=Book)

    @pipeline.prompt(text="Label {{ book.pages }}.", returns=Label, model=MODEL, tries=2)
    def label(book: Book) -> None: ...

    @pipeline.stage()
    def count(label: Label) -> Count:
        return Count(total=len(label.word))

    run, ended = await bench.run(pipeline, Book(), lenient=True)
    assert ended.finished
    assert await bench.outputs(run, "count") == {"": b'{"total":1,"words":[]}'}
    warnings = [step.warnings for step in await bench.ledger.steps(run.id) if step.stage == "label"]
    assert "leniently" in warnings[0][0]


async def test_a_failure_stops_the_run_and_resume_does_only_what_failed(bench: Any) -> None:
    pipeline = book_pipeline()
    broken = [True]
    calls: list[int] = []

    @pipeline.stage(each=Page)
    def mark(page: Page) -> Mark:
        calls.append(page.number)
        if page.number == 2 and broken[0]:
            raise ValueError("page is torn")
        return Mark(word=f"w{page.number}")

    @pipeline.stage()
    def count(marks: list[Mark]) -> Count:
        return Count(total=len(marks), words=[mark.word for mark in marks])

    run, ended = await bench.run(pipeline, Book(pages=3))
    assert not ended.finished
    failed = next(step for step in await bench.ledger.steps(run.id) if step.status == "failed")
    assert failed.item == "2"
    assert "ValueError: page is torn" in (failed.reason or "")
    assert "test_drive.py:" in (failed.reason or "")
    broken[0] = False
    calls.clear()
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    assert 2 in calls
    assert await bench.outputs(run, "count") == {"": b'{"total":3,"words":["w1","w2","w3"]}'}


async def test_collected_errors_leave_their_items_out_and_a_resume_brings_them_in(bench: Any) -> None:
    pipeline = book_pipeline()
    broken = [True]
    counted: list[int] = []

    @pipeline.stage(each=Page, on_error="collect")
    def mark(page: Page) -> Mark:
        if page.number == 2 and broken[0]:
            raise ValueError("torn")
        return Mark(word=f"w{page.number}")

    @pipeline.stage(each=Page)
    def shout(mark: Mark) -> Label:
        return Label(word=mark.word.upper())

    @pipeline.stage()
    def count(marks: list[Mark], labels: list[Label]) -> Count:
        counted.append(len(marks))
        return Count(total=len(marks), words=[label.word for label in labels])

    run, ended = await bench.run(pipeline, Book(pages=3))
    assert ended.finished
    assert await bench.outputs(run, "count") == {"": b'{"total":2,"words":["W1","W3"]}'}
    assert (await bench.steps(run))["shout", "2"] == "skipped"
    broken[0] = False
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    assert await bench.outputs(run, "count") == {"": b'{"total":3,"words":["W1","W2","W3"]}'}
    assert counted == [2, 3]
    await bench.carry_on(run, pipeline)
    assert counted == [2, 3], "nothing changed, nothing is computed again"


async def test_a_skip_is_done_costs_nothing_and_is_read_as_none_where_that_is_allowed(bench: Any) -> None:
    pipeline = Pipeline("skips", input=Book)

    @pipeline.stage()
    def mark(book: Book) -> Mark | Skip:
        return Skip("too short") if book.pages < 5 else Mark(word="long")

    @pipeline.stage()
    def label(mark: Mark) -> Label:
        return Label(word=mark.word)

    @pipeline.stage()
    def count(mark: Mark | None) -> Count:
        return Count(total=0 if mark is None else 1)

    run, ended = await bench.run(pipeline, Book(pages=1))
    assert ended.finished
    assert await bench.steps(run) == {("mark", ""): "skipped", ("label", ""): "skipped", ("count", ""): "completed"}
    reasons = await bench.reasons(run)
    assert reasons["mark"] == "too short"
    assert "mark" in reasons["label"]


async def test_every_way_to_gather_gives_what_it_says(bench: Any) -> None:
    pipeline = book_pipeline()

    @pipeline.stage(each=Page)
    def lines(page: Page) -> Iterator[Line]:
        for name in "ab"[: page.number]:
            yield Line(name=name)

    @pipeline.stage(each=Line)
    def mark(line: Line, page: Page) -> Mark:
        return Mark(word=f"{page.number}{line.name}")

    @pipeline.stage(each=Page)
    def label(page: Page, marks: Children[Mark], lines: Children[Line]) -> Label:
        return Label(word=f"{page.number}:" + "+".join(mark.word for mark in marks) + str(len(lines)))

    @pipeline.stage()
    async def from_rows(rows: Rows[Mark]) -> Count:
        return Count(total=len(rows), words=[row.word async for row in rows])

    @pipeline.stage()
    def by_item(labels: dict[str, Label], second: Annotated[Label, Item("2")]) -> Count:
        return Count(total=len(labels), words=[*labels, second.word])

    @pipeline.stage()
    def both(counts: dict[str, Count]) -> Post:
        return Post(text=" ".join(f"{name}={count.words}" for name, count in sorted(counts.items())))

    @pipeline.stage()
    def listed(counts: Annotated[list[Count], From("by-item", "from-rows")]) -> Tally:
        return Tally(text=str([count.total for count in counts]))

    run, ended = await bench.run(pipeline, Book(pages=2))
    assert ended.finished, await bench.reasons(run)
    outputs = {item: orjson.loads(data)["word"] for item, data in (await bench.outputs(run, "label")).items()}
    assert outputs == {"1": "1:1a1", "2": "2:2a+2b2"}
    assert orjson.loads((await bench.outputs(run, "from-rows"))[""])["words"] == ["1a", "2a", "2b"]
    assert orjson.loads((await bench.outputs(run, "by-item"))[""])["words"] == ["1", "2", "2:2a+2b2"]
    assert orjson.loads((await bench.outputs(run, "listed"))[""])["text"] == "[2, 3]"
    assert set(await bench.outputs(run, "mark")) == {"1/a", "2/a", "2/b"}


async def test_what_is_read_through_a_base_class_keeps_its_own_fields(bench: Any) -> None:
    pipeline = Pipeline("bases", input=Book)

    @pipeline.stage()
    def loud(book: Book) -> Loud:
        return Loud(word="w", volume=11)

    @pipeline.stage()
    def heard(marks: Annotated[dict[str, Mark], From("loud")]) -> Tally:
        return Tally(text=repr(marks["loud"]))

    @pipeline.stage()
    def read(mark: Annotated[Mark, From("loud")]) -> Count:
        return Count(total=mark.volume if isinstance(mark, Loud) else 0)

    run, ended = await bench.run(pipeline, Book())
    assert ended.finished, await bench.reasons(run)
    assert orjson.loads((await bench.outputs(run, "read"))[""])["total"] == 11


async def test_a_key_given_twice_is_an_error(bench: Any) -> None:
    pipeline = Pipeline("twice", input=Book)

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        yield Page(number=1)
        yield Page(number=1, text="again")

    run, ended = await bench.run(pipeline, Book())
    assert not ended.finished
    assert "'1' twice" in (await bench.reasons(run))["pages"]


async def test_items_that_are_no_longer_yielded_are_withdrawn(bench: Any) -> None:
    pipeline = Pipeline("shrinks", input=Book)
    first = [True]

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        yield Page(number=1)
        if first[0]:
            yield Page(number=2)
            raise OSError("the scanner stopped")
        yield Page(number=3)

    @pipeline.stage()
    def count(pages: list[Page]) -> Count:
        return Count(total=len(pages), words=[str(page.number) for page in pages])

    run, ended = await bench.run(pipeline, Book())
    assert not ended.finished
    assert set(await bench.outputs(run, "pages")) == {"1", "2"}
    first[0] = False
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    assert await bench.outputs(run, "count") == {"": b'{"total":2,"words":["1","3"]}'}


async def test_until_runs_a_stage_and_what_stands_above_it_only(bench: Any) -> None:
    pipeline = book_pipeline()

    @pipeline.stage(each=Page)
    def mark(page: Page) -> Mark:
        return Mark(word="w")

    @pipeline.stage()
    def count(marks: list[Mark]) -> Count:
        return Count(total=len(marks))

    run, ended = await bench.run(pipeline, Book(), until="mark")
    assert ended.finished
    assert {stage for stage, _ in await bench.steps(run)} == {"pages", "mark"}


async def test_what_a_stage_does_to_its_input_does_not_reach_the_others(bench: Any) -> None:
    pipeline = book_pipeline()

    @pipeline.stage()
    def first(pages: list[Page], book: Book) -> Mark:
        pages[0].text = "spoilt"
        book.pages = 99
        return Mark(word="x")

    @pipeline.stage()
    def second(mark: Mark, pages: list[Page], book: Book) -> Count:
        return Count(total=book.pages, words=[page.text for page in pages])

    run, ended = await bench.run(pipeline, Book(pages=2))
    assert ended.finished
    assert await bench.outputs(run, "second") == {"": b'{"total":2,"words":["page 1","page 2"]}'}


async def test_told_to_finish_what_is_in_flight_is_kept_and_nothing_new_begins(bench: Any) -> None:
    pipeline = book_pipeline()
    stop = Stop()

    @pipeline.stage(each=Page)
    async def mark(page: Page) -> Mark:
        stop.finish("asked to")
        await asyncio.sleep(0.05)
        return Mark(word="w")

    run = await bench.begin(pipeline, Book(pages=9), concurrency=2)
    ended = await bench.carry_on(run, pipeline, stop)
    assert (ended.finished, ended.stopped) == (False, "asked to")
    done = [key for key, status in (await bench.steps(run)).items() if key[0] == "mark" and status == "completed"]
    assert 1 <= len(done) <= 2
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished


async def test_told_to_stop_now_the_call_in_flight_is_possibly_paid_and_the_others_are_not_repeated(bench: Any) -> None:
    bench.provider.use(Script(rules=[Rule(contains="page 3", faults=[Delay(seconds=30.0, times=1)])]))
    pipeline = book_pipeline()

    @pipeline.prompt(each=Page, text="Label {{ page.text }}.", returns=Label, model=MODEL)
    def label(page: Page) -> None: ...

    stop = Stop()
    run = await bench.begin(pipeline, Book(pages=3))
    driving = asyncio.create_task(bench.carry_on(run, pipeline, stop))
    while len(bench.provider.bill.entries) < 3 or len(await bench.outputs(run, "label")) < 2:
        await asyncio.sleep(0.01)
    stop.now("Ctrl-C")
    ended = await driving
    assert not ended.finished
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    table = await bench.ledger.query("select state, count(*) from exchanges group by 1 order by 1")
    assert [tuple(row) for row in table.rows] == [("lost", 1), ("parsed", 3)]
    assert len(bench.provider.bill.entries) == 4


async def test_retries_are_attempts_of_their_own_and_cost_nothing(bench: Any) -> None:
    bench.provider.use(
        Script(faults=[ErrorStatus(status=429, retry_after=0.05, times=2), ErrorStatus(status=500, times=1)])
    )
    pipeline = Pipeline("one", input=Book)

    @pipeline.prompt(text="Label {{ book.pages }}.", returns=Label, model=MODEL)
    def label(book: Book) -> None: ...

    run, ended = await bench.run(pipeline, Book())
    assert ended.finished
    table = await bench.ledger.query("select http_status, try_number from exchanges order by id")
    assert [tuple(row) for row in table.rows] == [(429, 1), (429, 2), (500, 3), (200, 4)]
    assert await bench.cost(run) == bench.provider.bill.total()


async def test_a_missing_key_is_told_before_anything_is_written(bench: Any) -> None:
    pipeline = Pipeline("one", input=Book)

    @pipeline.prompt(text="Label {{ book.pages }}.", returns=Label, model="groq:llama")
    def label(book: Book) -> None: ...

    with pytest.raises(MissingKey, match="GROQ_API_KEY"):
        await bench.begin(pipeline, Book())
    assert await bench.ledger.runs() == []


async def test_a_run_that_is_driven_is_not_driven_a_second_time(bench: Any) -> None:
    pipeline = Pipeline("slow", input=Book)
    going = asyncio.Event()

    @pipeline.stage()
    async def mark(book: Book) -> Mark:
        going.set()
        await asyncio.sleep(0.3)
        return Mark(word="w")

    run = await bench.begin(pipeline, Book())
    driving = asyncio.create_task(bench.carry_on(run, pipeline))
    await going.wait()
    with pytest.raises(RunIsDriven, match=run.run_id):
        await bench.carry_on(run, pipeline)
    assert (await driving).finished


async def test_a_stage_with_a_door_and_a_model_is_recorded_turn_by_turn(bench: Any) -> None:
    pipeline = Pipeline("agent", input=Book)
    broken = [True]

    @pipeline.stage()
    async def agent(book: Book, door: Door, llm: Llm) -> Mark:
        models = await door.get(
            bench.provider.base_url + "/models", headers={"authorization": "Bearer env:OPENAI_API_KEY"}
        )
        answers = [await llm.ask("say something") for _ in range(3)]
        label = await llm.ask_for(Label, "label it", system="be brief")
        if broken[0]:
            raise OSError("tripped")
        return Mark(word=f"{models.status} {len(answers)} {len(label.word) > 1}")

    run, ended = await bench.run(pipeline, Book(), model=MODEL)
    assert not ended.finished
    asked = len(bench.provider.requests)
    broken[0] = False
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished
    assert len(bench.provider.requests) == asked == 4
    assert await bench.outputs(run, "agent") == {"": b'{"word":"200 3 True"}'}


async def test_a_stage_that_takes_too_long_fails_and_one_that_trips_is_tried_again(bench: Any) -> None:
    pipeline = Pipeline("times", input=Book)
    tries: list[int] = []

    @pipeline.stage(timeout=0.05, on_error="collect")
    async def mark(book: Book) -> Mark:
        await asyncio.sleep(5)
        return Mark(word="never")

    @pipeline.stage(attempts=3)
    def label(book: Book) -> Label:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("again")
        return Label(word="third")

    run, ended = await bench.run(pipeline, Book())
    assert ended.finished
    assert "timeout of 0.05 s" in (await bench.reasons(run))["mark"]
    assert await bench.outputs(run, "label") == {"": b'{"word":"third"}'}
    attempts = {step.stage: step.attempts for step in await bench.ledger.steps(run.id)}
    assert attempts == {"mark": 1, "label": 3}


async def test_progress_counts_what_happens(bench: Any) -> None:
    pipeline = book_pipeline()

    @pipeline.prompt(each=Page, text="Label {{ page.text }}.", returns=Label, model=MODEL)
    def label(page: Page) -> None: ...

    progress = Progress()
    run = await bench.begin(pipeline, Book(pages=4))
    await bench.carry_on(run, pipeline, progress=progress)
    counter = progress.stages["label"]
    assert (counter.expected, counter.completed, counter.calls, counter.running) == (4, 4, 4, 0)
    assert progress.cost == bench.provider.bill.total()
    assert progress.fraction() == 1.0


async def test_headers_that_a_stage_changes_between_two_requests_are_sent_and_kept_as_they_are(bench: Any) -> None:
    pipeline = Pipeline("fetching", input=Book)
    address = f"{bench.provider.base_url}/chat/completions"
    question = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Say something."}]}

    @pipeline.stage()
    async def fetch(book: Book, door: Door) -> Mark:
        headers = {
            "authorization": "Bearer env:OPENAI_API_KEY",
            "x-stagebook-page": "1",
            "x-stagebook-word": "env:WORD",
        }
        bench.site.environment["WORD"] = "the first word"
        await door.post(address, json=question, headers=headers)
        headers["x-stagebook-page"] = "2"
        await door.post(address, json=question, headers=headers)
        bench.site.environment["WORD"] = "the second word"
        await door.post(address, json=question, headers=headers)
        return Mark(word="fetched")

    assert (await bench.run(pipeline, Book()))[1].finished
    sent = [
        (entry.headers["x-stagebook-page"], entry.headers["x-stagebook-word"]) for entry in bench.provider.bill.entries
    ]
    assert sent == [("1", "the first word"), ("2", "the first word"), ("2", "the second word")]
    kept = await bench.ledger.query("SELECT request_headers FROM exchanges ORDER BY id")
    assert [orjson.loads(str(row[0]))["x-stagebook-page"] for row in kept.rows] == ["1", "2", "2"]
