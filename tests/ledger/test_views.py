"""What SQL clients see: the dashboards' old queries as they were printed, outputs, and costs."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.ledger.facts import ExchangeLost, Marked, StepSkipped
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request
from stagebook.model.status import StepStatus

STAGES = [
    {"name": "pages", "label": "0_PAGES", "phase": "STAGE_0_READ", "streams": True, "axis": []},
    {"name": "label", "label": "1_LABEL", "phase": "STAGE_1_LABEL", "each": "pages", "axis": ["pages"]},
    {"name": "draft", "label": "2_WRITE", "phase": "STAGE_2_WRITE", "text_field": "body", "number": 2},
    {"name": "social", "label": "2_WRITE", "phase": "STAGE_2_WRITE", "prompt": {"template": {"hash": "abc"}}},
]
ASK = Request("POST", "https://api.test/v1", (b'{"messages": []}',), kind="model", provider="openai", model="gpt-4.1")
ANSWER = b'{"id": "chatcmpl-1", "usage": {"prompt_tokens": 100}}'

PRINTED = (
    """
-- All events for a run (chronological)
SELECT event_type, step_name, status, started_at, completed_at, runtime_seconds
FROM v2_pipeline_steps
WHERE run_id = 'RUN_...'
ORDER BY started_at;
""",
    """
-- Stage completions only
SELECT step_name, runtime_seconds, completed_at
FROM v2_pipeline_steps
WHERE run_id = 'RUN_...' AND event_type = 'stage_complete';
""",
    """
-- Steps only (exclude stages)
SELECT step_name, tokens_used, runtime_seconds
FROM v2_pipeline_steps
WHERE run_id = 'RUN_...' AND event_type = 'step';
""",
    """
