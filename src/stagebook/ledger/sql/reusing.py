"""What steps of other runs made, for a run that takes it over instead of asking again."""

from typing import Final

import orjson

from stagebook.ledger.fingerprints import Fingerprints
from stagebook.ledger.sql.connection import Connection, stream
from stagebook.model.records import Made
from stagebook.model.status import StepStatus

_FINGERPRINTS: Final = """
SELECT s.fingerprint, s.id FROM runs r CROSS JOIN steps s
WHERE r.pipeline = ? AND r.id <> ? AND s.run = r.id AND s.stage = ? AND s.status = 'completed'
    AND s.fingerprint IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM steps o
        WHERE o.id = s.reused_from AND o.status = 'completed' AND o.fingerprint = s.fingerprint)
ORDER BY r.id
"""
"""CROSS JOIN tells SQLite to begin with the runs: it would read every step of the ledger otherwise."""
_MADE: Final = """
SELECT s.status, s.fingerprint, s.warnings, o.data, o.made_by, coalesce(s.reused_from, s.id)
FROM steps s JOIN outputs o ON o.run = s.run AND o.stage = s.stage AND o.item = s.item
WHERE s.id = ? ORDER BY o.version DESC LIMIT 1
"""


def fingerprints(connection: Connection, pipeline: str, stage: str, besides: int) -> Fingerprints:
    """Find the completed steps of a stage in all runs but one, the oldest run first; a copy of one of them is none."""
    return Fingerprints(stream(connection, _FINGERPRINTS, (pipeline, besides, stage)))


def made(connection: Connection, step: int, fingerprint: bytes) -> Made | None:
    """Read a step's live output; None where it is not completed any more, with this fingerprint and an output."""
    row = connection.execute(_MADE, (step,)).fetchone()
    if row is None or row[0] != StepStatus.COMPLETED or row[1] != fingerprint or row[3] is None:
        return None
    return Made(row[3].encode(), row[4], () if row[2] is None else tuple(orjson.loads(row[2])), row[5])
