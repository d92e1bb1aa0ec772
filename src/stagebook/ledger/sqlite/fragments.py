"""Pieces of SQL that several statements share."""

from typing import Final


def iso(column: str) -> str:
    """Microseconds as ISO 8601 text, which sorts by time."""
    whole = f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch')"
    return f"({whole} || printf('.%06dZ', {column} % 1000000))"


LIVE: Final = """o.content_hash IS NOT NULL AND o.version = (
        SELECT max(version) FROM outputs WHERE run = o.run AND stage = o.stage AND item = o.item)"""
"""Condition on `outputs AS o`: the newest version, and no removal."""
