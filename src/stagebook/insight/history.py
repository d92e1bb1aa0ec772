"""What recorded runs of a pipeline took, stage by stage: what an estimate of the next one is made from."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from stagebook.insight.overview import describe_all
from stagebook.ledger.store import Ledger
from stagebook.model.status import RunStatus

MOST_RUNS: Final = 50
"""Runs that are looked at, the latest: enough for a median, and old ones were of another pipeline."""
EVERY: Final = 1_000_000_000
"""More rows than a ledger has."""

_SIZES: Final = """
SELECT r.id, p.size FROM runs r JOIN payloads p ON p.hash = r.input
WHERE r.id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))
"""
_CALLS: Final = """
SELECT e.run, s.stage, e.provider || ':' || e.model, count(*), sum(e.input_tokens), sum(e.output_tokens),
    coalesce(sum(e.cost), 0), count(*) FILTER (WHERE e.cost IS NULL), sum(e.request_size)
FROM exchanges e JOIN steps s ON s.id = e.step
WHERE e.run IN (SELECT CAST(value AS BIGINT) FROM json_each(?)) AND e.input_tokens > 0 GROUP BY e.run, s.stage, 3
"""


@dataclass(frozen=True, slots=True)
class StageTook:
    """One stage of one recorded run, which ran to its end there."""

    input_size: int
    """Bytes of the run's input, JSON."""
    steps: int
    calls: int = 0
    """Answers that used tokens, refused ones included."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int | None = 0
    """Picodollars; None where an answer had no known price."""
    sent: int = 0
    """Bytes of the requests."""
    seconds: float = 0.0
    """Time at work."""
    models: frozenset[str] = frozenset()
    """Who answered, each `provider:name`."""


@dataclass(frozen=True, slots=True)
class History:
    """What there is to learn from."""

    stages: Mapping[str, tuple[StageTook, ...]] = field(default_factory=dict)
    """By stage."""
    runs: tuple[tuple[int, float], ...] = ()
    """(bytes of the input, seconds at work) of each run that was completed as a whole."""


@dataclass(slots=True)
class _Calls:
    """What one stage of one run asked, added up over models."""

    count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int | None = 0
    sent: int = 0
    models: set[str] = field(default_factory=set)


async def history(ledger: Ledger, pipeline: str, stages: frozenset[str]) -> History:
    """Read what the latest runs of a pipeline took.

    Of each run those stages count that were completed there by its own steps; what was taken over from another run
    tells nothing.

    Args:
        ledger: Where they are.
        pipeline: Its name.
        stages: Those that the new run will have: a run took as long as one of these only if it had the same.
    """
    runs = await ledger.runs(pipeline=pipeline, limit=MOST_RUNS)
    ids = orjson.dumps([run.id for run in runs]).decode()
    table = await ledger.query(_SIZES, (ids,), limit=EVERY)
    sizes = {int(str(number)): int(str(size)) for number, size in table.rows}
    asked = await _asked(ledger, ids)
    found: defaultdict[str, list[StageTook]] = defaultdict(list)
    whole = []
    for run, document in zip(runs, await describe_all(ledger, runs), strict=True):
        size = sizes.get(run.id)
        if size is None:
            continue
        own = not any(stage.steps.reused for stage in document.stages)
        if document.status == RunStatus.COMPLETED and own and {stage.name for stage in document.stages} == stages:
            whole.append((size, document.seconds))
        for stage in document.stages:
            if stage.status not in {RunStatus.COMPLETED, "skipped"} or stage.steps.reused:
                continue
            calls = asked[run.id, stage.name]
            found[stage.name].append(
                StageTook(
                    size,
                    stage.steps.total,
                    calls.count,
                    calls.input_tokens,
                    calls.output_tokens,
                    calls.cost,
                    calls.sent,
                    stage.seconds,
                    frozenset(calls.models),
                )
            )
    return History({name: tuple(one) for name, one in found.items()}, tuple(whole))


async def _asked(ledger: Ledger, ids: str) -> Mapping[tuple[int, str], _Calls]:
    """Add up what each stage of some runs asked; what asked nothing is made when it is looked up."""
    asked: defaultdict[tuple[int, str], _Calls] = defaultdict(_Calls)
    for run, stage, model, *sums in (await ledger.query(_CALLS, (ids,), limit=EVERY)).rows:
        count, read, written, cost, unpriced, sent = (int(str(one)) for one in sums)
        calls = asked[int(str(run)), str(stage)]
        calls.count += count
        calls.input_tokens += read
        calls.output_tokens += written
        calls.cost = None if unpriced or calls.cost is None else calls.cost + cost
        calls.sent += sent
        calls.models.add(str(model))
    return asked
