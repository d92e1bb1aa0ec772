"""Running pipelines from Python."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

import stagebook
from stagebook import Key, Pipeline, RunFailed, RunInterrupted, Skip, StagebookError, Text
from stagebook.engine.result import in_own_loop
from stagebook.ledger.facts import WishSet
from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError, MissingKey, MissingOutput, NotFound, UsageError
from stagebook.model.status import Wish

MODEL = "openai:gpt-4.1-mini"


class Book(BaseModel):
    pages: int = 3
    broken: bool = False


class Page(BaseModel):
    number: Annotated[int, Key]


class Label(BaseModel):
    number: int


class Note(BaseModel):
    text: str


class Post(BaseModel):
    text: Text


book = Pipeline("book", input=Book)


@book.stage()
def pages(book: Book) -> Iterator[Page]:
    for number in reversed(range(book.pages)):
        yield Page(number=number)


@book.stage(each=Page)
async def label(page: Page) -> Label:
    await asyncio.sleep(page.number / 100)
    return Label(number=page.number)


@book.stage()
def note(book: Book) -> Note | Skip:
    if book.broken:
        raise ValueError("there is no ink")
    return Skip("nothing to note")


@book.stage()
def other_note(book: Book) -> Note:
    return Note(text=f"{book.pages} pages")


def asking() -> Pipeline:
    pipeline = Pipeline("asking", input=Book)

    @pipeline.prompt(returns=Post, model=MODEL, text="Write {{ book.pages }} pages.")
    def post(book: Book) -> None: ...

    return pipeline


@pytest.fixture
def url(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_outputs_are_read_by_handle_by_name_and_by_what_only_one_stage_makes(url: Path) -> None:
    run = stagebook.run(book, Book(), ledger=url, tags=["x"])
    assert (run.status, run.cost_usd, run.warnings, run.errors) == ("completed", Decimal(0), (), ())
    assert run[label] == run["label"] == run[Label] == [Label(number=number) for number in (2, 1, 0)]
    assert run[Page] == [Page(number=number) for number in (2, 1, 0)]
    assert run[other_note] == Note(text="3 pages")
    assert run.get(note) is None


def test_what_cannot_be_read_says_why(url: Path) -> None:
    run = stagebook.run(book, Book(), ledger=url, until="label")
    with pytest.raises(InputError, match="several stages make Note: note, other-note"):
        run[Note]
    with pytest.raises(NotFound, match="no stage of book makes Book"):
        run[Book]
    with pytest.raises(NotFound, match=r"book has no stage 'lable': did you mean 'label'"):
        run["lable"]
    with pytest.raises(MissingOutput, match=r"other-note made nothing in RUN_.*: it was not run"):
        run[other_note]
    skipped = stagebook.run(book, Book(), ledger=url)
    with pytest.raises(MissingOutput, match=r"note made nothing in RUN_.*: it is skipped \(nothing to note\)"):
        skipped[note]


def test_a_failed_run_raises_with_step_and_reason_unless_told_not_to(url: Path) -> None:
    with pytest.raises(
        RunFailed, match=r"RUN_\w+ failed: note failed with ValueError: there is no ink|RUN_\w+ failed: note: "
    ):
        stagebook.run(book, Book(broken=True), ledger=url)
    run = stagebook.run(book, Book(broken=True), ledger=url, check=False)
    assert run.status == "failed"
    assert "there is no ink" in run.errors[0]


async def test_it_works_inside_a_running_loop_too(url: Path) -> None:
    run = stagebook.run(book, Book(pages=1), ledger=url)
    assert run[Label] == [Label(number=0)]
    again = await stagebook.arun(book, Book(pages=2), ledger=url)
    assert len(again[Page]) == 2


async def test_an_open_ledger_can_be_used(url: Path) -> None:
    async with await Ledger.open(url) as ledger:
        run = await stagebook.arun(book, Book(), ledger=ledger)
        assert len(run[Page]) == 3
        assert [one.run_id for one in await ledger.runs()] == [run.run_id]
    async with await Ledger.open(":memory:") as ledger:
        assert len((await stagebook.arun(book, Book(), ledger=ledger))[Page]) == 3
    with pytest.raises(UsageError, match="a ledger in memory would be gone with the run"):
        await stagebook.arun(book, Book(), ledger=":memory:")


def test_a_pipeline_can_be_named_by_where_it_is_found(tmp_path: Path, url: Path) -> None:
    (tmp_path / "small.py").write_text(
        "from pydantic import BaseModel\nfrom stagebook import Pipeline\n\n"
        "class Word(BaseModel):\n    word: str = 'x'\n\nsmall = Pipeline('small', input=Word)\n\n"
        "@small.stage\ndef echo(word: Word) -> Word:\n    return word\n"
    )
    found = stagebook.definition.loading.find(str(tmp_path / "small.py"))
    run = stagebook.run(str(tmp_path / "small.py"), found.pipeline.input(), ledger=url)
    assert run["echo"].word == "x"
    assert stagebook.resume(run.run_id, ledger=url).status == "completed"


def test_a_run_is_resumed_by_the_pipeline_that_it_names(url: Path) -> None:
    run = stagebook.run(book, Book(broken=True), ledger=url, check=False)
    with pytest.raises(RunFailed):
        stagebook.resume(run.run_id, ledger=url)
    assert stagebook.resume("last", pipeline=book, ledger=url, check=False).status == "failed"


async def test_a_cancelled_run_is_not_resumed(url: Path) -> None:
    run = await stagebook.arun(book, Book(broken=True), ledger=url, check=False)
    async with await Ledger.open(url) as ledger:
        await ledger.write(WishSet((await ledger.run(run.run_id)).id, Wish.CANCEL, 0))
    with pytest.raises(UsageError, match="was cancelled, which is for good"):
        await stagebook.aresume(run.run_id, ledger=url)


async def test_a_paused_run_raises_and_resume_goes_on(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bench.site.environment.items():
        monkeypatch.setenv(name, value)
    pipeline = Pipeline("slow", input=Book)

    @pipeline.stage()
    async def wait(book: Book) -> Note:
        [run] = await bench.ledger.runs()
        await bench.ledger.write(WishSet(run.id, Wish.PAUSE, 0))
        await asyncio.sleep(1.5)
        return Note(text="waited")

    @pipeline.prompt(returns=Post, model=MODEL, text="{{ note.text }}")
    def post(note: Note) -> None: ...

    with pytest.raises(RunInterrupted, match="is paused; what was finished is kept"):
        await stagebook.arun(pipeline, Book(), ledger=bench.ledger)
    run = await stagebook.aresume("last", pipeline=pipeline, ledger=bench.ledger)
    assert run[Post].text
    assert run.cost_usd > 0


async def test_prices_that_are_given_count(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bench.site.environment.items():
        monkeypatch.setenv(name, value)
    run = await stagebook.arun(asking(), Book(), ledger=bench.ledger, prices={MODEL: "1000000/0"})
    [[tokens]] = (await bench.ledger.query("SELECT sum(input_tokens) FROM exchanges")).rows
    assert run.cost_usd == tokens > 0


async def test_what_cannot_begin_writes_nothing(url: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissingKey, match="no key for openai"):
        await stagebook.arun(asking(), Book(), ledger=url)
    with pytest.raises(NotFound, match="has no stage 'posts'"):
        await stagebook.arun(asking(), Book(), ledger=url, until="posts")
    with pytest.raises(InputError, match="the input of asking is a Book, not Note"):
        await stagebook.arun(asking(), Note(text="x"), ledger=url)
    assert list(url.parent.iterdir()) == []


async def test_an_error_in_its_own_loop_is_raised_where_it_is_waited_for() -> None:
    async def work() -> None:
        raise StagebookError("as it was")

    with pytest.raises(StagebookError, match="as it was"):
        in_own_loop(work)


def test_the_ledger_of_the_environment_is_used(url: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGEBOOK_LEDGER", str(url))
    run = stagebook.run(book, Book())
    assert url.exists()
    assert len(run[Page]) == 3
