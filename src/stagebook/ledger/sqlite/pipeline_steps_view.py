"""The view `v2_pipeline_steps`: steps, and starts and ends of phases, in the columns that existing dashboards query.

A skipped step is shown as completed. A phase is there as an outside driver marked it, or else as its steps tell.
"""

# ruff: noqa: S608  the statements are made of constants
from typing import Final

from stagebook.ledger.sql.fragments import LIVE
from stagebook.ledger.sqlite.fragments import iso

_PLAIN_INPUT: Final = """(SELECT CAST(p.body AS TEXT) FROM payloads p
            WHERE p.hash = r.input AND p.encoding = 0 AND p.location IS NULL)"""
_OUR_INPUT: Final = "payload_text(r.input)"
_PLAIN_OUTPUT: Final = f"""iif(g.streams,
        (SELECT json_group_array(json(data)) FROM (
            SELECT o.data FROM outputs o WHERE o.run = s.run AND o.stage = s.stage AND o.step = s.id
            AND {LIVE} ORDER BY o.first)),
        (SELECT o.data FROM outputs o WHERE o.run = s.run AND o.stage = s.stage AND o.item = s.item
            ORDER BY o.version DESC LIMIT 1))"""
_OUR_OUTPUT: Final = f"""coalesce(
        payload_text((SELECT e.response FROM exchanges e WHERE e.run = s.run AND e.step = s.id
            AND e.kind IN ('model', 'poll') AND e.response IS NOT NULL ORDER BY e.id DESC LIMIT 1)),
        {_PLAIN_OUTPUT})"""


_BEGAN: Final = """iif(m.kind = 'stage_start', m.at, (
        SELECT max(b.at) FROM marks b
        WHERE b.run = m.run AND b.name = m.name AND b.kind = 'stage_start' AND b.id < m.id))"""
_MARKED: Final = f"""SELECT 'STEP_' || substr(r.run_id, 5) || '_' || m.name || ':' || m.kind || (
        SELECT iif(count(*) = 0, '', '_' || (count(*) + 1)) FROM marks b
        WHERE b.run = m.run AND b.name = m.name AND b.kind = m.kind AND b.id < m.id),
    r.run_id, NULL, m.name,
    CASE WHEN m.kind = 'stage_start' THEN 'running' WHEN m.error IS NULL THEN 'completed' ELSE 'failed' END,
    m.kind, NULL, NULL, NULL, iif(m.kind = 'stage_start', NULL, (m.at - {_BEGAN}) / 1e6), NULL,
    {iso(_BEGAN)}, iif(m.kind = 'stage_start', NULL, {iso("m.at")}), m.error
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
_PHASE_ERROR: Final = _of_phase("max(iif(s.status = 'failed', coalesce(s.reason, 'a step failed'), NULL))")
_STARTED: Final = f"""SELECT 'STEP_' || substr(r.run_id, 5) || '_' || p.phase || ':stage_start', r.run_id, NULL,
    p.phase, 'running', 'stage_start', NULL, NULL, NULL, NULL, NULL, {iso(_PHASE_BEGAN)}, NULL, NULL
{_PHASES}"""
_ENDED: Final = f"""SELECT 'STEP_' || substr(r.run_id, 5) || '_' || p.phase || ':stage_complete', r.run_id, NULL,
    p.phase, iif({_PHASE_ERROR} IS NULL, 'completed', 'failed'), 'stage_complete', NULL, NULL, NULL,
    ({_PHASE_ENDED} - {_PHASE_BEGAN}) / 1e6, NULL, {iso(_PHASE_BEGAN)}, {iso(_PHASE_ENDED)}, {_PHASE_ERROR}
{_PHASES}
AND {_of_phase("max(s.status IN ('pending', 'running'))")} = 0
AND NOT EXISTS (
    SELECT 1 FROM stages g WHERE g.definition = r.definition AND g.phase = p.phase AND (
        SELECT count(*) FROM steps s WHERE s.run = r.id AND s.stage = g.name
    ) < iif(g.each IS NULL, 1, (
        SELECT count(*) FROM outputs o WHERE o.run = r.id AND o.stage = g.each AND {LIVE})))"""
"""Phases of which every planned step is done: one of a stage, or one for each item that it is mapped over."""


def _pipeline_steps(create: str, run_input: str, output: str) -> str:
    """Write the view of the steps in the form that the dashboards of old read."""
    return f"""
{create} v2_pipeline_steps AS
SELECT 'STEP_' || substr(r.run_id, 5) || '_' || coalesce(g.step_key, s.stage) || iif(s.item = '', '', '_' || s.item)
        AS step_id,
    r.run_id, g.prompt_id, coalesce(g.label, s.stage) AS step_name,
    iif(s.status = 'skipped', 'completed', s.status) AS status, 'step' AS event_type,
    (SELECT json_group_object(j.key, json(CASE j.type
        WHEN 'integer' THEN (SELECT o.data FROM outputs o WHERE o.id = j.value)
        WHEN 'array' THEN (SELECT json_group_array(json(data)) FROM (
            SELECT o.data FROM json_each(j.value) a JOIN outputs o ON o.id = a.value ORDER BY a.key))
        WHEN 'text' THEN {run_input}
        WHEN 'object' THEN j.value
        END)) FROM json_each(s.reads) j) AS input,
    {output} AS output,
    (SELECT coalesce(sum(e.input_tokens + e.output_tokens), 0) FROM exchanges e WHERE e.run = s.run AND e.step = s.id)
        AS tokens_used,
    s.worked / 1e6 AS runtime_seconds,
    (SELECT e.model FROM exchanges e WHERE e.run = s.run AND e.step = s.id AND e.model IS NOT NULL
        ORDER BY e.id DESC LIMIT 1) AS model_used,
    {iso("coalesce(s.started_at, s.ended_at)")} AS started_at,
    {iso("s.ended_at")} AS completed_at,
    iif(s.status = 'failed', s.reason, NULL) AS error_message
FROM runs r
JOIN steps s ON s.run = r.id
LEFT JOIN stages g ON g.definition = r.definition AND g.name = s.stage
UNION ALL
{_MARKED}
UNION ALL
{_STARTED}
UNION ALL
{_ENDED};
"""


PLAIN_PIPELINE_STEPS: Final = _pipeline_steps("CREATE VIEW", _PLAIN_INPUT, _PLAIN_OUTPUT)
"""For any client."""
OUR_PIPELINE_STEPS: Final = _pipeline_steps("CREATE TEMP VIEW", _OUR_INPUT, _OUR_OUTPUT)
"""For our own connections: with the raw answers, and with inputs of any size."""
