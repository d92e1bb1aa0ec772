"""Pieces of SQL that several statements share, in the words of both databases."""

from typing import Final

LIVE: Final = """o.content_hash IS NOT NULL AND o.version = (
        SELECT max(version) FROM outputs WHERE run = o.run AND stage = o.stage AND item = o.item)"""
"""Condition on `outputs AS o`: the newest version, and no removal."""
