"""Steps with their attempts, and outputs with their versions."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.ledger.facts import StepSkipped
from stagebook.model.errors import NotFound, WriteRefused
from stagebook.model.exchange import content_hash
from stagebook.model.status import StepStatus


async def test_a_step_is_read_back_as_it_was_written(drive: Any) -> None:
    started = drive.started("label", "7")
    await drive.ledger.write(started)
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.id, step.run, step.stage, step.item) == (started.step, drive.run.id, "label", "7")
    assert (step.status, step.attempts, step.failed_attempt) == (StepStatus.RUNNING, 1, 0)
    assert (step.fingerprint, step.started_at, step.ended_at) == (b"f" * 16, started.at, None)
    ended = drive.ended("label", "7", StepStatus.FAILED, reason="no page", warnings=("dark", "torn"))
    await drive.ledger.write(ended)
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.status, step.failed_attempt, step.reason) == (StepStatus.FAILED, 1, "no page")
    assert (step.warnings, step.ended_at) == (("dark", "torn"), ended.at)


@pytest.mark.parametrize("units", [1, 2])
async def test_beginning_and_ending_a_step_gives_the_same_row_in_one_unit_or_two(drive: Any, units: int) -> None:
    started = drive.started("pages")
    made = drive.made("pages", data={"n": 1})
    ended = drive.ended("pages", status=StepStatus.COMPLETED, warnings=("w",), reused_from=12)
    if units == 1:
        await drive.ledger.write(started, made, ended)
    else:
        await drive.ledger.write(started)
        await drive.ledger.write(made, ended)
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.status, step.attempts, step.failed_attempt) == (StepStatus.COMPLETED, 1, 0)
    assert (step.started_at, step.ended_at, step.reused_from) == (started.at, ended.at, 12)
    assert step.warnings == ("w",)
    table = await drive.ledger.query("SELECT worked, begun_at FROM steps")
    assert table.rows == [(ended.at - started.at, started.at)]
    table = await drive.ledger.query("SELECT number, status, started_at, ended_at, fence FROM attempts")
    assert table.rows == [(1, "completed", started.at, ended.at, 1)]


async def test_a_step_tried_again_keeps_every_attempt(drive: Any) -> None:
    first = drive.started("pages")
    failed = drive.ended("pages", status=StepStatus.FAILED, reason="no network", final=False)
    second = drive.started("pages", attempt=2)
    done = drive.ended("pages", attempt=2)
    await drive.ledger.write(first)
    await drive.ledger.write(failed)
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.status, step.failed_attempt, step.ended_at) == (StepStatus.RUNNING, 1, None)
    await drive.ledger.write(second, done)
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.status, step.attempts, step.failed_attempt) == (StepStatus.COMPLETED, 2, 1)
    assert (step.started_at, step.ended_at) == (first.at, done.at)
    table = await drive.ledger.query("SELECT number, status, reason FROM attempts ORDER BY number")
    assert table.rows == [(1, "failed", "no network"), (2, "completed", None)]
    worked = (failed.at - first.at) + (done.at - second.at)
    assert (await drive.ledger.query("SELECT worked FROM steps")).rows == [(worked,)]


async def test_all_attempts_of_a_step_may_stand_in_one_unit(drive: Any) -> None:
    await drive.ledger.write(
        drive.started("pages"),
        drive.ended("pages", status=StepStatus.FAILED, final=False),
        drive.started("pages", attempt=2),
        drive.ended("pages", status=StepStatus.FAILED, attempt=2, reason="again"),
    )
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.status, step.attempts, step.failed_attempt, step.reason) == (StepStatus.FAILED, 2, 2, "again")


async def test_a_step_begun_again_forgets_how_it_ended(drive: Any) -> None:
    first = drive.started("pages")
    await drive.ledger.write(
        first, drive.ended("pages", status=StepStatus.FAILED, reason="no page", warnings=("w",), reused_from=9)
    )
    await drive.ledger.write(drive.started("pages", attempt=2))
    (step,) = await drive.ledger.steps(drive.run.id)
    assert (step.status, step.reason, step.warnings, step.reused_from) == (StepStatus.RUNNING, None, (), None)
    assert (step.started_at, step.ended_at, step.failed_attempt) == (first.at, None, 1)


async def test_a_step_may_be_skipped_before_and_after_it_began(drive: Any) -> None:
    step = drive.ledger.new_id()
    fence, run = drive.claim.fence, drive.run.id
    await drive.ledger.write(StepSkipped(step, run, "pages", "", fence, "under 8000 tokens", drive.now()))
    await drive.ledger.write(drive.started("label"))
    await drive.ledger.write(
        StepSkipped(drive.steps["label", ""], run, "label", "", fence, "nothing to label", drive.now())
    )
    skipped, label = await drive.ledger.steps(run)
    assert (skipped.status, skipped.attempts, skipped.reason) == (StepStatus.SKIPPED, 0, "under 8000 tokens")
    assert (label.status, label.attempts, label.reason) == (StepStatus.SKIPPED, 1, "nothing to label")
    assert (await drive.ledger.query("SELECT status FROM attempts")).rows == [("skipped",)]


async def test_an_output_is_found_by_id_by_item_and_in_the_list(drive: Any) -> None:
    data = {"text": "Call me Ishmael", "n": 3}
    output = await drive.step("label", "p/1", data=data)
    text = orjson.dumps(data)
    assert await drive.ledger.output_data(output) == text
    assert await drive.ledger.output_of(drive.run.id, "label", "p/1") == text
    (ref,) = await drive.ledger.outputs(drive.run.id)
    assert (ref.id, ref.stage, ref.item, ref.step) == (output, "label", "p/1", drive.steps["label", "p/1"])
    assert (ref.version, ref.content_hash, ref.size) == (1, content_hash(text), len(text))


async def test_what_is_not_there_is_said_to_be_missing(drive: Any) -> None:
    assert await drive.ledger.output_of(drive.run.id, "label", "p/1") is None
    with pytest.raises(NotFound, match="output 12 is not in this ledger"):
        await drive.ledger.output_data(12)


async def test_a_changed_output_is_a_new_version_and_the_old_one_stays_readable(drive: Any) -> None:
    first = await drive.step("report", data="draft")
    second = drive.made("report", data="edited", by="hand")
    await drive.ledger.write(second)
    (ref,) = await drive.ledger.outputs(drive.run.id)
    assert (ref.id, ref.version) == (second.id, 2)
    assert await drive.ledger.output_data(first) == b'"draft"'
    assert await drive.ledger.output_of(drive.run.id, "report", "") == b'"edited"'
    rows = (await drive.ledger.query("SELECT version, made_by, replaces FROM outputs ORDER BY version")).rows
    assert rows == [(1, "stage", None), (2, "hand", first)]


async def test_the_same_content_again_is_no_new_version(drive: Any) -> None:
    first = await drive.step("report", data="draft")
    await drive.ledger.write(drive.made("report", data="draft"))
    (ref,) = await drive.ledger.outputs(drive.run.id)
    assert (ref.id, ref.version) == (first, 1)


async def test_content_that_comes_back_is_a_version_again(drive: Any) -> None:
    await drive.step("report", data="a")
    await drive.ledger.write(drive.made("report", data="b"), drive.made("report", data="a"))
    (ref,) = await drive.ledger.outputs(drive.run.id)
    assert ref.version == 3
    assert await drive.ledger.output_of(drive.run.id, "report", "") == b'"a"'


async def test_versions_made_in_one_unit_with_first_ones_count_right(drive: Any) -> None:
    await drive.ledger.write(drive.started("label", "1"), drive.started("label", "2"))
    await drive.ledger.write(
        drive.made("label", "1", data="a"),
        drive.made("label", "2", data="x"),
        drive.made("label", "1", data="b"),
        drive.made("label", "1", data="c"),
        drive.removed("label", "2"),
    )
    refs = await drive.ledger.outputs(drive.run.id)
    assert [(ref.item, ref.version) for ref in refs] == [("1", 3)]


async def test_a_removed_output_is_no_longer_live_and_its_history_is_kept(drive: Any) -> None:
    first = await drive.step("label", "1", data="a")
    gone = drive.removed("label", "1")
    await drive.ledger.write(gone)
    assert await drive.ledger.outputs(drive.run.id) == []
    assert await drive.ledger.output_of(drive.run.id, "label", "1") is None
    assert await drive.ledger.output_data(first) == b'"a"'
    with pytest.raises(NotFound, match="removed"):
        await drive.ledger.output_data(gone.id)
    await drive.ledger.write(drive.made("label", "1", data="a"))
    (ref,) = await drive.ledger.outputs(drive.run.id)
    assert ref.version == 3


async def test_removing_what_was_never_made_writes_nothing(drive: Any) -> None:
    await drive.ledger.write(drive.started("label", "1"))
    await drive.ledger.write(drive.removed("label", "1"))
    assert (await drive.ledger.query("SELECT count(*) FROM outputs")).rows == [(0,)]


async def test_outputs_are_listed_in_the_order_of_their_first_appearance(drive: Any) -> None:
    await drive.ledger.write(drive.started("pages"))
    step = drive.steps["pages", ""]
    items = ["10", "2", "1", "z", "a"]
    for item in items:
        await drive.ledger.write(drive.made("pages", item, data=item, step=step))
    await drive.ledger.write(drive.started("report"))
    later = drive.made("pages", "2", data="changed", step=drive.steps["report", ""])
    await drive.ledger.write(later)
    refs = await drive.ledger.outputs(drive.run.id)
    assert [ref.item for ref in refs] == items
    assert {ref.step for ref in refs} == {step}, "a new version stays with the step that yielded the item first"
    assert [item async for item, _ in drive.ledger.stage_outputs(drive.run.id, "pages")] == items


async def test_a_long_stage_is_streamed_whole_and_in_order(drive: Any) -> None:
    await drive.ledger.write(drive.started("pages"))
    step = drive.steps["pages", ""]
    await drive.ledger.write(*(drive.made("pages", str(n), data=n, step=step) for n in range(1234)))
    streamed = [(item, data) async for item, data in drive.ledger.stage_outputs(drive.run.id, "pages")]
    assert streamed == [(str(n), str(n).encode()) for n in range(1234)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (rb'{"a":"x\u0000y"}', '{"a":"x\ufffdy"}'),
        (rb'{"a":"x\\u0000y"}', r'{"a":"x\\u0000y"}'),
        (rb'{"a":"x\\\u0000y"}', '{"a":"x\\\\\ufffdy"}'),
        (rb'["\u0000\u0000"]', '["\ufffd\ufffd"]'),
    ],
)
async def test_a_nul_becomes_the_replacement_character_and_is_flagged(drive: Any, given: bytes, kept: str) -> None:
    await drive.ledger.write(drive.started("report"))
    made = drive.made("report", data=given)
    await drive.ledger.write(made)
    assert (await drive.ledger.output_data(made.id)).decode() == kept
    assert (await drive.ledger.query("SELECT nul_replaced FROM outputs")).rows == [(int(given.decode() != kept),)]


@pytest.mark.parametrize("given", [b'{"a":NaN}', b"[Infinity]", b"[-Infinity]"])
async def test_nan_and_infinity_are_refused(drive: Any, given: bytes) -> None:
    await drive.ledger.write(drive.started("report"))
    with pytest.raises(WriteRefused, match="stage 'report' is not JSON"):
        await drive.ledger.write(drive.made("report", data=given))


async def test_words_that_look_like_nan_are_no_numbers(drive: Any) -> None:
    await drive.step("report", data={"who": "NaN", "how": "to Infinity"})


async def test_bytes_that_are_no_text_are_refused(drive: Any) -> None:
    await drive.ledger.write(drive.started("report"))
    with pytest.raises(WriteRefused, match="not UTF-8"):
        await drive.ledger.write(drive.made("report", data=b'"\xff"'))


async def test_outputs_are_plain_text_for_any_sqlite_client(file_drive: Any, tmp_path: Path) -> None:
    await file_drive.step("report", data={"body": "x" * 100_000, "words": 5})
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("SELECT length(json_extract(data, '$.body')) FROM outputs").fetchall() == [(100_000,)]
    other.close()
