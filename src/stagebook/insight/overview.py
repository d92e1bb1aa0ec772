"""Makes documents of runs: a handful of grouped questions to the ledger, however many runs there are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import orjson

from stagebook.engine.standing import Planned, Standing, Tally, stand
from stagebook.insight.declared_stages import DeclaredStage, declared_stages, in_scope
from stagebook.insight.run_document import RunDocument, StageDocument, StepCounts
from stagebook.ledger.clock import now
from stagebook.ledger.store import Ledger
from stagebook.ledger.summary import RunSummary, StageSummary
from stagebook.model.records import Run
from stagebook.model.status import RunStatus

EVERY: Final = 1_000_000_000
"""More runs than a ledger has."""
_ITEMS: Final = """
SELECT run_id, stage, count(*) FROM stage_outputs
WHERE run_id IN (SELECT value FROM json_each(?)) AND stage IN (SELECT value FROM json_each(?)) GROUP BY run_id, stage
"""
_PARENTS: Final = "SELECT id, run_id FROM runs WHERE id IN (SELECT value FROM json_each(?))"

Items = Mapping[tuple[str, str], int]
"""Run id and streaming stage -> items that are live."""


async def describe(ledger: Ledger, run_id: str) -> RunDocument:
    """Describe one run.

    Args:
        ledger: Where it is.
        run_id: Readable id, a part of one, or `last`.

    Raises:
        NotFound: No run is called so.
    """
    return (await describe_all(ledger, [await ledger.run(run_id)]))[0]


async def list_runs(
    ledger: Ledger,
    *,
    pipeline: str | None = None,
    status: RunStatus | None = None,
    tag: str | None = None,
    limit: int = 50,
) -> list[RunDocument]:
    """Describe runs, newest first.

    Args:
        ledger: Where they are.
        pipeline: Only of this one.
        status: Only those that stand so; as a status is computed, all runs are looked at then.
        tag: Only those with this tag.
        limit: Most runs to give back.
    """
    runs = await ledger.runs(pipeline=pipeline, tag=tag, limit=limit if status is None else EVERY)
    documents = await describe_all(ledger, runs)
    return [document for document in documents if status is None or document.status == status][:limit]


async def describe_all(ledger: Ledger, runs: Sequence[Run]) -> list[RunDocument]:
    """Describe runs, in the order given."""
    if not runs:
        return []
    definitions = {digest: declared_stages(await ledger.definition(digest)) for digest in _hashes(runs)}
    summaries = await ledger.summaries([run.id for run in runs])
    items = await _items(ledger, runs, definitions)
    parents = await _parents(ledger, runs)
    return [_document(ledger, run, definitions[run.definition_hash], summaries[run.id], items, parents) for run in runs]


def _hashes(runs: Iterable[Run]) -> set[bytes]:
    return {run.definition_hash for run in runs}


async def _items(
    ledger: Ledger, runs: Sequence[Run], definitions: Mapping[bytes, Sequence[DeclaredStage]]
) -> dict[tuple[str, str], int]:
    """Count the live items of the stages that yield any."""
    streaming = {stage.name for stages in definitions.values() for stage in stages if stage.streams}
    having = [run.run_id for run in runs if any(stage.streams for stage in definitions[run.definition_hash])]
    if not having:
        return {}
    values = (orjson.dumps(having).decode(), orjson.dumps(sorted(streaming)).decode())
    table = await ledger.query(_ITEMS, values, limit=EVERY)
    return {(str(run_id), str(stage)): int(str(count)) for run_id, stage, count in table.rows}


async def _parents(ledger: Ledger, runs: Sequence[Run]) -> dict[int, str]:
    """Find the readable ids of the runs that others were forked from."""
    wanted = sorted({run.parent for run in runs if run.parent is not None})
    if not wanted:
        return {}
    table = await ledger.query(_PARENTS, (orjson.dumps(wanted).decode(),), limit=EVERY)
    return {int(str(number)): str(run_id) for number, run_id in table.rows}


def _document(
    ledger: Ledger,
    run: Run,
    declared: Sequence[DeclaredStage],
    summary: RunSummary,
    items: Items,
    parents: Mapping[int, str],
) -> RunDocument:
    stages = in_scope(declared, _until(run))
    standing = _standing(ledger, run, stages, summary, items)
    total = summary.total()
    driven = standing.status is RunStatus.RUNNING
    return RunDocument(
        run_id=run.run_id,
        pipeline=run.pipeline,
        status=standing.status,
        tags=run.tags,
        created_at=run.created_at,
        seconds=_seconds(total, until_now=driven),
        cost=total.cost,
        avoided=total.avoided,
        possibly_paid=total.possibly_paid + (0 if driven else total.unanswered),
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        parent=parents.get(run.parent) if run.parent is not None else None,
        current_stage=standing.current_stage,
        stages=tuple(
            _stage(stage, standing, summary.stages.get(stage.name, StageSummary(stage.name)), driven=driven)
            for stage in sorted(stages, key=lambda one: one.position)
        ),
        warnings=tuple(summary.warnings),
        errors=tuple(summary.errors),
    )


def _standing(ledger: Ledger, run: Run, stages: Sequence[DeclaredStage], summary: RunSummary, items: Items) -> Standing:
    planned = [Planned(stage.name, stage.axis[-1] if stage.axis else None, stage.collects) for stage in stages]
    tallies = {
        name: Tally(one.completed, one.failed, one.skipped, one.running, items.get((run.run_id, name), 0))
        for name, one in summary.stages.items()
    }
    standing = stand(planned, tallies, wish=run.wish, driven=False, begun=run.fence > 0)
    if standing.status is RunStatus.COMPLETED or not run.fence or not ledger.is_driven(run.run_id):
        return standing
    return stand(planned, tallies, wish=run.wish, driven=True, begun=True)


def _stage(stage: DeclaredStage, standing: Standing, summary: StageSummary, *, driven: bool) -> StageDocument:
    where = standing.stages[stage.name]
    return StageDocument(
        name=stage.name,
        number=stage.number,
        phase=stage.phase,
        status=where.status,
        steps=StepCounts(
            total=where.total,
            completed=summary.completed,
            failed=summary.failed,
            skipped=summary.skipped,
            reused=summary.reused,
        ),
        input_tokens=summary.input_tokens,
        output_tokens=summary.output_tokens,
        cost=summary.cost,
        seconds=_seconds(summary, until_now=driven and summary.running > 0),
    )


def _seconds(summary: StageSummary, *, until_now: bool) -> float:
    """Time at work.

    Steps side by side count once (from the first start to the last end), and the time between two drives does not count
    (never more than all attempts together).
    """
    if summary.started_at is None:
        return 0.0
    if until_now:
        return round((now() - summary.started_at) / 1e6, 3)
    ended = summary.ended_at if summary.ended_at is not None else summary.started_at
    return round(max(0, min(ended - summary.started_at, summary.worked)) / 1e6, 3)


def _until(run: Run) -> str | None:
    until = orjson.loads(run.settings).get("until")
    return str(until) if until is not None else None
