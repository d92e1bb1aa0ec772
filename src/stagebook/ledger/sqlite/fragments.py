"""Pieces of SQL in SQLite's words."""


def iso(column: str) -> str:
    """Microseconds as ISO 8601 text, which sorts by time."""
    whole = f"strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch')"
    return f"({whole} || printf('.%06dZ', {column} % 1000000))"
