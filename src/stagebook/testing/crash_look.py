"""What a ledger holds while nobody writes it, read from a copy: looking must not mend what a killed process left."""

import asyncio
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.store import Ledger
from stagebook.model.status import ExchangeState
from stagebook.testing.crash_places import Place, patiently, settled_ledger

SIDES: Final = ("", "-wal")
"""Files that hold a database; `-shm` is only an index, which the next one to open it makes anew."""

_CALLS: Final = """
SELECT e.id, coalesce(s.stage, ''), coalesce(s.item, ''), e.occurrence, e.kind, e.state, e.http_status, e.cost,
    e.response, e.request_hash
FROM exchanges e LEFT JOIN steps s ON s.id = e.step ORDER BY e.id
"""
_OUTPUTS: Final = """
SELECT stage, item, data FROM outputs AS o WHERE content_hash IS NOT NULL AND version = (
    SELECT max(version) FROM outputs WHERE run = o.run AND stage = o.stage AND item = o.item)
"""
_TOLD: Final = "SELECT data FROM events WHERE kind = 'possibly_paid'"
_DRIVEN: Final = "SELECT coalesce(max(ended_at - started_at), 0) FROM drives"
_OPEN_ATTEMPTS: Final = """
SELECT s.stage, s.item, a.number FROM attempts a JOIN steps s ON s.id = a.step
WHERE a.ended_at IS NULL AND s.status IN ('completed', 'skipped')
"""
_VERSIONS: Final = "SELECT stage, item, version FROM outputs WHERE version > 1"
_ORPHANS: Final = """
SELECT id FROM exchanges WHERE step NOT IN (SELECT id FROM steps)
UNION ALL SELECT id FROM outputs WHERE step NOT IN (SELECT id FROM steps)
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One exchange as the ledger has it."""

    id: int
    stage: str
    item: str
    occurrence: int
    """The how-manieth sending of this request within its step, from 0."""
    kind: str
    """`model`, which the provider's bill knows, or `http`."""
    state: ExchangeState
    status: int | None
    """HTTP status of the answer."""
    cost: int | None
    """Picodollars; None where nothing was charged, or the answer did not say."""
    response: bytes | None
    """Hash of the answer's body."""
    sha256: str
    """Hex digest of the request's body, rebuilt from the ledger: the bill knows requests by it."""

    @property
    def place(self) -> tuple[str, str, str, int]:
        """Where an answer belongs, the same in every run of one input: stage, item, request, occurrence."""
        return self.stage, self.item, self.sha256, self.occurrence

    @property
    def answered(self) -> bool:
        """Whether a whole answer that was paid for is kept."""
        return self.state in {ExchangeState.RECEIVED, ExchangeState.PARSED} and 200 <= (self.status or 0) < 300  # noqa: PLR2004  success, RFC 9110


@dataclass(frozen=True, slots=True)
class Look:
    """A ledger with at most one run."""

    run_id: str | None = None
    """The run; None where none was begun so far."""
    calls: tuple[Call, ...] = ()
    outputs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(stage, item) -> JSON of the live output."""
    steps: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(stage, item) -> status."""
    attempts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(stage, item) -> attempts begun."""
    told: int = 0
    """Calls that resumes have reported as possibly paid, so far."""
    driven: float = 0.0
    """Seconds of the longest drive that came to its end."""
    untidy: tuple[str, ...] = ()
    """What no ledger may hold once a run is completed, one line each."""


def look(ledger: Place, known: dict[bytes, str] | None = None) -> Look:
    """Look at a ledger that no living process has open.

    Args:
        ledger: Its file, or its address in PostgreSQL.
        known: Digests of bodies by request hash, filled on the way; None rebuilds and checks every body.
    """
    if isinstance(ledger, str):
        return patiently(lambda: _look_at_server(ledger, known))
    if not ledger.exists():
        return Look()
    with tempfile.TemporaryDirectory(prefix="stagebook-look-") as folder:
        copy = Path(folder) / ledger.name
        for side in SIDES:
            source = ledger.with_name(ledger.name + side)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + side))
        blobs = ledger.parent / "blobs"
        if blobs.exists():
            (copy.parent / "blobs").symlink_to(blobs.absolute())
        connection = sqlite3.connect(copy)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'exchanges'").fetchone():
                return Look()
            unsound = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            return _read(connection, copy, known, *(f"integrity_check: {line}" for line in unsound))
        finally:
            connection.close()


def _look_at_server(ledger: str, known: dict[bytes, str] | None) -> Look:
    with settled_ledger(ledger) as server:
        return Look() if server is None else _read(server, ledger, known)


def _read(connection: Connection, copy: Place, known: dict[bytes, str] | None, *unsound: str) -> Look:
    untidy = list(unsound)
    runs = [row[0] for row in connection.execute("SELECT run_id FROM runs")]
    if len(runs) > 1:
        untidy.append(f"{len(runs)} runs where one was begun: {', '.join(runs)}")
    rows = connection.execute(_CALLS).fetchall()
    digests = asyncio.run(_digests(copy, rows, {} if known is None else known))
    steps = connection.execute("SELECT stage, item, status, attempts FROM steps").fetchall()
    untidy += [
        f"{stage}[{item}] attempt {number} is open" for stage, item, number in connection.execute(_OPEN_ATTEMPTS)
    ]
    untidy += [f"{stage}[{item}] has version {version}" for stage, item, version in connection.execute(_VERSIONS)]
    untidy += [f"row {row[0]} belongs to no step" for row in connection.execute(_ORPHANS)]
    return Look(
        run_id=runs[0] if runs else None,
        calls=tuple(_call(row, digest) for row, digest in zip(rows, digests, strict=True)),
        outputs={(stage, item): data for stage, item, data in connection.execute(_OUTPUTS)},
        steps={(stage, item): status for stage, item, status, _ in steps},
        attempts={(stage, item): attempts for stage, item, _, attempts in steps},
        told=sum(orjson.loads(data)["count"] for (data,) in connection.execute(_TOLD)),
        driven=connection.execute(_DRIVEN).fetchone()[0] / 1e6,
        untidy=tuple(untidy),
    )


def _call(row: tuple[Any, ...], sha256: str) -> Call:
    number, stage, item, occurrence, kind, state, status, cost, response, _ = row
    return Call(number, stage, item, occurrence, kind, ExchangeState(state), status, cost, response, sha256)


async def _digests(copy: Place, rows: Iterable[tuple[Any, ...]], known: dict[bytes, str]) -> list[str]:
    """Hash the bodies that the ledger puts together again (it checks each against the hash of what was sent).

    Answers are read as well: what cannot be read is not kept.
    """
    found: list[str] = []
    async with await Ledger.open(copy, read_only=True) as ledger:
        for row in rows:
            number, answer, request_hash = row[0], row[8], row[9]
            if request_hash not in known:
                known[request_hash] = hashlib.sha256(await ledger.request_body(number)).hexdigest()
                if answer is not None:
                    await ledger.payload(answer)
            found.append(known[request_hash])
    return found
