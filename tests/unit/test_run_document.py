"""A run's document says where it stands, computed from its steps alone."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stagebook import Key, Pipeline, Skip
from stagebook.engine.drive import Stop
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.engine.standing import Planned, Tally, stand
from stagebook.insight.overview import describe, list_runs
from stagebook.ledger.facts import WishSet
from stagebook.ledger.store import Ledger
from stagebook.model.records import NewRun, Run
from stagebook.model.status import RunStatus, Wish

CHAIN = [Planned("pages"), Planned("label", "pages"), Planned("report")]


def status(tallies: dict[str, Tally], **given: Any) -> tuple[str, list[str]]:
    found = stand(CHAIN, tallies, **{"wish": Wish.RUN, "driven": False, "begun": True, **given})
    return found.status.value, [str(stage.status) for stage in found.stages.values()]


DONE = {"pages": Tally(completed=1, items=2), "label": Tally(completed=2), "report": Tally(completed=1)}
HALF = {"pages": Tally(completed=1, items=3), "label": Tally(completed=2)}
FAILED = {"pages": Tally(completed=1, items=3), "label": Tally(completed=1, failed=1)}


def test_a_run_that_was_never_driven_is_pending() -> None:
    assert status({}, begun=False) == ("pending", ["pending"] * 3)


def test_a_run_is_completed_when_every_stage_ended_for_every_item() -> None:
    assert status(DONE) == ("completed", ["completed"] * 3)
    assert status(DONE, wish=Wish.PAUSE) == status(DONE, wish=Wish.CANCEL) == ("completed", ["completed"] * 3)


def test_an_unfinished_run_that_nobody_drives_is_interrupted() -> None:
    assert status(HALF) == ("interrupted", ["completed", "interrupted", "pending"])
    assert status(HALF, driven=True) == ("running", ["completed", "running", "pending"])


def test_a_wish_tells_paused_and_cancelled_from_interrupted() -> None:
    assert status(HALF, wish=Wish.PAUSE)[0] == "paused"
    assert status(HALF, wish=Wish.CANCEL)[0] == "cancelled"
    assert status(HALF, wish=Wish.PAUSE, driven=True)[0] == "running"


def test_a_failed_step_fails_its_stage_and_its_run() -> None:
    assert status(FAILED) == ("failed", ["completed", "failed", "pending"])
    assert status(FAILED, wish=Wish.PAUSE)[0] == "failed"
    assert status(FAILED, wish=Wish.CANCEL)[0] == "cancelled"
    assert status({"pages": Tally(failed=1)}) == ("failed", ["failed", "pending", "pending"])


def test_a_failed_step_of_a_stage_that_collects_does_not_fail_the_run() -> None:
    stages = [Planned("pages"), Planned("label", "pages", collects=True), Planned("report")]
    tallies = {**FAILED, "pages": Tally(completed=1, items=2), "report": Tally(completed=1)}
    found = stand(stages, tallies, wish=Wish.RUN, driven=False, begun=True)
    assert (found.status, found.stages["label"].status) == (RunStatus.COMPLETED, RunStatus.COMPLETED)


def test_a_stage_of_which_every_step_was_skipped_is_skipped() -> None:
    assert status({**DONE, "report": Tally(skipped=1)}) == ("completed", ["completed", "completed", "skipped"])
    assert status({**DONE, "label": Tally(skipped=1, completed=1)})[1][1] == "completed"


def test_a_mapped_stage_over_no_items_is_completed_once_their_maker_is() -> None:
    assert status({"pages": Tally(completed=1), "report": Tally(completed=1)}) == ("completed", ["completed"] * 3)
    assert status({"pages": Tally(running=1)}, driven=True) == ("running", ["running", "pending", "pending"])


def test_the_current_stage_is_the_one_at_work_or_the_next() -> None:
    def current(tallies: dict[str, Tally], *, driven: bool) -> str | None:
        return stand(CHAIN, tallies, wish=Wish.RUN, driven=driven, begun=True).current_stage

    assert current(HALF, driven=True) == "label"
    assert current(FAILED, driven=False) == "label"
    assert current({}, driven=False) == "pages"
    assert current(DONE, driven=False) is None


class Book(BaseModel):
    pages: int = 3


class Page(BaseModel):
    number: Annotated[int, Key]


class Label(BaseModel):
    word: str


class Note(BaseModel):
    text: str


class Report(BaseModel):
    labels: int


def book(fails: set[int] | None = None, *, collect: bool = False) -> Pipeline:
    pipeline = Pipeline("book", input=Book)
    broken = fails if fails is not None else set()

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        for number in range(book.pages):
            yield Page(number=number)

    labelling = pipeline.phase("labelling")

    @labelling.stage(each=Page, number=1, on_error="collect" if collect else "stop")
    def label(page: Page) -> Label:
        if page.number in broken:
            raise ValueError(f"page {page.number} cannot be read")
        return Label(word=f"w{page.number}")

    @label.check
    def is_short(label: Label) -> str | None:
        return "the first word" if label.word == "w0" else None

    @pipeline.stage()
    def note(book: Book) -> Note | Skip:
        return Skip("nothing to note")

    @pipeline.stage()
    def report(labels: list[Label], note: Note | None) -> Report:
        return Report(labels=len(labels))

    return pipeline


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with await Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


async def drive(ledger: Ledger, pipeline: Pipeline, stop: Stop | None = None, **settings: Any) -> Run:
    site = Site(ledger, {})
    start = Start(pipeline.check(), "test", Book(), Settings(**settings), tags=("t",))
    run = await begin(start, site)
    await carry_on(run, pipeline.check(), site, stop=stop)
    return run


async def test_the_document_of_a_completed_run(ledger: Ledger) -> None:
    run = await drive(ledger, book())
    document = (await describe(ledger, "last")).to_json()
    assert document.pop("seconds") >= 0
    assert document.pop("created_at").endswith("Z")
    assert all(stage.pop("seconds") >= 0 for stage in document["stages"])

    def stage(
        name: str, status: str, number: int | None = None, phase: str | None = None, **steps: int
    ) -> dict[str, Any]:
        counts = {"total": 1, "completed": 0, "failed": 0, "skipped": 0, "reused": 0, **steps}
        zero = {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}
        return {"name": name, "number": number, "phase": phase, "status": status, "steps": counts, **zero}

    assert document == {
        "run_id": run.run_id,
        "pipeline": "book",
        "status": "completed",
        "tags": ["t"],
        "cost_usd": "0",
        "avoided_cost_usd": "0",
        "budget_usd": None,
        "possibly_paid": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "parent": None,
        "progress": {"completed": 4, "total": 4, "percentage": 100},
        "current_stage": None,
        "warnings": ["label[0]: the first word"],
        "errors": [],
        "stages": [
            stage("pages", "completed", completed=1),
            stage("label", "completed", 1, "labelling", total=3, completed=3),
            stage("note", "skipped", skipped=1),
            stage("report", "completed", completed=1),
        ],
    }


async def test_a_failure_is_told_with_its_step_and_its_reason(ledger: Ledger) -> None:
    await drive(ledger, book({1}), concurrency=1)
    document = await describe(ledger, "last")
    assert document.status == "failed"
    assert document.current_stage == "label"
    [error] = document.errors
    assert error.startswith("label[1]: ")
    assert "page 1 cannot be read" in error
    assert document.progress == {"completed": 2, "total": 4, "percentage": 50}


async def test_a_collected_failure_is_told_and_the_run_is_completed(ledger: Ledger) -> None:
    await drive(ledger, book({1}, collect=True))
    document = await describe(ledger, "last")
    assert document.status == "completed"
    assert len(document.errors) == 1
    assert [stage.steps.failed for stage in document.stages] == [0, 1, 0, 0]


async def test_a_run_until_a_stage_is_completed_when_that_is(ledger: Ledger) -> None:
    await drive(ledger, book(), until="label")
    document = await describe(ledger, "last")
    assert document.status == "completed"
    assert [stage.name for stage in document.stages] == ["pages", "label"]


async def test_a_run_that_was_only_created_is_pending(ledger: Ledger) -> None:
    graph = book().check()
    await ledger.create_run(NewRun("book", graph.definition, "test", b"{}", b"{}"))
    document = await describe(ledger, "last")
    assert (document.status, document.progress["completed"], document.current_stage) == ("pending", 0, "pages")


async def test_a_run_that_is_driven_is_running(ledger: Ledger) -> None:
    graph = book().check()
    run = await ledger.create_run(NewRun("book", graph.definition, "test", b"{}", b"{}"))
    claim = await ledger.claim(run.run_id)
    assert (await describe(ledger, "last")).status == "running"
    await claim.release()
    assert (await describe(ledger, "last")).status == "interrupted"
    await ledger.write(WishSet(run.id, Wish.PAUSE, 0))
    assert (await describe(ledger, "last")).status == "paused"


async def test_a_declaration_that_says_little_can_be_described(ledger: Ledger) -> None:
    await ledger.create_run(NewRun("other", b'{"stages": [{"name": "a"}]}', "elsewhere", b"{}", b"{}"))
    assert [stage.status for stage in (await describe(ledger, "last")).stages] == ["pending"]


async def test_a_forked_run_names_its_parent(ledger: Ledger) -> None:
    graph = book().check()
    parent = await ledger.create_run(NewRun("book", graph.definition, "test", b"{}", b"{}"))
    await ledger.create_run(NewRun("book", graph.definition, "test", b"{}", b"{}", parent=parent.id))
    assert [run.parent for run in await list_runs(ledger)] == [parent.run_id, None]


async def test_runs_are_listed_newest_first_and_can_be_narrowed(ledger: Ledger) -> None:
    first = await drive(ledger, book())
    second = await drive(ledger, book({0}))
    assert [run.run_id for run in await list_runs(ledger)] == [second.run_id, first.run_id]
    assert [run.run_id for run in await list_runs(ledger, status=RunStatus.COMPLETED)] == [first.run_id]
    assert [run.run_id for run in await list_runs(ledger, limit=1)] == [second.run_id]
    assert len(await list_runs(ledger, pipeline="book", tag="t")) == 2
    assert await list_runs(ledger, pipeline="other") == []
    assert await list_runs(ledger, tag="u") == []
