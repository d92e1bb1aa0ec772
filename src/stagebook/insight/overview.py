"""Makes documents of runs: a handful of grouped questions to the ledger, however many runs there are."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from stagebook.engine.standing import Planned, Standing, Tally, stand
from stagebook.insight.declared_stages import DeclaredStage, declared_stages, in_scope
from stagebook.insight.run_document import RunDocument, StageDocument, StepCounts
from stagebook.ledger.clock import now
from stagebook.ledger.store import Ledger
from stagebook.ledger.summary import RunSummary, StageSummary
from stagebook.model.records import Run
from stagebook.model.status import RunStatus, Wish

EVERY: Final = 1_000_000_000
"""More runs than a ledger has."""
BATCH: Final = 1000
"""Runs described at once where only some of them are wanted."""
_ITEMS: Final = """
SELECT run_id, stage, count(*) FROM stage_outputs
WHERE run_id IN (SELECT value FROM json_each(?)) AND stage IN (SELECT value FROM json_each(?)) GROUP BY run_id, stage
"""
_FAILED: Final = "SELECT DISTINCT run FROM steps WHERE status = 'failed'"
_PARENTS: Final = "SELECT id, run_id FROM runs WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))"

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
        status: Only those that stand so; as a status is computed, many runs may have to be looked at for it.
        tag: Only those with this tag.
        limit: Most runs to give back.
    """
    runs = await ledger.runs(pipeline=pipeline, tag=tag, limit=limit if status is None else EVERY)
    if status is None:
        return await describe_all(ledger, runs)
    possible = await _possible(ledger, runs, status)
    found: list[RunDocument] = []
    for start in range(0, len(possible), BATCH):
        documents = await describe_all(ledger, possible[start : start + BATCH])
        found += [document for document in documents if document.status == status]
        if len(found) >= limit:
            break
    return found[:limit]


async def _possible(ledger: Ledger, runs: Sequence[Run], status: RunStatus) -> Sequence[Run]:
    """Leave out the runs that cannot stand so, by what is cheap to know."""
    match status:
        case RunStatus.PENDING:
            return [run for run in runs if not run.fence]
        case RunStatus.PAUSED:
            return [run for run in runs if run.wish is Wish.PAUSE]
        case RunStatus.CANCELLED:
            return [run for run in runs if run.wish is Wish.CANCEL]
        case RunStatus.RUNNING:
            return [run for run in runs if run.fence and ledger.is_driven(run.run_id)]
        case RunStatus.FAILED:
            failed = {row[0] for row in (await ledger.query(_FAILED, limit=EVERY)).rows}
            return [run for run in runs if run.id in failed]
        case RunStatus.COMPLETED | RunStatus.INTERRUPTED:
            return runs


async def describe_all(ledger: Ledger, runs: Sequence[Run]) -> list[RunDocument]:
    """Describe runs, in the order given."""
    if not runs:
        return []
    definitions = {digest: declared_stages(await ledger.definition(digest)) for digest in _hashes(runs)}
    summaries = await ledger.summaries([run.id for run in runs])
    items = await _items(ledger, runs, definitions)
    parents = await _parents(ledger, runs)
    layouts: dict[tuple[bytes, bytes], _Layout] = {}
    documents = []
    for run in runs:
        key = (run.definition_hash, run.settings)
        layout = layouts.get(key)
        if layout is None:
            layout = layouts[key] = _Layout.of(definitions[run.definition_hash], run.settings)
        documents.append(_document(ledger, run, layout, summaries[run.id], items, parents))
    return documents


@dataclass(frozen=True, slots=True)
class _Layout:
    """The stages that a run plans; the same for all runs of one declaration and the same settings."""

    planned: tuple[Planned, ...]
    """Each after those that it reads."""
    shown: tuple[DeclaredStage, ...]
    """In the order of their declaration."""
    budget: int | None
    """Picodollars, from the settings."""

    @classmethod
    def of(cls, declared: Sequence[DeclaredStage], settings: bytes) -> "_Layout":
        chosen = orjson.loads(settings)
        stages = in_scope(declared, chosen.get("until"))
        return cls(
            tuple(Planned(stage.name, stage.axis[-1] if stage.axis else None, stage.collects) for stage in stages),
            tuple(sorted(stages, key=lambda stage: stage.position)),
            chosen.get("budget"),
        )


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
    ledger: Ledger, run: Run, layout: _Layout, summary: RunSummary, items: Items, parents: Mapping[int, str]
) -> RunDocument:
    standing = _standing(ledger, run, layout, summary, items)
    driven = standing.status is RunStatus.RUNNING
    parts = summary.stages.values()
    return RunDocument(
        run_id=run.run_id,
        pipeline=run.pipeline,
        status=standing.status,
        tags=run.tags,
        created_at=run.created_at,
        seconds=_run_seconds(parts, until_now=driven),
        cost=sum(one.cost for one in parts),
        avoided=sum(one.avoided for one in parts),
        budget=layout.budget,
        possibly_paid=sum(one.possibly_paid if driven else one.possibly_paid + one.unanswered for one in parts),
        input_tokens=sum(one.input_tokens for one in parts),
        output_tokens=sum(one.output_tokens for one in parts),
        parent=parents.get(run.parent) if run.parent is not None else None,
        current_stage=standing.current_stage,
        stages=tuple(
            _stage(stage, standing, summary.stages.get(stage.name) or StageSummary(stage.name), driven=driven)
            for stage in layout.shown
        ),
        warnings=tuple(summary.warnings),
        errors=tuple(summary.errors),
    )


def _standing(ledger: Ledger, run: Run, layout: _Layout, summary: RunSummary, items: Items) -> Standing:
    tallies = {
        name: Tally(one.completed, one.failed, one.skipped, one.running, items.get((run.run_id, name), 0))
        for name, one in summary.stages.items()
    }
    standing = stand(layout.planned, tallies, wish=run.wish, driven=False, begun=run.fence > 0)
    if standing.status is RunStatus.COMPLETED or not run.fence or not ledger.is_driven(run.run_id):
        return standing
    return stand(layout.planned, tallies, wish=run.wish, driven=True, begun=True)


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


def _run_seconds(stages: Collection[StageSummary], *, until_now: bool) -> float:
    begun = [one for one in stages if one.started_at is not None]
    if not begun:
        return 0.0
    whole = StageSummary("", worked=sum(one.worked for one in begun))
    whole.started_at = min(one.started_at or 0 for one in begun)
    whole.ended_at = max(one.ended_at or one.started_at or 0 for one in begun)
    return _seconds(whole, until_now=until_now)


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