-- Failed stages
SELECT * FROM v2_pipeline_steps
WHERE event_type = 'stage_complete' AND status = 'failed';
""",
)
COLUMNS = (
    "step_id run_id prompt_id step_name status event_type input output tokens_used runtime_seconds model_used "
    "started_at completed_at error_message"
)


@pytest.fixture
async def written(ledger: Ledger, begin: Callable[..., Any]) -> Any:
    """A run of four stages: pages are read, two are labelled, the draft is written by a model, social is skipped."""
    definition = orjson.dumps({"name": "book", "stages": STAGES})
    drive = await begin(ledger, b'{"title":"Moby"}', definition=definition)
    await ledger.write(drive.started("pages", reads={"book": "input"}))
    step = drive.steps["pages", ""]
    pages = [drive.made("pages", str(n), data={"n": n}, step=step) for n in (1, 2)]
    await ledger.write(*pages, drive.ended("pages"))
    labels = [
        await drive.step("label", str(n), data={"label": f"L{n}"}, reads={"page": pages[n - 1].id, "hint": None})
        for n in (1, 2)
    ]
    reads = {"labels": labels, "many": {"stage": "pages", "count": 2000}}
    started = drive.started("draft", reads=reads)
    await ledger.write(started)
    await drive.exchange(ASK, started.step, ANSWER, cost=2_500_000_000)
    await ledger.write(drive.made("draft", data={"body": "# Moby", "words": 1}), drive.ended("draft"))
    skipped = StepSkipped(ledger.new_id(), drive.run.id, "social", "", drive.claim.fence, "no draft", drive.now())
    await ledger.write(skipped)
    return drive


async def ask(drive: Any, sql: str) -> list[dict[str, Any]]:
    table = await drive.ledger.query(sql)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


async def test_the_printed_queries_run_as_they_stand(written: Any) -> None:
    everything, stages, steps, failed = [
        await ask(written, query.replace("RUN_...", written.run.run_id)) for query in PRINTED
    ]
    assert [row["step_name"] for row in everything if row["event_type"] == "step"] == [
        "0_PAGES",
        "1_LABEL",
        "1_LABEL",
        "2_WRITE",
        "2_WRITE",
    ]
    assert {row["status"] for row in everything if row["event_type"] == "step"} == {"completed"}
    assert sorted(row["step_name"] for row in stages) == ["STAGE_0_READ", "STAGE_1_LABEL", "STAGE_2_WRITE"]
    assert all(row["runtime_seconds"] > 0 and row["completed_at"] for row in stages)
    assert sorted((row["step_name"], row["tokens_used"]) for row in steps) == [
        ("0_PAGES", 0),
        ("1_LABEL", 0),
        ("1_LABEL", 0),
        ("2_WRITE", 0),
        ("2_WRITE", 120),
    ]
    assert failed == []


async def test_the_columns_are_exactly_those_of_old(written: Any) -> None:
    assert (await written.ledger.query("SELECT * FROM v2_pipeline_steps")).columns == tuple(COLUMNS.split())


async def test_step_ids_are_unique_and_tell_run_label_and_item(written: Any) -> None:
    rows = await ask(written, "SELECT step_id FROM v2_pipeline_steps")
    ids = [row["step_id"] for row in rows]
    assert len(set(ids)) == len(ids)
    of_run = written.run.run_id.removeprefix("RUN_")
    assert {f"STEP_{of_run}_0_PAGES", f"STEP_{of_run}_1_LABEL_1", f"STEP_{of_run}_2_WRITE_draft"} <= set(ids)


async def test_a_step_shows_what_it_read(written: Any) -> None:
    rows = await ask(written, "SELECT input FROM v2_pipeline_steps WHERE event_type = 'step' ORDER BY started_at")
    assert [orjson.loads(row["input"]) for row in rows] == [
        {"book": {"title": "Moby"}},
        {"page": {"n": 1}, "hint": None},
        {"page": {"n": 2}, "hint": None},
        {"labels": [{"label": "L1"}, {"label": "L2"}], "many": {"stage": "pages", "count": 2000}},
        {},
    ]


async def test_a_step_shows_its_output_and_in_sqlite_the_raw_answer_where_a_model_gave_one(written: Any) -> None:
    rows = await ask(written, "SELECT step_id, output, model_used, prompt_id FROM v2_pipeline_steps")
    outputs = {row["step_id"].split("_", 3)[3]: row for row in rows}
    shown = outputs["2_WRITE_draft"]["output"].encode()
    assert shown == (ANSWER if "postgres" not in written.ledger.where else b'{"body":"# Moby","words":1}')
    assert outputs["2_WRITE_draft"]["model_used"] == "gpt-4.1"
    assert outputs["2_WRITE_social"]["prompt_id"] == "abc"
    assert outputs["1_LABEL_2"]["output"] == '{"label":"L2"}'
    assert orjson.loads(outputs["0_PAGES"]["output"]) == [{"n": 1}, {"n": 2}]


async def test_times_are_iso_text_in_utc(written: Any) -> None:
    (row,) = await ask(written, "SELECT * FROM v2_pipeline_steps WHERE step_name = '0_PAGES'")
    assert (row["started_at"], row["completed_at"]) == ("2023-11-14T22:13:21.000000Z", "2023-11-14T22:13:24.000000Z")
    assert row["runtime_seconds"] == 3.0


async def test_a_failed_step_fails_its_phase(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger, definition=orjson.dumps({"stages": STAGES}))
    await drive.step("draft", data={"body": "x"})
    await drive.step("social", data=1, status=StepStatus.FAILED, reason="too long")
    (row,) = await ask(drive, PRINTED[3])
    assert (row["step_name"], row["error_message"]) == ("STAGE_2_WRITE", "too long")
    (row,) = await ask(
        drive, "SELECT error_message FROM v2_pipeline_steps WHERE status = 'failed' AND event_type = 'step'"
    )
    assert row["error_message"] == "too long"


async def test_a_phase_is_complete_only_when_every_planned_step_is_done(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger, definition=orjson.dumps({"stages": STAGES}))
    kinds = "SELECT step_name, event_type FROM v2_pipeline_steps WHERE event_type <> 'step' ORDER BY 1, 2 DESC"

    async def shown() -> list[tuple[Any, ...]]:
        return (await ledger.query(kinds)).rows

    await ledger.write(drive.started("pages"))
    step = drive.steps["pages", ""]
    await ledger.write(*(drive.made("pages", str(n), data=n, step=step) for n in range(3)))
    assert await shown() == [("STAGE_0_READ", "stage_start")]
    await ledger.write(drive.ended("pages"))
    read = [("STAGE_0_READ", "stage_start"), ("STAGE_0_READ", "stage_complete")]
    assert await shown() == read
    await drive.step("label", "0", data="a")
    await drive.step("label", "1", data="a")
    assert await shown() == [*read, ("STAGE_1_LABEL", "stage_start")]
    await drive.step("label", "2", data="a")
    assert await shown() == [*read, ("STAGE_1_LABEL", "stage_start"), ("STAGE_1_LABEL", "stage_complete")]
    await drive.step("draft", data={"body": ""})
    assert ("STAGE_2_WRITE", "stage_complete") not in await shown(), "social is planned too"


async def test_an_outside_drivers_marks_stand_in_place_of_computed_ones(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger, definition=orjson.dumps({"stages": STAGES}))
    run = drive.run.id
    await ledger.write(Marked(ledger.new_id(), run, "STAGE_2_WRITE", "stage_start", None, drive.now()))
    await drive.step("draft", data={"body": ""})
    await drive.step("social", data=1)
    rows = await ask(drive, "SELECT event_type FROM v2_pipeline_steps WHERE step_name = 'STAGE_2_WRITE'")
    assert [row["event_type"] for row in rows] == ["stage_start"]
    await ledger.write(Marked(ledger.new_id(), run, "STAGE_2_WRITE", "stage_complete", "webhook down", drive.now()))
    await ledger.write(Marked(ledger.new_id(), run, "STAGE_2_WRITE", "stage_complete", None, drive.now()))
    rows = await ask(drive, "SELECT * FROM v2_pipeline_steps WHERE event_type = 'stage_complete' ORDER BY completed_at")
    assert [(row["status"], row["error_message"]) for row in rows] == [("failed", "webhook down"), ("completed", None)]
    assert rows[0]["runtime_seconds"] == 7.0
    assert len({row["step_id"] for row in rows}) == 2


async def test_any_client_can_read_the_views(tmp_path: Path, begin: Any) -> None:
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        drive = await begin(ledger, definition=orjson.dumps({"stages": STAGES}))
        await drive.step("draft", data={"body": "x", "n": 1}, reads={"book": "input"})
        await drive.exchange(ASK, drive.steps["draft", ""], ANSWER, cost=1)
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("SELECT output, input FROM v2_pipeline_steps WHERE event_type = 'step'").fetchall() == [
        ('{"body":"x","n":1}', '{"book":{"title":"Moby"}}')
    ]
    assert other.execute("SELECT count(*) FROM costs").fetchall() == [(1,)]
    assert other.execute("SELECT count(*) FROM stage_outputs").fetchall() == [(1,)]
    other.close()


async def test_outputs_show_text_and_data_apart(written: Any) -> None:
    await written.ledger.write(written.made("draft", data={"body": "# Dick", "words": 2}, by="anna"))
    rows = await ask(written, "SELECT * FROM stage_outputs WHERE stage = 'draft'")
    assert rows == [
        {
            "run_id": written.run.run_id,
            "stage": "draft",
            "label": "2_WRITE",
            "number": "2",
            "item": "",
            "version": 2,
            "output_data": '{"words":2}',
            "output_text": "# Dick",
            "made_by": "anna",
            "at": rows[0]["at"],
        }
    ]
    await written.ledger.write(written.made("draft", data={"body": "# Only"}))
    (row,) = await ask(written, "SELECT output_data, output_text FROM stage_outputs WHERE stage = 'draft'")
    assert row == {"output_data": None, "output_text": "# Only"}
    rows = await ask(written, "SELECT item, output_data, output_text FROM stage_outputs WHERE stage = 'label'")
    assert rows[0] == {"item": "1", "output_data": '{"label":"L1"}', "output_text": None}


async def test_costs_show_every_exchange_with_its_day_and_dollars(written: Any) -> None:
    lost = written.sent(ASK, written.steps["draft", ""], occurrence=1)
    await written.ledger.write(lost)
    await written.ledger.write(ExchangeLost(lost.id, "cut", True, written.now()))
    paid, gone = await ask(written, "SELECT * FROM costs ORDER BY sent_at")
    assert (paid["stage"], paid["label"], paid["provider"], paid["model"]) == ("draft", "2_WRITE", "openai", "gpt-4.1")
    assert (paid["cost_usd"], paid["cost_picodollars"], paid["day"]) == (0.0025, 2_500_000_000, "2023-11-14")
    assert (paid["input_tokens"], paid["output_tokens"], paid["possibly_paid"]) == (100, 20, 0)
    assert (gone["cost_usd"], gone["possibly_paid"], gone["state"]) == (None, 1, "lost")


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # PostgreSQL reads small tables whole, and is right to
async def test_a_query_for_one_run_does_not_read_the_others(written: Any) -> None:
    plan = await ask(written, f"EXPLAIN QUERY PLAN {PRINTED[0].split('chronological)')[1]}")
    scans = {row["detail"].split(" USING")[0] for row in plan if row["detail"].startswith("SCAN")}
    assert not scans & {"SCAN r", "SCAN s", "SCAN e", "SCAN o", "SCAN m", "SCAN runs", "SCAN steps", "SCAN exchanges"}
