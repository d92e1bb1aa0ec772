"""Declarations and their stages."""

import sqlite3
from typing import Final

from stagebook.ledger.sqlite.stage_rows import stage_rows
from stagebook.model.exchange import content_hash

_STAGE: Final = """
INSERT INTO stages (definition, name, label, number, phase, position, kind, each, axis, streams, text_field, output,
    schema, prompt_id, model, step_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def write_definition(connection: sqlite3.Connection, pipeline: str, definition: bytes, at: int) -> int:
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
    cursor = connection.execute(
        "INSERT INTO definitions (hash, pipeline, json, at) VALUES (?, ?, ?, ?)",
        (digest, pipeline, definition.decode(), at),
    )
    number = int(cursor.lastrowid or 0)
    connection.executemany(_STAGE, [(number, *stage) for stage in stage_rows(definition)])
    return number
