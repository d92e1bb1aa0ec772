"""The reading side of a ledger in SQLite: rows into records."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from stagebook.ledger.event import Event
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.fragments import LIVE
from stagebook.model.records import OutputRef, RecordedExchange, Run, Step
from stagebook.model.status import ExchangeState, StepStatus, Wish

Row = tuple[Any, ...]  # Any: what sqlite3 gives, one type per column

_RUN: Final = """
SELECT r.id, r.run_id, r.pipeline, d.hash, r.source, r.settings, r.tags, r.wish, r.fence, r.parent, r.forked_at,
    r.created_at, r.created_via, r.input
FROM runs r JOIN definitions d ON d.id = r.definition
"""
_STEPS: Final = """
SELECT id, run, stage, item, status, attempts, failed_attempt, fingerprint, reason, warnings, reused_from, started_at,
    ended_at
FROM steps WHERE run = ? ORDER BY id
"""
_OUTPUTS: Final = f"""
SELECT o.id, o.stage, o.item, f.step, o.version, o.content_hash, o.size
FROM outputs o JOIN outputs f ON f.id = o.first
WHERE o.run = ? AND {LIVE} ORDER BY o.first
"""  # noqa: S608  made of constants
_STAGE_DATA: Final = f"""
SELECT o.first, o.item, o.data FROM outputs o
WHERE o.run = ? AND o.stage = ? AND o.first > ? AND {LIVE} ORDER BY o.first LIMIT ?
"""  # noqa: S608  made of constants
_ITEM_DATA: Final = """
SELECT data FROM outputs WHERE run = ? AND stage = ? AND item = ? ORDER BY version DESC LIMIT 1
"""
_RECORDED: Final = """
SELECT id, request_hash, attempt, occurrence, state, http_status, response, response_headers
FROM exchanges WHERE run = (SELECT run FROM steps WHERE id = ?1) AND step = ?1 ORDER BY id
"""


def find_run(connection: Connection, run: int | str) -> tuple[Run, bytes] | None:
    """Read a run by id or by run_id, with the hash of its input's payload in place of the input."""
    column = "id" if isinstance(run, int) else "run_id"
    row = connection.execute(f"{_RUN} WHERE r.{column} = ?", (run,)).fetchone()
    return None if row is None else (_run(row), row[-1])


def driver(connection: Connection, run_id: str) -> tuple[int, int] | None:
    """Read who claimed a run last and did not let it go: process id, and since when."""
    row = connection.execute(
        """
        SELECT d.pid, d.started_at FROM runs AS r JOIN drives AS d ON d.run = r.id AND d.fence = r.fence
        WHERE r.run_id = ? AND d.ended_at IS NULL
        """,
        (run_id,),
    ).fetchone()
    return None if row is None else (row[0], row[1])


