"""The ledger's views in PostgreSQL: the columns and rows that SQLite's have."""

# ruff: noqa: S608  the statements are made of constants
from typing import Final

from stagebook.ledger.sql.fragments import LIVE


def iso(column: str) -> str:
    """Microseconds as ISO 8601 text, which sorts by time."""
    return f"""to_char({_timestamp(column)}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _timestamp(column: str) -> str:
    return f"(timestamp 'epoch' + ({column}) * interval '1 microsecond')"


STAGE_OUTPUTS: Final = f"""
CREATE VIEW stage_outputs AS
SELECT r.run_id, o.stage, g.label, g.number, o.item, o.version,
    CASE WHEN g.text_field IS NULL THEN o.data ELSE (
        SELECT '{{' || string_agg(to_json(f.key)::text || ':' || f.value::text, ',' ORDER BY f.place) || '}}'
        FROM json_each(o.data::json) WITH ORDINALITY AS f(key, value, place) WHERE f.key <> g.text_field
    ) END AS output_data,
    CASE WHEN g.text_field IS NOT NULL THEN o.data::json ->> g.text_field END AS output_text,
    o.made_by, {iso("o.at")} AS at
FROM outputs o
JOIN runs r ON r.id = o.run
LEFT JOIN stages g ON g.definition = r.definition AND g.name = o.stage
WHERE {LIVE}
"""

COSTS: Final = f"""
CREATE VIEW costs AS
SELECT r.run_id, r.pipeline, s.stage, g.label, s.item, e.kind, e.provider, e.model, e.model_returned,
    to_char({_timestamp("e.sent_at")}, 'YYYY-MM-DD') AS day, {iso("e.sent_at")} AS sent_at,
    e.state, e.http_status, e.input_tokens, e.output_tokens, e.cache_read_input_tokens, e.cache_creation_input_tokens,
    e.reasoning_output_tokens, e.cost / 1e12 AS cost_usd, e.cost AS cost_picodollars,
    (e.state = 'lost' AND e.kind <> 'tool')::int AS possibly_paid, e.price_version, e.price_source
FROM exchanges e
JOIN runs r ON r.id = e.run
LEFT JOIN steps s ON s.id = e.step
LEFT JOIN stages g ON g.definition = r.definition AND g.name = s.stage
"""

_RUN_INPUT: Final = """(SELECT convert_from(p.body, 'UTF8')::json FROM payloads p
            WHERE p.hash = r.input AND p.encoding = 0 AND p.location IS NULL)"""
_OUTPUT: Final = f"""CASE WHEN g.streams = 1 THEN (
        SELECT coalesce(json_agg(o.data::json ORDER BY o.first), '[]'::json) FROM outputs o
        WHERE o.run = s.run AND o.stage = s.stage AND o.step = s.id AND {LIVE})
    ELSE (
        SELECT o.data::json FROM outputs o WHERE o.run = s.run AND o.stage = s.stage AND o.item = s.item
        ORDER BY o.version DESC LIMIT 1) END"""
_BEGAN: Final = """CASE WHEN m.kind = 'stage_start' THEN m.at ELSE (
        SELECT max(b.at) FROM marks b
        WHERE b.run = m.run AND b.name = m.name AND b.kind = 'stage_start' AND b.id < m.id) END"""
_MARKED: Final = f"""SELECT 'STEP_' || substr(r.run_id, 5) || '_' || m.name || ':' || m.kind || (
        SELECT CASE WHEN count(*) = 0 THEN '' ELSE '_' || (count(*) + 1) END FROM marks b
        WHERE b.run = m.run AND b.name = m.name AND b.kind = m.kind AND b.id < m.id),
    r.run_id, NULL, m.name,
    CASE WHEN m.kind = 'stage_start' THEN 'running' WHEN m.error IS NULL THEN 'completed' ELSE 'failed' END,
    m.kind, NULL, NULL, NULL, CASE WHEN m.kind <> 'stage_start' THEN (m.at - {_BEGAN}) / 1e6 END, NULL,
    {iso(_BEGAN)}, CASE WHEN m.kind <> 'stage_start' THEN {iso("m.at")} END, m.error
