"""The views of stages, in SQLite: made for one connection, or put in place for other clients."""

# ruff: noqa: S608  names and texts are quoted here
import re
import sqlite3
from contextlib import suppress
from typing import Final

from stagebook.ledger.output_fields import WHOLE, FieldKind
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.typed_views import TypedView, quoted, text, typed_views
from stagebook.ledger.sqlite.fragments import iso

MARK: Final = "/* made by stagebook from a stage's schema */"
"""Stands in every view that was put in place, so that only those are replaced."""
_OBJECT: Final = "CASE WHEN j.type = 'object' THEN j.value ELSE '{}' END"


class SqliteWords:
    """SQLite's functions for JSON; its columns hold values of any type."""

    def iso(self, column: str) -> str:
        """Write microseconds as ISO 8601 text."""
        return iso(column)

    def field(self, name: str, _kind: FieldKind) -> str:
        """Write the expression for a field of an output; WHOLE for the output, where that is no object."""
        return _field("o.data", name)

    def elements(self, name: str) -> str:
        """Write the join with a row `j` for each element of a list."""
        if name == WHOLE:
            return "JOIN json_each(o.data) j"
        path = _path(name)
        if path is not None:
            return f"JOIN json_each(o.data, {path}) j"
        return f"JOIN json_each(o.data) f ON f.key = {text(name)} AND f.type = 'array' JOIN json_each(f.value) j"

    def is_list(self, name: str) -> str:
        """Write the condition that a field is a list."""
        path = "'$'" if name == WHOLE else _path(name)
        return "TRUE" if path is None else f"json_type(o.data, {path}) = 'array'"

    def index(self) -> str:
        """Write the place of `j` in its list, from 0."""
        return "j.key"

    def element_field(self, name: str, _kind: FieldKind) -> str:
        """Write the expression for a field of `j`."""
        return _field(_OBJECT, name)

    def element(self, _kind: FieldKind, *, plain: bool) -> str:
        """Write the expression for `j` itself; NULL for an object unless they are all plain."""
        return "j.value" if plain else "iif(j.type = 'object', NULL, j.value)"


def create_typed_views(connection: sqlite3.Connection, question: str) -> None:
    """Make the views that a question names, for this connection alone; one that cannot be made is left out."""
    for view in typed_views(connection, SqliteWords(), question):
        with suppress(sqlite3.Error):
            connection.execute(f"CREATE TEMP VIEW {quoted(view.name)} AS {view.select}")


def install_typed_views(connection: Connection) -> list[TypedView]:
    """Put the views of every stage in place for all clients, instead of those that were put there before.

    Args:
        connection: In a transaction.

    Returns:
        Those that are there now.
    """
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'view' AND instr(sql, ?)", (MARK,)
    ).fetchall()
    for (name,) in rows:
        connection.execute(f"DROP VIEW {quoted(name)}")
    made: list[TypedView] = []
    for view in typed_views(connection, SqliteWords()):
        with suppress(sqlite3.Error):
            connection.execute(f"CREATE VIEW {quoted(view.name)} AS {MARK} {view.select}")
            connection.execute(f"SELECT * FROM {quoted(view.name)} LIMIT 0")
            made.append(view)
    return made


def _field(document: str, name: str) -> str:
    """Write the expression for a field; WHOLE for the document, where that is no object."""
    if name == WHOLE:
        return f"iif(json_type({document}) = 'object', NULL, json_extract({document}, '$'))"
    path = _path(name)
    if path is not None:
        return f"json_extract({document}, {path})"
    return f"(SELECT value FROM json_each({document}) WHERE key = {text(name)})"


def _path(name: str) -> str | None:
    """Write a JSON path; None where the name has what a path of SQLite cannot quote."""
    if re.search(r'["\\\x00-\x1f]', name):
        return None
    return text(f'$."{name}"')
