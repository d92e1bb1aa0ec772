"""For every stage a view with a column per field of its output, and for every list in it a view with a row per element.

They are made from the schemas that came with the runs: in our own connections when a question names them, and for other
clients when they are put in place.
"""

# ruff: noqa: S608  names and texts are quoted here
import re
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from stagebook.ledger.output_fields import WHOLE, Elements, Shape, shape_of
from stagebook.ledger.sqlite.fragments import LIVE, iso
from stagebook.model.exchange import content_hash

NAME_MOST: Final = 60
"""Bytes of a name; PostgreSQL cuts at 63."""
_HASH: Final = 8
"""Digits of a hash that stands for what was cut off."""
_TOLD_APART: Final = 40
"""Characters of a stage's view that stand at the beginning of all its views, however long those are."""
MARK: Final = "/* made by stagebook from a stage's schema */"
"""Stands in every view that was put in place, so that only those are replaced."""
_OURS: Final = (
    ("_run_id", "r.run_id"),
    ("_item", "o.item"),
    ("_version", "o.version"),
    ("_output", "o.id"),
    ("_made_by", "o.made_by"),
    ("_at", iso("o.at")),
)
_STAGES: Final = (
    "SELECT DISTINCT d.pipeline, g.name FROM stages g JOIN definitions d ON d.id = g.definition ORDER BY 1, 2"
)
_SCHEMAS: Final = """
SELECT g.schema FROM stages g JOIN definitions d ON d.id = g.definition
WHERE d.pipeline = ? AND g.name = ? AND g.schema IS NOT NULL GROUP BY g.schema ORDER BY max(d.id) DESC
"""


@dataclass(frozen=True, slots=True)
class TypedView:
    """One view."""

    name: str
    columns: tuple[str, ...]
    select: str

    def create(self, *, temporary: bool) -> str:
        """Write the statement that makes it."""
        mark = "" if temporary else f"{MARK} "
        return f"CREATE {'TEMP ' if temporary else ''}VIEW {_quoted(self.name)} AS {mark}{self.select}"


def typed_views(connection: sqlite3.Connection, question: str | None = None) -> list[TypedView]:
    """Make the views of the stages that a ledger knows.

    Args:
        connection: To read with.
        question: A statement: only the views of the stages that it names.
    """
    if question is not None and "__" not in question:
        return []
    asked = None if question is None else question.lower()
    views: list[TypedView] = []
    taken: set[str] = set()
    for pipeline, stage in connection.execute(_STAGES).fetchall():
        name = _free(f"{_word(pipeline)}__{_word(stage)}", taken, f"{pipeline}/{stage}")
        if asked is None or name[:_TOLD_APART].lower() in asked:
            schemas = [row[0] for row in connection.execute(_SCHEMAS, (pipeline, stage))]
            views += _views_of(name, pipeline, stage, shape_of(schemas))
    return views


def create_typed_views(connection: sqlite3.Connection, question: str) -> None:
    """Make the views that a question names, for this connection alone; one that cannot be made is left out."""
    for view in typed_views(connection, question):
        with suppress(sqlite3.Error):
            connection.execute(view.create(temporary=True))


def install_typed_views(connection: sqlite3.Connection) -> list[TypedView]:
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
        connection.execute(f"DROP VIEW {_quoted(name)}")
    made: list[TypedView] = []
    for view in typed_views(connection):
        with suppress(sqlite3.Error):
            connection.execute(view.create(temporary=False))
            connection.execute(f"SELECT * FROM {_quoted(view.name)} LIMIT 0")
            made.append(view)
    return made


def _views_of(name: str, pipeline: str, stage: str, shape: Shape) -> list[TypedView]:
    source = "FROM runs r JOIN outputs o ON o.run = r.id"
    where = f"WHERE r.pipeline = {_text(pipeline)} AND o.stage = {_text(stage)} AND {LIVE}"
    columns = [*_OURS, *((_title(field), _field("o.data", field)) for field in shape.fields)]
    views = [_view(name, columns, f"{source} {where}")]
    taken = {name.lower()}
    for field, elements in shape.fields.items():
        if elements is not None:
            inner = _free(f"{name}__{_word(_title(field))}", taken, f"{pipeline}/{stage}/{field}")
            columns = [*_OURS, ("_index", "j.key"), *_columns(elements)]
            views.append(_view(inner, columns, f"{source} {_array(field)} {where} AND {_is_array(field)}"))
    return views


def _columns(elements: Elements) -> list[tuple[str, str]]:
    row = "iif(j.type = 'object', j.value, '{}')"
    columns = [(field, _field(row, field)) for field in elements.fields]
    if elements.plain:
        columns.append(("value", "iif(j.type = 'object', NULL, j.value)" if columns else "j.value"))
    return columns


def _view(name: str, columns: Iterable[tuple[str, str]], rest: str) -> TypedView:
    taken: set[str] = set()
    named = [(_free(_storable(title), taken, title), expression) for title, expression in columns]
    selected = ", ".join(f"{expression} AS {_quoted(title)}" for title, expression in named)
    return TypedView(name, tuple(title for title, _ in named), f"SELECT {selected} {rest}")


def _title(field: str) -> str:
    return "value" if field == WHOLE else field or "_"


def _field(document: str, name: str) -> str:
    """Write the expression for a field; WHOLE for the document, where that is no object."""
    if name == WHOLE:
        return f"iif(json_type({document}) = 'object', NULL, json_extract({document}, '$'))"
    path = _path(name)
    if path is not None:
        return f"json_extract({document}, {path})"
    return f"(SELECT value FROM json_each({document}) WHERE key = {_text(name)})"


def _array(name: str) -> str:
    """Write the source of a list's elements."""
    if name == WHOLE:
        return "JOIN json_each(o.data) j"
    path = _path(name)
    if path is not None:
        return f"JOIN json_each(o.data, {path}) j"
    return f"JOIN json_each(o.data) f ON f.key = {_text(name)} AND f.type = 'array' JOIN json_each(f.value) j"


def _is_array(name: str) -> str:
    path = "'$'" if name == WHOLE else _path(name)
    return "TRUE" if path is None else f"json_type(o.data, {path}) = 'array'"


def _path(name: str) -> str | None:
    """Write a JSON path; None where the name has what a path of SQLite cannot quote."""
    if re.search(r'["\\\x00-\x1f]', name):
        return None
    return _text(f'$."{name}"')


def _word(name: str) -> str:
    """Make a part of a view's name that needs no quotes."""
    word = re.sub(r"\W", "_", name)
    return f"_{word}" if word.startswith("sqlite") else word


def _free(name: str, taken: set[str], whole: str) -> str:
    """Shorten a name that is too long, tell it from another that reads the same, and take it."""
    digest = content_hash(whole.encode()).hex()[:_HASH]
    if len(name.encode()) > NAME_MOST or name.lower() in taken:
        name = f"{name.encode()[: NAME_MOST - _HASH - 1].decode('utf-8', 'ignore')}_{digest}"
    taken.add(name.lower())
    return name


def _storable(name: str) -> str:
    return name.replace("\0", "\ufffd")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    """Quote a text; NUL stands in no statement, and outputs hold U+FFFD in its place."""
    return "'" + _storable(value).replace("'", "''") + "'"
