"""SQL scripts."""

import sqlite3


def statements(script: str) -> list[str]:
    """Part a script into its statements, so that they can run inside a transaction (`executescript` commits first)."""
    parts: list[str] = []
    part = ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            parts.append(part)
            part = ""
    return parts
