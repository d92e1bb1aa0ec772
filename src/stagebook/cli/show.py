"""`stagebook show`: a run, the steps of one of its stages, or one step in full."""

from dataclasses import dataclass
from typing import Any

import click
import orjson

from stagebook.cli.console import print_json, results
from stagebook.cli.opened import look
from stagebook.cli.options import json_option, ledger_option, run_argument
from stagebook.cli.report import print_head, print_told
from stagebook.cli.show_step import print_item, print_step, print_steps
from stagebook.cli.stage_table import stage_table
from stagebook.insight.attempts import AttemptDocument, attempts_of
from stagebook.insight.exchanges import ExchangeDocument, exchanges_of
from stagebook.insight.overview import describe
from stagebook.insight.run_document import RunDocument, StageDocument, iso
from stagebook.insight.steps import StepDocument, one_step, steps_of
from stagebook.ledger.store import Ledger
from stagebook.model.errors import NotFound
from stagebook.model.records import Run


@click.command
@run_argument
@click.option("--stage", metavar="S", help="One stage: its steps, or its one step in full.")
@click.option("--item", metavar="K", help="One item of a mapped stage.")
@json_option
@ledger_option
def show(*, run_id: str, stage: str | None, item: str | None, as_json: bool, ledger: str | None) -> None:
    """Show RUN (`last` for the latest): its stages, or with --stage what was asked, answered and made there."""
    if item is not None and stage is None:
        raise click.UsageError("--item needs --stage: which stage's item is meant?")

    async def work(opened: Ledger) -> None:
        document = await describe(opened, run_id)
        if stage is None:
            found = await opened.run(document.run_id)
            _show_run(document, await opened.upkeep.purged_at(found.id), as_json=as_json)
        else:
            await _show_stage(opened, document, stage, item, as_json=as_json)

    look(ledger, work)


def _show_run(run: RunDocument, purged_at: int | None, *, as_json: bool) -> None:
    if as_json:
        print_json(run.to_json())
        return
    console = results()
    print_head(console, run)
    if run.tags:
        console.print(f"tags: {', '.join(run.tags)}", style="dim")
    if run.parent is not None:
        console.print(f"forked from {run.parent}", style="dim")
    if purged_at is not None:
        console.print(f"what it asked and was answered was purged on {iso(purged_at)[:10]}", style="dim")
    console.print()
    console.print(stage_table(run))
    print_told(console, "error", run.errors, whole=True)
    print_told(console, "warning", run.warnings, whole=True)


@dataclass(frozen=True, slots=True)
class _Found:
    """One step in full."""

    step: StepDocument
    attempts: list[AttemptDocument]
    exchanges: list[ExchangeDocument]
    outputs: dict[str, Any]
    """Item -> what was made; a stage that yields items may have many."""


async def _show_stage(ledger: Ledger, document: RunDocument, name: str, item: str | None, *, as_json: bool) -> None:
    stage = _stage(document, name)
    name = stage.name
    run = await ledger.run(document.run_id)
    steps = await steps_of(ledger, run, name)
    if item is not None and all(step.item != item for step in steps):
        made = await ledger.output_of(run.id, name, item)
        if made is not None:  # a stage that yields items has one step, and as many outputs as items
            _show_item(name, item, orjson.loads(made), as_json=as_json)
            return
    if item is None and (len(steps) != 1 or steps[0].item):
        if as_json:
            print_json({"run_id": run.run_id, "stage": stage.to_json(), "steps": [step.to_json() for step in steps]})
        else:
            print_steps(results(), stage, steps)
        return
    step = one_step(steps, name, item)
    found = _Found(
        step,
        await attempts_of(ledger, step.id, driven=ledger.is_driven(run.run_id)),
        await exchanges_of(ledger, run.id, step.id),
        await _outputs(ledger, run, step),
    )
    if as_json:
        full = step.to_json() | {
            "history": [attempt.to_json() for attempt in found.attempts],
            "exchanges": [exchange.to_json() for exchange in found.exchanges],
        }
        if step.item in found.outputs:
            full["output"] = found.outputs[step.item]
        else:
            full["items"] = found.outputs
        print_json({"run_id": run.run_id, "stage": stage.to_json(), "steps": [full]})
    else:
        print_step(results(), step, found.attempts, found.exchanges, found.outputs)


def _show_item(stage: str, item: str, output: Any, *, as_json: bool) -> None:
    if as_json:
        print_json({"stage": stage, "item": item, "output": output})
    else:
        print_item(results(), stage, item, output)


def _stage(document: RunDocument, name: str) -> StageDocument:
    for stage in document.stages:
        if name == stage.name or (stage.number is not None and name == str(stage.number)):
            return stage
    raise NotFound(
        f"{document.run_id} has no stage {name!r}; its stages: {', '.join(stage.name for stage in document.stages)}"
    )


async def _outputs(ledger: Ledger, run: Run, step: StepDocument) -> dict[str, Any]:
    """Read what a step made: its one output, or the items that it yielded."""
    whole = await ledger.output_of(run.id, step.stage, step.item)
    if whole is not None:
        return {step.item: orjson.loads(whole)}
    return {
        item: orjson.loads(data)
        async for item, data in ledger.stage_outputs(run.id, step.stage)
        if not step.item or item.startswith(f"{step.item}/")
    }
