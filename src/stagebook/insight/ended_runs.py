"""Runs that have ended and still hold the bodies of what they sent: what a purge may take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from stagebook.insight.overview import BATCH, EVERY, describe_all
from stagebook.ledger.store import Ledger
from stagebook.model.records import Run
from stagebook.model.status import RunStatus

ENDED: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
"""Where nothing more happens unless somebody resumes it."""
SECONDS: Final = 300.0
"""Time that a question may take."""
_HOLDING: Final = """
SELECT r.id FROM runs r LEFT JOIN steps s ON s.run = r.id WHERE EXISTS (
    SELECT 1 FROM exchanges e WHERE e.run = r.id AND (e.skeleton IS NOT NULL OR e.response IS NOT NULL))
GROUP BY r.id HAVING r.created_at < ?1 AND coalesce(max(coalesce(s.ended_at, s.started_at)), 0) < ?1
"""
_BODIES: Final = """
SELECT count(*),
    coalesce(sum(e.request_size), 0) + coalesce(sum((SELECT size FROM payloads WHERE hash = e.response)), 0)
FROM exchanges e WHERE e.run IN (SELECT CAST(value AS BIGINT) FROM json_each(?))
    AND (e.skeleton IS NOT NULL OR e.response IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Bodies:
    """What a purge would take."""

    exchanges: int
    bytes: int
    """Of requests and answers as they were sent; they are stored in a fraction of it."""


async def ended_runs(ledger: Ledger, before: int) -> list[Run]:
    """Find the runs that ended before a time and hold bodies, newest first.

    Args:
        ledger: Where they are.
        before: Microseconds since 1970: when the last of a run's steps ended.
    """
    holding = {row[0] for row in (await ledger.query(_HOLDING, (before,), limit=EVERY, timeout=SECONDS)).rows}
    runs = [run for run in await ledger.runs(limit=EVERY) if run.id in holding]
    found: list[Run] = []
    for start in range(0, len(runs), BATCH):
        batch = runs[start : start + BATCH]
        documents = await describe_all(ledger, batch)
        found += [run for run, document in zip(batch, documents, strict=True) if document.status in ENDED]
    return found


async def bodies_of(ledger: Ledger, runs: Sequence[Run]) -> Bodies:
    """Add up the bodies that runs hold."""
    numbers = orjson.dumps([run.id for run in runs]).decode()
    [(exchanges, size)] = (await ledger.query(_BODIES, (numbers,), timeout=SECONDS)).rows
    return Bodies(int(str(exchanges)), int(str(size)))