def last_run_id(connection: Connection) -> str | None:
    """The run created last."""
    row = connection.execute("SELECT run_id FROM runs ORDER BY created_at DESC, id DESC LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def run_ids_like(connection: Connection, part: str, limit: int) -> list[str]:
    """Runs whose readable id begins or ends with a text."""
    rows = connection.execute(
        "SELECT run_id FROM runs WHERE substr(run_id, 1, ?2) = ?1 OR substr(run_id, length(run_id) - ?2 + 1) = ?1 "
        "ORDER BY created_at DESC, id DESC LIMIT ?3",
        (part, len(part), limit),
    ).fetchall()
    return [row[0] for row in rows]


def latest_run_ids(connection: Connection, limit: int) -> list[str]:
    """The readable ids of the latest runs, newest first."""
    rows = connection.execute("SELECT run_id FROM runs ORDER BY created_at DESC, id DESC LIMIT ?", (limit,)).fetchall()
    return [row[0] for row in rows]


def list_runs(connection: Connection, pipeline: str | None, tag: str | None, limit: int) -> list[Run]:
    """Runs, newest first, without their inputs."""
    where: list[str] = []
    values: list[object] = []
    if pipeline is not None:
        where.append("r.pipeline = ?")
        values.append(pipeline)
    if tag is not None:
        where.append("EXISTS (SELECT 1 FROM json_each(r.tags) WHERE value = ?)")
        values.append(tag)
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    rows = connection.execute(
        f"{_RUN} {condition} ORDER BY r.created_at DESC, r.id DESC LIMIT ?", (*values, limit)
    ).fetchall()
    return [_run(row) for row in rows]


def list_steps(connection: Connection, run: int) -> list[Step]:
    """A run's steps, oldest first."""
    return [_step(row) for row in connection.execute(_STEPS, (run,)).fetchall()]


def list_outputs(connection: Connection, run: int) -> list[OutputRef]:
    """A run's live outputs, in the order of their first appearance."""
    return [OutputRef(*row) for row in connection.execute(_OUTPUTS, (run,)).fetchall()]


def output_data(connection: Connection, output: int) -> tuple[str | None] | None:
    """An output's JSON by id; (None,) for a removal."""
    row: tuple[str | None] | None = connection.execute("SELECT data FROM outputs WHERE id = ?", (output,)).fetchone()
    return row


def item_data(connection: Connection, run: int, stage: str, item: str) -> str | None:
    """The live output of a stage for an item."""
    row = connection.execute(_ITEM_DATA, (run, stage, item)).fetchone()
    return None if row is None else row[0]


def stage_data(connection: Connection, run: int, stage: str, after: int, limit: int) -> Sequence[tuple[int, str, str]]:
    """Live outputs of a stage whose first version came after one: (id of the first version, item, JSON)."""
    return connection.execute(_STAGE_DATA, (run, stage, after, limit)).fetchall()


def recorded(connection: Connection, step: int) -> list[RecordedExchange]:
    """A step's exchanges, oldest first."""
    return [
        RecordedExchange(
            id=row[0],
            request_hash=row[1],
            attempt=row[2],
            occurrence=row[3],
            state=ExchangeState(row[4]),
            http_status=row[5],
            response_hash=row[6],
            response_headers=None if row[7] is None else row[7].encode(),
        )
        for row in connection.execute(_RECORDED, (step,)).fetchall()
    ]


def definition(connection: Connection, digest: bytes) -> str | None:
    """A declaration's JSON."""
    row = connection.execute("SELECT json FROM definitions WHERE hash = ?", (digest,)).fetchone()
    return None if row is None else str(row[0])


def wish(connection: Connection, run: int) -> str | None:
    """What its owner wants of a run."""
    row = connection.execute("SELECT wish FROM runs WHERE id = ?", (run,)).fetchone()
    return None if row is None else str(row[0])


def events(connection: Connection, after: int, run: int | None, limit: int) -> list[Event]:
    """What happened after an event, in the order of commits."""
    rows = connection.execute(
        "SELECT seq, at, run, kind, step, data FROM events "
        "WHERE seq > ?1 AND (CAST(?2 AS BIGINT) IS NULL OR run = ?2) ORDER BY seq LIMIT ?3",
        (after, run, limit),
    ).fetchall()
    return [
        Event(seq, at, of, kind, step, None if data is None else data.encode())
        for seq, at, of, kind, step, data in rows
    ]


def _run(row: Row) -> Run:
    return Run(
        id=row[0],
        run_id=row[1],
        pipeline=row[2],
        definition_hash=row[3],
        source=row[4],
        input=b"",
        settings=row[5].encode(),
        tags=tuple(orjson.loads(row[6])),
        wish=Wish(row[7]),
        fence=row[8],
        parent=row[9],
        forked_at=row[10],
        created_at=row[11],
        created_via=row[12],
    )


def _step(row: Row) -> Step:
    return Step(
        id=row[0],
        run=row[1],
        stage=row[2],
        item=row[3],
        status=StepStatus(row[4]),
        attempts=row[5],
        failed_attempt=row[6],
        fingerprint=row[7],
        reason=row[8],
        warnings=() if row[9] is None else tuple(orjson.loads(row[9])),
        reused_from=row[10],
        started_at=row[11],
        ended_at=row[12],
    )
