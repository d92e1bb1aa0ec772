"""Declarations and their stages."""

from typing import Final

from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.stage_rows import stage_rows
from stagebook.model.exchange import content_hash

_STAGE: Final = """
INSERT INTO stages (definition, name, label, number, phase, position, kind, each, axis, streams, text_field, output,
    schema, prompt_id, model, step_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def write_definition(connection: Connection, pipeline: str, definition: bytes, at: int) -> int:
    """Write a declaration, unless it is there already; gives its number.

    Args:
        connection: In a transaction.
        pipeline: Name of the pipeline.
        definition: Canonical JSON.
        at: When it was first seen.
    """
    digest = content_hash(definition)
    row = connection.execute("SELECT id FROM definitions WHERE hash = ?", (digest,)).fetchone()
    if row is not None:
        return int(row[0])
    made = connection.execute(
        "INSERT INTO definitions (hash, pipeline, json, at) VALUES (?, ?, ?, ?) RETURNING id",
        (digest, pipeline, definition.decode(), at),
    ).fetchall()
    number = int(made[0][0])
    connection.executemany(_STAGE, [(number, *stage) for stage in stage_rows(definition)])
    return number
