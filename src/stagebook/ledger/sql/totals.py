"""Sums over steps and exchanges, grouped in the database."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.summary import RunSummary, StageSummary

_STEPS: Final = """
SELECT s.run, s.stage, count(*), count(*) FILTER (WHERE s.status = 'completed'),
    count(*) FILTER (WHERE s.status = 'failed'), count(*) FILTER (WHERE s.status = 'skipped'),
    count(*) FILTER (WHERE s.status = 'running'), count(*) FILTER (WHERE s.status = 'pending'),
    count(s.reused_from), min(s.started_at), max(s.ended_at),
    sum(s.worked)
FROM steps s {chosen} GROUP BY s.run, s.stage
"""
_EXCHANGES: Final = """
SELECT s.run, t.stage, count(*), coalesce(sum(s.cost), 0),
    count(*) FILTER (WHERE s.cost IS NULL AND s.kind = 'model' AND s.http_status BETWEEN 200 AND 299),
    count(*) FILTER (WHERE s.state = 'lost' AND s.kind <> 'tool'),
    count(*) FILTER (WHERE s.state = 'sent' AND s.kind <> 'tool'),
    coalesce(sum(s.input_tokens), 0), coalesce(sum(s.output_tokens), 0),
    coalesce(sum(s.cache_read_input_tokens), 0), coalesce(sum(s.cache_creation_input_tokens), 0),
    coalesce(sum(s.reasoning_output_tokens), 0)
FROM exchanges s LEFT JOIN steps t ON t.id = s.step {chosen} GROUP BY s.run, t.stage
"""
_AVOIDED: Final = """
SELECT s.run, s.stage, coalesce(sum(e.cost), 0)
FROM steps s JOIN steps o ON o.id = s.reused_from JOIN exchanges e ON e.run = o.run AND e.step = o.id
{chosen} GROUP BY s.run, s.stage
"""
_TOLD: Final = """
SELECT s.run, s.stage, s.item, s.status, s.reason, s.warnings
FROM steps s {chosen} {joined} (s.status = 'failed' OR s.warnings IS NOT NULL) ORDER BY s.id
"""
_NO_STEPS: Final = (0, 0, 0, 0, 0, 0, 0, None, None, 0)
_CHOSEN: Final = "WHERE s.run IN (SELECT CAST(value AS BIGINT) FROM json_each(?))"


def summarize(connection: Connection, runs: Sequence[int] | None) -> dict[int, RunSummary]:
    """Add up runs: those named, or all.

    Args:
        connection: To read with.
        runs: Ids, or None.
    """
    chosen = "" if runs is None else _CHOSEN
    joined = "WHERE" if runs is None else "AND"
    values = () if runs is None else (orjson.dumps(list(runs)).decode(),)
    found: dict[int, RunSummary] = {run: RunSummary(run) for run in runs or ()}

    def rows(sql: str) -> list[tuple[Any, ...]]:  # Any: one type per column
        return connection.execute(sql.format(chosen=chosen, joined=joined), values).fetchall()

    def of(run: int) -> RunSummary:
        summary = found.get(run)
        if summary is None:
            summary = found[run] = RunSummary(run)
        return summary

    spent = {(run, stage or ""): sums for run, stage, *sums in rows(_EXCHANGES)}
    for run, stage, *counts in rows(_STEPS):
        of(run).stages[stage] = StageSummary(stage, *counts, *spent.pop((run, stage), ()))
    for (run, stage), sums in spent.items():
        of(run).stages[stage] = StageSummary(stage, *_NO_STEPS, *sums)
    for run, stage, cost in rows(_AVOIDED):
        of(run).stage(stage).avoided = cost
    for run, stage, item, status, reason, warnings in rows(_TOLD):
        name = f"{stage}[{item}]" if item else stage
        if status == "failed":
            of(run).errors.append(f"{name}: {reason or 'failed without a reason'}")
        of(run).warnings.extend(f"{name}: {text}" for text in orjson.loads(warnings or "[]"))
    return found
