"""The statements that write facts, in the order in which a batch executes them."""

# ruff: noqa: S608  the statements are made of constants

from dataclasses import dataclass
from typing import Final


def _greater(column: str) -> str:
    """The greater of what a step has and what comes: the one name that SQLite and PostgreSQL share for it is CASE."""
    return f"CASE WHEN excluded.{column} > steps.{column} THEN excluded.{column} ELSE steps.{column} END"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement of the hot path, in the words that SQLite and PostgreSQL share."""

    rank: int
    """Its place in the order of a batch."""
    kinds: str
    """Of its values, a letter each: `n` a number, `t` text, `b` bytes."""
    sql: str
    missing: str | None = None
    """What it means when a row of it changes nothing; None where that is in order."""


PAYLOAD: Final = Statement(
    0,
    "bnnbtb",
    """
    INSERT INTO payloads (hash, size, encoding, base, location, body) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (hash) DO NOTHING
    """,
)
PROMPT: Final = Statement(
    1,
    "bttn",
    "INSERT INTO prompts (hash, name, text, at) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING",
)
STEP_STARTED: Final = Statement(
    2,
    "nnttnbnt",
    f"""
    INSERT INTO steps (id, run, stage, item, status, attempts, failed_attempt, fingerprint, started_at, begun_at,
    worked, reads) VALUES (?1, ?2, ?3, ?4, 'running', ?5, 0, ?6, ?7, ?7, 0, ?8)
    ON CONFLICT (run, stage, item) DO UPDATE SET
        status = 'running', attempts = {_greater("attempts")}, fingerprint = excluded.fingerprint,
        reason = NULL, warnings = NULL, reused_from = NULL,
        started_at = coalesce(steps.started_at, excluded.started_at),
        begun_at = excluded.begun_at, ended_at = NULL, reads = excluded.reads
    WHERE steps.id = excluded.id
    """,
    "the step is in the ledger already, under another id",
)
STEP_WHOLE: Final = Statement(
    3,
    "nntttnbttnnnt",
    f"""
    INSERT INTO steps (id, run, stage, item, status, attempts, failed_attempt, fingerprint, reason, warnings,
    reused_from,
        started_at, begun_at, ended_at, worked, reads)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, CASE WHEN ?5 = 'failed' THEN ?6 ELSE 0 END, ?7, ?8, ?9, ?10, ?11, ?11, ?12,
        ?12 - ?11, ?13)
    ON CONFLICT (run, stage, item) DO UPDATE SET
        status = excluded.status, attempts = {_greater("attempts")},
        failed_attempt = {_greater("failed_attempt")}, fingerprint = excluded.fingerprint,
        reason = excluded.reason, warnings = excluded.warnings, reused_from = excluded.reused_from,
        started_at = coalesce(steps.started_at, excluded.started_at), begun_at = excluded.begun_at,
        ended_at = excluded.ended_at, worked = steps.worked + excluded.worked, reads = excluded.reads
    WHERE steps.id = excluded.id
    """,
    "the step is in the ledger already, under another id",
)
STEP_SKIPPED: Final = Statement(
    4,
    "nntttn",
    """
    INSERT INTO steps (id, run, stage, item, status, attempts, failed_attempt, reason, ended_at, worked)
    VALUES (?, ?, ?, ?, 'skipped', 0, 0, ?, ?, 0)
    ON CONFLICT (run, stage, item) DO UPDATE SET
        status = 'skipped', reason = excluded.reason, warnings = NULL, reused_from = NULL, ended_at = excluded.ended_at
    WHERE steps.id = excluded.id
    """,
    "the step is in the ledger already, under another id",
)
ATTEMPT_STARTED: Final = Statement(
    5,
    "nnnn",
    """
    INSERT INTO attempts (step, number, fence, status, started_at) VALUES (?, ?, ?, 'running', ?)
    ON CONFLICT (step, number) DO UPDATE SET
        fence = excluded.fence, status = 'running', started_at = excluded.started_at, ended_at = NULL,
        error_type = NULL, reason = NULL
    """,
)
ATTEMPT_WHOLE: Final = Statement(
    6,
    "nnntnntt",
    """
    INSERT INTO attempts (step, number, fence, status, started_at, ended_at, error_type, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (step, number) DO UPDATE SET
        fence = excluded.fence, status = excluded.status, started_at = excluded.started_at, ended_at =
        excluded.ended_at, error_type = excluded.error_type, reason = excluded.reason
    """,
)
ATTEMPT_SKIPPED: Final = Statement(
    7,
    "nn",
    "UPDATE attempts SET status = 'skipped', ended_at = ? WHERE step = ? AND status = 'running'",
)
SENT: Final = Statement(
    8,
    "nnnnnntnttnnttbnbt",
    """
    INSERT INTO exchanges (id, run, step, attempt, occurrence, try_number, kind, state, fence, provider, model, sent_at,
        prepared_at, method, url, request_hash, request_size, skeleton, request_headers)
    VALUES (?, ?, ?, ?, ?, ?, ?, 'sent', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """,
)
SEGMENT: Final = Statement(9, "nnnb", "INSERT INTO segments (exchange, position, at, payload) VALUES (?, ?, ?, ?)")
RECEIVED: Final = Statement(
    10,
    "ntbnnnnnnntttttn",
    """
    UPDATE exchanges SET state = 'received', http_status = ?, response_headers = ?, response = ?, received_at = ?,
        cost = ?, input_tokens = ?, output_tokens = ?, cache_read_input_tokens = ?, cache_creation_input_tokens = ?,
        reasoning_output_tokens = ?, usage = ?, price_version = ?, price_source = ?, model_returned = ?,
        finish_reason = ?, error = NULL
    WHERE id = ?
    """,
    "the exchange is not in the ledger",
)
PARSED: Final = Statement(
    11,
    "tnn",
    "UPDATE exchanges SET state = 'parsed', complaint = ?, parsed_at = ? WHERE id = ?",
    "the exchange is not in the ledger",
)
LOST: Final = Statement(
    12,
    "ttnn",
    "UPDATE exchanges SET state = ?, error = ?, received_at = ? WHERE id = ?",
    "the exchange is not in the ledger",
)
FIRST_OUTPUT: Final = Statement(
    13,
    "nnnttbnntnt",
    """
    INSERT INTO outputs (id, run, step, stage, item, version, first, content_hash, size, nul_replaced, made_by, at,
    data) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?1, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (run, stage, item, version) DO NOTHING
    """,
)
OUTPUT: Final = Statement(
    14,
    "nnnttbnntnt",
    """
    INSERT INTO outputs (id, run, step, stage, item, version, first, replaces, content_hash, size, nul_replaced,
        made_by, at, data)
    SELECT ?1, ?2, ?3, ?4, ?5, coalesce(live.version, 0) + 1, coalesce(live.first, ?1), live.id, ?6, ?7, ?8, ?9, ?10,
    ?11 FROM (SELECT 1) LEFT JOIN (
        SELECT id, version, first, content_hash FROM outputs WHERE run = ?2 AND stage = ?4 AND item = ?5
        ORDER BY version DESC LIMIT 1
    ) AS live
    WHERE (live.content_hash IS NULL) <> (?6 IS NULL) OR live.content_hash <> ?6
    """,
)
STEP_RETRIED: Final = Statement(
    15,
    "nnnn",
    "UPDATE steps SET failed_attempt = ?1, worked = worked + (?2 - begun_at) WHERE id = ?3 AND run = ?4",
    "the step is not in the ledger",
)
STEP_ENDED: Final = Statement(
    16,
    "tnttnnnn",
    """
    UPDATE steps SET status = ?1, failed_attempt = CASE WHEN ?1 = 'failed' THEN ?2 ELSE failed_attempt END,
        reason = ?3, warnings = ?4,
        reused_from = ?5, ended_at = ?6, worked = worked + (?6 - begun_at)
    WHERE id = ?7 AND run = ?8
    """,
    "the step is not in the ledger",
)
ATTEMPT_ENDED: Final = Statement(
    17,
    "tnttnn",
    "UPDATE attempts SET status = ?, ended_at = ?, error_type = ?, reason = ? WHERE step = ? AND number = ?",
    "the attempt is not in the ledger",
)
WISH: Final = Statement(18, "tn", "UPDATE runs SET wish = ? WHERE id = ?", "the run is not in the ledger")
SETTINGS: Final = Statement(18, "tn", "UPDATE runs SET settings = ? WHERE id = ?", "the run is not in the ledger")
MARK: Final = Statement(19, "nntttn", "INSERT INTO marks (id, run, name, kind, error, at) VALUES (?, ?, ?, ?, ?, ?)")
EVENT: Final = Statement(20, "nntnt", "INSERT INTO events (at, run, kind, step, data) VALUES (?, ?, ?, ?, ?)")
