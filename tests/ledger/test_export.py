"""A run goes out as one document and comes in again: byte by byte the same, and nothing of it is paid for twice."""

# ruff: noqa: ASYNC240  a test may block its loop
import base64
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.ledger import run_format
from stagebook.ledger.facts import ExchangeLost, ExchangeParsed, Marked, Noted, PromptSeen, StepSkipped, WishSet
from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError, NotFound
from stagebook.model.exchange import Request, content_hash
from stagebook.model.status import StepStatus, Wish

TEMPLATE = "Label {{ page.text }}"
LARGE = b"a sentence that is said again and again, " * 40
MANY = {"stages": ["pages"], "count": 1500}
DEFINITION = orjson.dumps(
    {
        "name": "book",
        "stages": [
            {"name": "pages", "schema": {"properties": {"n": {"type": "integer"}}}},
            {"name": "label", "prompt": {"template": {"hash": content_hash(TEMPLATE.encode()).hex()}}},
            {"name": "report"},
        ],
    }
)


def asked(text: bytes) -> Request:
    return Request(
        "POST",
        "https://a.test/v1",
        (b'{"model":"m","messages":"', text, b'","more":"', LARGE, b'"}'),
        {"authorization": "Bearer env:KEY"},
        kind="model",
        provider="openai",
        model="m",
    )


@pytest.fixture
async def full(file_ledger: Ledger, begin: Callable[..., Any]) -> Any:
    """A run with something of everything."""
    drive = await begin(file_ledger, b'{"text":"' + LARGE * 8 + b'"}', definition=DEFINITION, tags=("a", "b"))
    ledger = file_ledger
    await ledger.write(PromptSeen(content_hash(TEMPLATE.encode()), "label", TEMPLATE, drive.now()))
    page = await drive.step("pages", "1", {"n": 1}, reads={"book": "input"})
    await ledger.write(drive.made("pages", "1", {"n": 2}, by="hand"))
    await ledger.write(drive.started("label", "1", reads={"page": page, "all": [page], "many": MANY}))
    step = drive.steps["label", "1"]
    await drive.step(
        "by-name", data={}, reads={"output": {"output": page}, "named": {"stages": page, "count": page}, "many": MANY}
    )
    first = await drive.exchange(asked(b"one"), step, b'{"content":"' + LARGE + b'"}', cost=1_234_567)
    await ledger.write(ExchangeParsed(first, "no label\n", drive.now()))
    await drive.exchange(asked(b"x" * 700), step, bytes(range(256)), cost=3)
    lost = drive.sent(Request("GET", "https://a.test/page", ()), step)
    await ledger.write(lost)
    await ledger.write(ExchangeLost(lost.id, "timeout", True, drive.now()))
    await ledger.write(drive.ended("label", "1", StepStatus.FAILED, reason="bad", final=False, attempt=1))
    await ledger.write(drive.started("label", "1", attempt=2))
    await ledger.write(
        drive.made("label", "1", b'{"big": 123456789012345678901234567890, "nul": "\\u0000"}'),
        drive.ended("label", "1", attempt=2, warnings=("w",)),
    )
    await drive.step("report", data="a plain string")
    await ledger.write(drive.removed("report"))
    await ledger.write(
        StepSkipped(ledger.new_id(), drive.run.id, "label", "2", drive.claim.fence, "empty", drive.now())
    )
    await ledger.write(Marked(ledger.new_id(), drive.run.id, "reading", "stage_complete", "an error", drive.now()))
    await ledger.write(
        Noted(drive.run.id, "note", b'{"n":1}', drive.now()), WishSet(drive.run.id, Wish.PAUSE, drive.now())
    )
    await drive.claim.release()
    await ledger.write()
    return drive


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with await Ledger.open(tmp_path / "other" / "ledger.db") as opened:
        yield opened


