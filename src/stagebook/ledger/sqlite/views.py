"""Views that any SQLite client can read, and the richer ones of our own connections, which can also unpack payloads."""

# ruff: noqa: S608  the statements are made of constants
import sqlite3
from typing import Final

from stagebook.ledger.sql.fragments import LIVE
from stagebook.ledger.sqlite.fragments import iso
from stagebook.ledger.sqlite.pipeline_steps_view import OUR_PIPELINE_STEPS, PLAIN_PIPELINE_STEPS

_TEXT_PATH: Final = """'$."' || g.text_field || '"'"""

STAGE_OUTPUTS: Final = f"""
CREATE VIEW stage_outputs AS
SELECT r.run_id, o.stage, g.label, g.number, o.item, o.version,
    iif(g.text_field IS NULL, o.data, nullif(json_remove(o.data, {_TEXT_PATH}), '{{}}')) AS output_data,
    iif(g.text_field IS NULL, NULL, json_extract(o.data, {_TEXT_PATH})) AS output_text,
    o.made_by, {iso("o.at")} AS at
FROM outputs o
JOIN runs r ON r.id = o.run
LEFT JOIN stages g ON g.definition = r.definition AND g.name = o.stage
WHERE {LIVE};
"""

COSTS: Final = f"""
CREATE VIEW costs AS
SELECT r.run_id, r.pipeline, s.stage, g.label, s.item, e.kind, e.provider, e.model, e.model_returned,
    strftime('%Y-%m-%d', e.sent_at / 1000000, 'unixepoch') AS day, {iso("e.sent_at")} AS sent_at,
    e.state, e.http_status, e.input_tokens, e.output_tokens, e.cache_read_input_tokens, e.cache_creation_input_tokens,
    e.reasoning_output_tokens, e.cost / 1e12 AS cost_usd, e.cost AS cost_picodollars,
    e.state = 'lost' AND e.kind <> 'tool' AS possibly_paid, e.price_version, e.price_source
FROM exchanges e
JOIN runs r ON r.id = e.run
LEFT JOIN steps s ON s.id = e.step
LEFT JOIN stages g ON g.definition = r.definition AND g.name = s.stage;
"""

VIEWS: Final = (
    STAGE_OUTPUTS,
    COSTS,
    PLAIN_PIPELINE_STEPS,
)
OUR_VIEWS: Final = (OUR_PIPELINE_STEPS,)
"""Stand before those of the same name: with the raw answers, and with inputs of any size."""


def replace_views(connection: sqlite3.Connection) -> None:
    """Make the views that every client sees, in place of those of an older version."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        connection.execute(f'DROP VIEW "{name}"')
    for view in VIEWS:
        connection.execute(view)


def create_our_views(connection: sqlite3.Connection) -> None:
    """Make the views that need `payload_text`, for this connection alone."""
    for view in OUR_VIEWS:
        connection.execute(view)
