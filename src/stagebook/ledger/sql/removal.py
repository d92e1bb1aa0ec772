"""Takes runs out of a ledger, or the bodies of their requests and answers."""

# ruff: noqa: S608  the statements are made of constants
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.clock import now
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.unused import TakenAway, take_away_unused

_OF_EXCHANGES: Final = "SELECT id FROM exchanges WHERE run = ?1"
_OF_STEPS: Final = "SELECT id FROM steps WHERE run = ?1"
_NAMED: Final = f"""
SELECT skeleton FROM exchanges WHERE run = ?1 AND skeleton IS NOT NULL
UNION SELECT response FROM exchanges WHERE run = ?1 AND response IS NOT NULL
UNION SELECT payload FROM segments WHERE exchange IN ({_OF_EXCHANGES})
"""
_DELETE: Final = (
    f"DELETE FROM segments WHERE exchange IN ({_OF_EXCHANGES})",
    "DELETE FROM exchanges WHERE run = ?1",
    f"DELETE FROM attempts WHERE step IN ({_OF_STEPS})",
    "DELETE FROM outputs WHERE run = ?1",
    "DELETE FROM steps WHERE run = ?1",
    "DELETE FROM claims WHERE run = ?1",
    "DELETE FROM scores WHERE run = ?1",
    "DELETE FROM marks WHERE run = ?1",
    "DELETE FROM events WHERE run = ?1",
    "DELETE FROM drives WHERE run = ?1",
    "DELETE FROM experiment_runs WHERE run = ?1 OR base = ?1",
    "DELETE FROM runs WHERE id = ?1",
)
_UNUSED_DEFINITION: Final = (
    "DELETE FROM stages WHERE definition = ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE definition = ?1)",
    "DELETE FROM definitions WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE definition = ?1)",
)


@dataclass(frozen=True, slots=True)
class Purged:
    """Bodies that are no longer named."""

    exchanges: int
    payloads: frozenset[bytes]
    """Hashes of what was named; some may be in use elsewhere."""


def delete_run(connection: Connection, blobs: BlobFiles, run: int) -> TakenAway:
    """Delete a run with everything that only it needs; runs that were forked from it stay as they are.

    Args:
        connection: In a transaction that writes.
        blobs: Where large payloads are.
        run: Id of the run.

    Returns:
        What of it was stored apart; its files have to be swept afterwards.
    """
    row = connection.execute("SELECT input, definition FROM runs WHERE id = ?", (run,)).fetchone()
    if row is None:
        return TakenAway(0, 0, ())
    named = {row[0], *(one for (one,) in connection.execute(_NAMED, (run,)))}
    for statement in _DELETE:
        connection.execute(statement, (run,))
    for statement in _UNUSED_DEFINITION:
        connection.execute(statement, (row[1],))
    return take_away_unused(connection, blobs, named)


def forget_bodies(connection: Connection, runs: Sequence[int]) -> Purged:
    """Let go of the bodies of runs: their exchanges stay, and no longer name what was sent and answered.

    An exchange whose body was not empty and that names no skeleton was purged, and so was an answered one that names no
    response.

    Args:
        connection: In a transaction that writes.
        runs: Ids.
    """
    count = 0
    named: set[bytes] = set()
    for run in runs:
        named.update(one for (one,) in connection.execute(_NAMED, (run,)))
        connection.execute(_DELETE[0], (run,))
        purged = connection.execute(
            "UPDATE exchanges SET skeleton = NULL, response = NULL WHERE run = ? "
            "AND (skeleton IS NOT NULL OR response IS NOT NULL)",
            (run,),
        ).rowcount
        connection.execute(
            "INSERT INTO events (at, run, kind, data) VALUES (?, ?, 'purged', ?)",
            (now(), run, orjson.dumps({"exchanges": purged}).decode()),
        )
        count += purged
    return Purged(count, frozenset(named))


def purged_at(connection: Connection, run: int) -> int | None:
    """Say when bodies of a run were purged last; None where they never were."""
    purged = """SELECT 1 FROM exchanges WHERE run = ? AND ((skeleton IS NULL AND request_size > 0)
        OR (response IS NULL AND state IN ('received', 'parsed'))) LIMIT 1"""
    if connection.execute(purged, (run,)).fetchone() is None:  # cheap, where looking for the event is not
        return None
    row = connection.execute("SELECT max(at) FROM events WHERE run = ? AND kind = 'purged'", (run,)).fetchone()
    return None if row[0] is None else int(row[0])


def answers_to_ask_again(connection: Connection, run: int) -> int:
    """Count the purged answers of steps that are not done: a resume cannot replay them."""
    row = connection.execute(
        """
        SELECT count(*) FROM exchanges e JOIN steps s ON s.id = e.step
        WHERE e.run = ? AND e.response IS NULL AND e.state IN ('received', 'parsed')
        AND e.http_status BETWEEN 200 AND 299 AND s.status NOT IN ('completed', 'skipped')
        """,
        (run,),
    ).fetchone()
    return int(row[0])


def take_away(connection: Connection, blobs: BlobFiles, named: Iterable[bytes]) -> TakenAway:
    """Delete what of these payloads is no longer in use."""
    return take_away_unused(connection, blobs, named)
