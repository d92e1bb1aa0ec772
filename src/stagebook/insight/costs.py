"""What was spent, added up from the exchanges themselves: one question to the ledger for each key."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import orjson

from stagebook.ledger.store import Ledger
from stagebook.ledger.table import Cell
from stagebook.model.errors import InputError
from stagebook.model.usage import dollars

EVERY: Final = 1_000_000_000
"""More rows than a ledger has."""
SECONDS: Final = 300.0
"""Time that adding up may take."""
_DAY: Final = 86_400_000_000
"""Microseconds."""

KEYS: Final[Mapping[str, str]] = {
    "model": "nullif(coalesce(e.provider || ':', '') || coalesce(e.model, ''), coalesce(e.provider || ':', ''))",
    "provider": "e.provider",
    "stage": "(SELECT r.pipeline || '\n' || s.stage FROM steps s JOIN runs r ON r.id = s.run WHERE s.id = e.step)",
    "day": f"e.sent_at / {_DAY}",
    "week": f"(e.sent_at / {_DAY} + 3) / 7",  # 1 January 1970 was a Thursday
    "month": f"e.sent_at / {_DAY}",  # days, of which months are made here: databases say it each in its own way
    "pipeline": "(SELECT r.pipeline FROM runs r WHERE r.id = e.run)",
    "run": "(SELECT r.run_id FROM runs r WHERE r.id = e.run)",
}
"""What can be added up by, and where it stands. The subqueries run once a group where the group is made first."""
_COARSER: Final[Mapping[str, str]] = {"stage": "e.step", "pipeline": "e.run", "run": "e.run"}
"""Groups that are made first, so that a name is looked up once for all exchanges of a step or a run."""
_SUMS: Final = """count(*) AS calls, sum(e.input_tokens) AS input_tokens,
    sum(e.cache_read_input_tokens) AS cache_read_input_tokens, sum(e.output_tokens) AS output_tokens,
    sum(e.reasoning_output_tokens) AS reasoning_output_tokens, sum(e.cost) AS cost,
    count(*) FILTER (WHERE e.cost IS NULL AND e.kind = 'model' AND e.http_status BETWEEN 200 AND 299) AS unpriced,
    count(*) FILTER (WHERE e.kind <> 'tool' AND (e.state = 'lost' OR (e.state = 'sent'
        AND e.run NOT IN (SELECT CAST(value AS BIGINT) FROM json_each(?))))) AS possibly_paid"""
_AGAIN: Final = """sum(calls), sum(input_tokens), sum(cache_read_input_tokens), sum(output_tokens),
    sum(reasoning_output_tokens), sum(cost), sum(unpriced), sum(possibly_paid)"""
_OPEN: Final = """
SELECT r.id, r.run_id FROM runs r
WHERE EXISTS (SELECT 1 FROM drives d WHERE d.run = r.id AND d.fence = r.fence AND d.ended_at IS NULL)
"""
_TIMES: Final = frozenset({"day", "week", "month"})


@dataclass(frozen=True, slots=True)
class Spent:
    """What some exchanges took together."""

    calls: int
    """Sendings, retries included."""
    input_tokens: int
    """All tokens read, cached ones included."""
    cache_read_input_tokens: int
    """Of the tokens read: those that the provider had cached."""
    output_tokens: int
    """All tokens written, reasoning included."""
    reasoning_output_tokens: int
    """Of the tokens written: those of reasoning that is not shown."""
    cost: int
    """Picodollars, of every answer, accepted or not."""
    unpriced: int
    """Answers of models for which no price is known; not in `cost`."""
    possibly_paid: int
    """Sent, and no whole answer came; not in `cost`."""

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it: money as a decimal string."""
        return {
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cache_read_input_tokens,
            "output_tokens": self.output_tokens,
            "reasoning_tokens": self.reasoning_output_tokens,
            "cost_usd": dollars(self.cost),
            "unpriced": self.unpriced,
            "possibly_paid": self.possibly_paid,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """What was spent on one key."""

    key: str | None
    """None: what has no model, step or provider."""
    pipeline: str | None
    """Of a stage: its pipeline, since stages of several may have one name."""
    spent: Spent

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        of = {} if self.pipeline is None else {"pipeline": self.pipeline}
        return {"key": self.key, **of, **self.spent.to_json()}


@dataclass(frozen=True, slots=True)
class Costs:
    """What was spent, by one key."""

    by: str
    """One of KEYS."""
    rows: tuple[Row, ...]
    """Times in their order, all else the dearest first."""

    @property
    def total(self) -> Spent:
        """The sum of all rows."""
        return Spent(*(sum(getattr(row.spent, one.name) for row in self.rows) for one in fields(Spent)))

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {"by": self.by, "rows": [row.to_json() for row in self.rows], "total": self.total.to_json()}


async def costs_by(ledger: Ledger, by: str, *, pipeline: str | None = None, since: int | None = None) -> Costs:
    """Add up what was spent.

    Args:
        ledger: Where the exchanges are.
        by: One of KEYS; days, weeks (ISO 8601) and months are those of UTC.
        pipeline: Only of this one.
        since: Only what was sent at or after this time, microseconds since 1970.
    """
    where = ["e.run IN (SELECT id FROM runs WHERE pipeline = ?)"] if pipeline is not None else []
    values: list[Cell] = [await _driven(ledger)]
    if pipeline is not None:
        values.append(pipeline)
    if since is not None:
        where.append("e.sent_at >= ?")
        values.append(since)
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    group = _COARSER.get(by)
    if group is None:
        sql = f"SELECT {KEYS[by]}, {_SUMS} FROM exchanges e {condition} GROUP BY 1"  # noqa: S608  made of constants
    else:
        inner = f"SELECT {group}, {_SUMS} FROM exchanges e {condition} GROUP BY {group}"  # noqa: S608  likewise
        sql = f"SELECT {KEYS[by]}, {_AGAIN} FROM ({inner}) e GROUP BY 1"  # noqa: S608  likewise
    table = await ledger.query(sql, values, limit=EVERY, timeout=SECONDS)
    rows = [Row(*_key(by, key), Spent(*(int(str(cell or 0)) for cell in sums))) for key, *sums in table.rows]
    if by == "month":
        rows = _united(rows)
    if by in _TIMES:
        rows.sort(key=lambda row: row.key or "")
    else:
        rows.sort(key=lambda row: (-row.spent.cost, -row.spent.calls, row.pipeline or "", row.key or ""))
    return Costs(by, tuple(rows))


def beginning(text: str) -> int:
    """Read a date, or a date and time, as microseconds since 1970; UTC where it names no zone.

    Raises:
        InputError: It is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no date; write it as 2026-11-21 or 2026-11-21T18:30") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)


async def _driven(ledger: Ledger) -> str:
    """List the runs that somebody drives, as JSON: what they have sent may still be answered."""
    table = await ledger.query(_OPEN, limit=EVERY, timeout=SECONDS)
    return orjson.dumps([number for number, run_id in table.rows if ledger.is_driven(str(run_id))]).decode()


def _key(by: str, cell: Cell) -> tuple[str | None, str | None]:
    """Write a group's key, and the pipeline that it belongs to."""
    if cell is None:
        return None, None
    match by:
        case "day":
            return _date(int(str(cell))).isoformat(), None
        case "month":
            return f"{_date(int(str(cell))):%Y-%m}", None
        case "week":
            year, week, _ = _date(int(str(cell)) * 7 - 3).isocalendar()
            return f"{year}-W{week:02}", None
        case "stage":
            pipeline, _, stage = str(cell).partition("\n")
            return stage, pipeline
    return str(cell), None


def _united(rows: list[Row]) -> list[Row]:
    """Add up the rows that have the same key."""
    found: dict[str | None, Spent] = {}
    for row in rows:
        before = found.get(row.key, Spent(*(0 for _ in fields(Spent))))
        sums = (getattr(before, one.name) + getattr(row.spent, one.name) for one in fields(Spent))
        found[row.key] = Spent(*sums)
    return [Row(key, None, spent) for key, spent in found.items()]


def _date(days: int) -> date:
    return date(1970, 1, 1) + timedelta(days=days)
