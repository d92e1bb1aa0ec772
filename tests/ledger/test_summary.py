"""Sums over steps and exchanges."""

from typing import Any

from stagebook.ledger.facts import ExchangeLost, StepSkipped
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request
from stagebook.model.status import StepStatus

ASK = Request("POST", "https://api.test/v1", (b"{}",), kind="model", provider="openai", model="m")


async def test_steps_add_up_by_stage_and_status(drive: Any) -> None:
    ledger = drive.ledger
    await drive.step("label", "1", data=1, warnings=("dark",))
    await drive.step("label", "2", data=1, status=StepStatus.FAILED, reason="no page")
    await drive.step("label", "3", data=1, reused_from=77)
    await ledger.write(drive.started("label", "4"))
    await ledger.write(
        StepSkipped(ledger.new_id(), drive.run.id, "report", "", drive.claim.fence, "nothing", drive.now())
    )
    summary = (await ledger.summaries([drive.run.id]))[drive.run.id]
    label, report = summary.stages["label"], summary.stages["report"]
    assert (label.total, label.completed, label.failed, label.running, label.reused) == (4, 2, 1, 1, 1)
    assert (report.total, report.skipped, report.worked) == (1, 1, 0)
    steps = {step.item: step for step in await ledger.steps(drive.run.id) if step.stage == "label"}
    assert label.started_at == steps["1"].started_at
    assert label.ended_at == steps["3"].ended_at
    assert label.worked == sum((step.ended_at or 0) - step.started_at for step in steps.values() if step.ended_at)
    assert summary.warnings == ["label[1]: dark"]
    assert summary.errors == ["label[2]: no page"]
    assert summary.total().total == 5


async def test_every_answer_costs_also_one_that_was_refused_or_tried_again(drive: Any) -> None:
    ledger = drive.ledger
    await ledger.write(drive.started("label"))
    step = drive.steps["label", ""]
    await drive.exchange(ASK, step, b"{}", cost=30)
    await drive.exchange(ASK, step, b"{}", cost=12)
    await drive.exchange(ASK, step, b"{}")
    await drive.exchange(ASK, None, b"{}", cost=5)
    lost, hanging = drive.sent(ASK, step), drive.sent(ASK, step)
    await ledger.write(lost, hanging)
    await ledger.write(ExchangeLost(lost.id, "cut", True, drive.now()))
    summary = (await ledger.summaries([drive.run.id]))[drive.run.id]
    label = summary.stages["label"]
    assert (label.cost, label.input_tokens, label.output_tokens) == (42, 200, 40)
    assert (label.exchanges, label.unpriced, label.possibly_paid, label.unanswered) == (5, 1, 1, 1)
    assert summary.stages[""].cost == 5
    assert summary.total().cost == 47


async def test_what_reused_steps_had_cost_is_avoided(ledger: Ledger, begin: Any) -> None:
    first, second = await begin(ledger), await begin(ledger)
    await first.step("label", data=1)
    original = first.steps["label", ""]
    await first.exchange(ASK, original, b"{}", cost=30)
    await first.exchange(ASK, original, b"{}", cost=5)
    await second.step("label", data=1, reused_from=original)
    summaries = await ledger.summaries()
    assert summaries[second.run.id].stages["label"].avoided == 35
    assert summaries[second.run.id].total().cost == 0
    assert summaries[first.run.id].total().avoided == 0


async def test_only_the_runs_asked_for_are_added_up(ledger: Ledger, begin: Any) -> None:
    drives = [await begin(ledger) for _ in range(3)]
    for drive in drives:
        await drive.step("label", data=1)
    asked = [drives[0].run.id, drives[2].run.id]
    assert set(await ledger.summaries(asked)) == set(asked)
    assert set(await ledger.summaries()) == {drive.run.id for drive in drives}
    assert await ledger.summaries([]) == {}


async def test_a_run_without_steps_is_empty_and_there(drive: Any) -> None:
    summary = (await drive.ledger.summaries([drive.run.id]))[drive.run.id]
    assert summary.stages == {}
    assert summary.total().started_at is None
