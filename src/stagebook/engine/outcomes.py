"""What became of the steps of a run, as its own stages read it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson

from stagebook.engine.plan import StepKey
from stagebook.ledger.store import Ledger
from stagebook.model.status import StepStatus
from stagebook.model.told import Outcome

_TOLD: Final = """
SELECT item, status, reason, warnings, begun_at, ended_at FROM steps
WHERE run = ? AND stage = ? AND (status IN ('failed', 'skipped') OR warnings IS NOT NULL)
"""
_MOST: Final = 1 << 30
"""Rows: all of them, since what is left out would be taken for completed."""
_SECONDS: Final = 600.0


class Outcomes:
    """Reads what became of steps.

    Args:
        ledger: Where they are.
        run: Id of the run.
        asked: Stage -> the model that it asks; those that ask none are not in it.
        how: Stage -> how it is asked, where that is more than the model's name.
    """

    def __init__(
        self, ledger: Ledger, run: int, asked: Mapping[str, str], how: Mapping[str, str] | None = None
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._asked = asked
        self._how = how or {}

    async def told(self, keys: Sequence[StepKey]) -> list[Outcome]:
        """Read those that did not simply complete, in the order of the keys."""
        await self._ledger.write()  # skipped steps are written without waiting
        return await self.settled(keys)

    async def settled(self, keys: Sequence[StepKey]) -> list[Outcome]:
        """Read the same of a run that nothing is written for any more."""
        found: dict[StepKey, Outcome] = {}
        for stage in dict.fromkeys(key.stage for key in keys):
            table = await self._ledger.query(_TOLD, (self._run, stage), limit=_MOST, timeout=_SECONDS)
            for item, status, reason, warnings, begun, ended in table.rows:
                one = Outcome(
                    stage=stage,
                    item=str(item),
                    status=StepStatus(str(status)),
                    reason=None if reason is None else str(reason),
                    warnings=() if warnings is None else tuple(orjson.loads(str(warnings))),
                    asked=self._asked.get(stage),
                    asked_how=self._how.get(stage, ""),
                    ended_at=None if ended is None else datetime.fromtimestamp(int(str(ended)) / 1_000_000, UTC),
                    duration_ms=_milliseconds(begun, ended),
                )
                found[StepKey(stage, one.item)] = one
        return [found[key] for key in keys if key in found]


def _milliseconds(begun: object, ended: object) -> int | None:
    return None if begun is None or ended is None else max(0, (int(str(ended)) - int(str(begun))) // 1000)