FROM runs r JOIN marks m ON m.run = r.id"""
"""Phases as somebody marked them."""


def _of_phase(value: str) -> str:
    """Something that is computed from the steps of phase `p` in run `r`."""
    return f"""(SELECT {value} FROM stages g JOIN steps s ON s.run = r.id AND s.stage = g.name
        WHERE g.definition = r.definition AND g.phase = p.phase)"""


_PHASES: Final = f"""FROM runs r
JOIN (SELECT DISTINCT definition, phase FROM stages WHERE phase IS NOT NULL) p ON p.definition = r.definition
WHERE NOT EXISTS (SELECT 1 FROM marks m WHERE m.run = r.id AND m.name = p.phase)
AND {_of_phase("count(*)")} > 0"""
"""Phases that have begun and that nobody marked."""
_PHASE_BEGAN: Final = _of_phase("min(coalesce(s.started_at, s.ended_at))")
_PHASE_ENDED: Final = _of_phase("max(s.ended_at)")
_PHASE_ERROR: Final = _of_phase("max(CASE WHEN s.status = 'failed' THEN coalesce(s.reason, 'a step failed') END)")
_STARTED: Final = f"""SELECT 'STEP_' || substr(r.run_id, 5) || '_' || p.phase || ':stage_start', r.run_id, NULL,
    p.phase, 'running', 'stage_start', NULL, NULL, NULL, NULL, NULL, {iso(_PHASE_BEGAN)}, NULL, NULL
{_PHASES}"""
_ENDED: Final = f"""SELECT 'STEP_' || substr(r.run_id, 5) || '_' || p.phase || ':stage_complete', r.run_id, NULL,
    p.phase, CASE WHEN {_PHASE_ERROR} IS NULL THEN 'completed' ELSE 'failed' END, 'stage_complete', NULL, NULL, NULL,
    ({_PHASE_ENDED} - {_PHASE_BEGAN}) / 1e6, NULL, {iso(_PHASE_BEGAN)}, {iso(_PHASE_ENDED)}, {_PHASE_ERROR}
{_PHASES}
AND {_of_phase("count(*) FILTER (WHERE s.status IN ('pending', 'running'))")} = 0
AND NOT EXISTS (
    SELECT 1 FROM stages g WHERE g.definition = r.definition AND g.phase = p.phase AND (
        SELECT count(*) FROM steps s WHERE s.run = r.id AND s.stage = g.name
    ) < CASE WHEN g.each IS NULL THEN 1 ELSE (
        SELECT count(*) FROM outputs o WHERE o.run = r.id AND o.stage = g.each AND {LIVE}) END)"""
"""Phases of which every planned step is done: one of a stage, or one for each item that it is mapped over."""

PIPELINE_STEPS: Final = f"""
CREATE VIEW v2_pipeline_steps AS
SELECT 'STEP_' || substr(r.run_id, 5) || '_' || coalesce(g.step_key, s.stage)
        || CASE WHEN s.item = '' THEN '' ELSE '_' || s.item END AS step_id,
    r.run_id, g.prompt_id, coalesce(g.label, s.stage) AS step_name,
    CASE WHEN s.status = 'skipped' THEN 'completed' ELSE s.status END AS status, 'step' AS event_type,
    (SELECT coalesce(json_object_agg(j.key, CASE json_typeof(j.value)
        WHEN 'number' THEN (SELECT o.data::json FROM outputs o WHERE o.id = (j.value #>> '{{}}')::bigint)
        WHEN 'array' THEN (SELECT coalesce(json_agg(o.data::json ORDER BY a.place), '[]'::json)
            FROM json_array_elements_text(j.value) WITH ORDINALITY AS a(id, place)
            JOIN outputs o ON o.id = a.id::bigint)
        WHEN 'string' THEN {_RUN_INPUT}
        WHEN 'object' THEN j.value
        END), '{{}}'::json) FROM json_each(s.reads::json) AS j) AS input,
    {_OUTPUT} AS output,
    (SELECT coalesce(sum(e.input_tokens + e.output_tokens), 0)::bigint FROM exchanges e
        WHERE e.run = s.run AND e.step = s.id) AS tokens_used,
    s.worked / 1e6 AS runtime_seconds,
    (SELECT e.model FROM exchanges e WHERE e.run = s.run AND e.step = s.id AND e.model IS NOT NULL
        ORDER BY e.id DESC LIMIT 1) AS model_used,
    {iso("coalesce(s.started_at, s.ended_at)")} AS started_at,
    {iso("s.ended_at")} AS completed_at,
    CASE WHEN s.status = 'failed' THEN s.reason END AS error_message
FROM runs r
JOIN steps s ON s.run = r.id
LEFT JOIN stages g ON g.definition = r.definition AND g.name = s.stage
UNION ALL
{_MARKED}
UNION ALL
{_STARTED}
UNION ALL
{_ENDED}
"""

VIEWS: Final = {"stage_outputs": STAGE_OUTPUTS, "costs": COSTS, "v2_pipeline_steps": PIPELINE_STEPS}