@pytest.fixture
async def exported(full: Any, tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    assert await full.ledger.upkeep.export(full.run.id, path) == path.stat().st_size
    return path


async def test_what_came_in_goes_out_byte_by_byte_the_same(exported: Path, other: Ledger, full: Any) -> None:
    other.new_id()  # so that its numbers are other ones
    imported = await other.upkeep.import_run(exported)
    assert (imported.run_id, imported.new, imported.steps, imported.exchanges) == (full.run.run_id, True, 5, 3)
    run = await other.run(full.run.run_id)
    assert run.id != full.run.id
    again = exported.with_name("again.json")
    await other.upkeep.export(run.id, again)
    assert again.read_bytes() == exported.read_bytes()
    assert not list(exported.parent.glob(".*.part"))


async def test_what_came_in_is_what_was_there(exported: Path, other: Ledger, full: Any) -> None:
    await other.upkeep.import_run(exported)
    run = await other.run(full.run.run_id)
    assert (run.input, run.tags, run.wish) == (full.run.input, ("a", "b"), Wish.PAUSE)
    assert (await other.summaries([run.id]))[run.id].total().cost == 1_234_570
    theirs, ours = await full.ledger.steps(full.run.id), await other.steps(run.id)
    assert [(one.stage, one.item, one.status, one.fingerprint) for one in ours] == [
        (one.stage, one.item, one.status, one.fingerprint) for one in theirs
    ]
    [label] = [step for step in ours if (step.stage, step.item) == ("label", "1")]
    recorded = await other.recorded(label.id)
    assert [one.state for one in recorded] == ["parsed", "received", "lost"]
    assert await other.request_body(recorded[0].id) == asked(b"one").body
    assert await other.payload(recorded[1].response_hash or b"") == bytes(range(256))
    same = "SELECT run_id, stage, item, version, output_data, made_by FROM stage_outputs ORDER BY 2, 3"
    assert (await other.query(same)).rows == (await full.ledger.query(same)).rows
    steps = "SELECT step_id, input, output, tokens_used FROM v2_pipeline_steps WHERE step_name <> 'by-name' ORDER BY 1"
    assert (await other.query(steps)).rows == (await full.ledger.query(steps)).rows
    stored = "SELECT count(*), sum(length(body)) FROM payloads"
    [(count, size)], [(count_there, size_there)] = (
        (await other.query(stored)).rows,
        (await full.ledger.query(stored)).rows,
    )
    assert count == count_there
    assert int(str(size)) <= int(str(size_there)) * 1.1, "packed as well as it was"


async def test_the_document_is_to_be_read_by_others(exported: Path, full: Any) -> None:
    document = orjson.loads(exported.read_bytes())
    assert (document["format"], document["version"]) == ("stagebook-run", 1)
    assert document["run"]["run_id"] == full.run.run_id
    assert document["run"]["input"] == orjson.loads(full.run.input)
    one, two, three = document["exchanges"]
    assert one["request"]["body"] == asked(b"one").body.decode()
    assert base64.b64decode(two["response"]["body"]["base64"]) == bytes(range(256))
    assert (three["response"], three["error"], one["complaint"]) == (None, "timeout", "no label\n")
    [hand] = [output for output in document["outputs"] if output["made_by"] == "hand"]
    assert (hand["version"], hand["data"]) == (2, {"n": 2})
    reads = {step["stage"]: step["reads"] for step in document["steps"]}
    assert reads["by-name"] == {
        "output": {"output": {"output": 0}},
        "named": {"stages": {"output": 0}, "count": {"output": 0}},
        "many": MANY,
    }
    label = next(step for step in document["steps"] if step["stage"] == "label")
    assert [attempt["status"] for attempt in label["attempts"]] == ["failed", "completed"]
    assert [prompt["text"] for prompt in document["prompts"]] == [TEMPLATE]


async def test_a_run_that_is_there_with_the_same_content_stays_as_it_is(exported: Path, full: Any) -> None:
    imported = await full.ledger.upkeep.import_run(exported)
    assert not imported.new
    assert len(await full.ledger.runs()) == 1


async def test_a_run_that_is_there_with_other_content_is_not_touched(exported: Path, full: Any) -> None:
    await full.ledger.write(full.made("pages", "1", {"n": 3}, by="hand"))
    with pytest.raises(InputError, match=rf"another {full.run.run_id} is in this ledger, with other content"):
        await full.ledger.upkeep.import_run(exported)
    assert len(await full.ledger.runs()) == 1


def _changed(document: Any, path: tuple[Any, ...], value: object) -> bytes:
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return orjson.dumps(document)


DAMAGED = [
    (("run", "input", "text"), "other", "the input does not have the hash"),
    (("definition", "json", "name"), "brook", "the definition does not have the hash"),
    (("exchanges", 0, "request", "body"), "{}", "does not have the hash of what was sent"),
    (("exchanges", 1, "response", "body"), "{}", "an answer of https://a.test/v1 does not have the hash"),
    (("outputs", 0, "data"), {"n": 9}, "version 1 of the output of pages does not have the hash"),
    (("prompts", 0, "text"), "Label", "the prompt label does not have the hash"),
    (("run", "run_id"), "../../etc/RUN_1", "is no id of a run"),
    (("steps", 0, "status"), "done", "not whole, or was changed: ValueError: 'done' is not a valid StepStatus"),
    (("steps", 0, "item"), None, "not whole, or was changed: IntegrityError"),
    (("outputs", 0, "step"), 99, "not whole, or was changed: IndexError"),
    (("steps", 0), {}, "not whole, or was changed: KeyError"),
    (("format",), "zip", "is no run: its format is not 'stagebook-run'"),
    (("version",), 2, "is of version 2, and this Stagebook reads 1"),
]


@pytest.mark.parametrize(("path", "value", "said"), DAMAGED)
async def test_a_document_that_was_changed_is_refused_whole(
    exported: Path, other: Ledger, path: tuple[Any, ...], value: object, said: str
) -> None:
    exported.write_bytes(_changed(orjson.loads(exported.read_bytes()), path, value))
    with pytest.raises(InputError, match=said):
        await other.upkeep.import_run(exported)
    assert (await other.query("SELECT count(*) FROM payloads")).rows == [(0,)]
    assert await other.runs() == []


async def test_half_a_document_is_refused(exported: Path, other: Ledger) -> None:
    exported.write_bytes(exported.read_bytes()[:-100])
    with pytest.raises(InputError, match="was it cut short"):
        await other.upkeep.import_run(exported)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        await other.upkeep.import_run(exported.with_name("nothing.json"))


async def test_an_export_that_fails_leaves_what_was_there(exported: Path, full: Any) -> None:
    with pytest.raises(NotFound):
        await full.ledger.upkeep.export(1, exported)
    assert orjson.loads(exported.read_bytes())["run"]["run_id"] == full.run.run_id
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        await full.ledger.upkeep.export(full.run.id, exported.parent / "no" / "run.json")
    assert not list(exported.parent.glob(".*.part"))


async def test_what_depends_on_other_runs_is_found_where_they_are(
    file_ledger: Ledger, begin: Callable[..., Any], other: Ledger, tmp_path: Path
) -> None:
    base = await begin(file_ledger)
    await base.step("report", data="x")
    fork = await begin(file_ledger, parent=base.run.id, forked_at="report")
    await fork.step("report", data="x", reused_from=base.steps["report", ""])
    for drive in (base, fork):
        await file_ledger.upkeep.export(drive.run.id, tmp_path / f"{drive.run.run_id}.json")
        await other.upkeep.import_run(tmp_path / f"{drive.run.run_id}.json")
    there, here = await other.run(fork.run.run_id), await other.run(base.run.run_id)
    assert (there.parent, there.forked_at) == (here.id, "report")
    [step] = await other.steps(there.id)
    assert step.reused_from == (await other.steps(here.id))[0].id


async def test_a_large_payload_comes_in_as_a_file(
    file_ledger: Ledger, begin: Callable[..., Any], other: Ledger, tmp_path: Path
) -> None:
    noise = random.Random(1).randbytes(400_000)
    drive = await begin(file_ledger)
    exchange = await drive.exchange(Request("GET", "https://a.test", ()), None, noise)
    assert exchange
    await file_ledger.upkeep.export(drive.run.id, tmp_path / "run.json")
    await other.upkeep.import_run(tmp_path / "run.json")
    assert [path.stat().st_size for path in (tmp_path / "other" / "blobs").rglob("*") if path.is_file()] == [400_000]
    assert await other.payload(content_hash(noise)) == noise


LEFT_OUT = {
    "runs": {"id", "definition", "input", "parent", "settings", "tags"},
    "steps": {"id", "run", "attempts", "fingerprint", "warnings", "reused_from", "reads"},
    "attempts": {"step"},
    "outputs": {"id", "run", "step", "first", "replaces", "content_hash", "data"},
    "exchanges": {"id", "run", "step", "method", "url", "request_hash", "request_size", "skeleton", "response"}
    | {"request_headers", "response_headers", "usage"},
    "claims": {"id", "run", "output", "source"},
    "scores": {"id", "run", "output"},
    "marks": {"id", "run"},
    "events": {"seq", "run", "step", "data"},
}
"""Columns that the document holds in another form, or that follow from it."""


async def test_every_column_of_a_run_is_in_the_document(ledger: Ledger) -> None:
    plain = {
        "runs": run_format.RUN,
        "steps": run_format.STEP,
        "attempts": run_format.ATTEMPT,
        "outputs": run_format.OUTPUT,
        "exchanges": run_format.EXCHANGE,
        "claims": run_format.CLAIM,
        "scores": run_format.SCORE,
        "marks": run_format.MARK,
        "events": run_format.EVENT,
    }
    for table, columns in plain.items():
        found = set((await ledger.query(f"SELECT * FROM {table} LIMIT 0")).columns)  # noqa: S608  one of ours
        assert found == {*columns} | LEFT_OUT[table], table
