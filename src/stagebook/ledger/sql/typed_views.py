"""For every stage a view with a column per field of its output, and for every list in it a view with a row per element.

They are made from the schemas that came with the runs: in our own connections when a question names them, and for other
clients when they are put in place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from stagebook.ledger.output_fields import WHOLE, Elements, FieldKind, Shape, shape_of
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.fragments import LIVE
from stagebook.model.exchange import content_hash

NAME_MOST: Final = 60
"""Bytes of a name; PostgreSQL cuts at 63."""
_HASH: Final = 8
"""Digits of a hash that stands for what was cut off."""
_TOLD_APART: Final = 40
"""Characters of a stage's view that stand at the beginning of all its views, however long those are."""
_OURS: Final = (
    ("_run_id", "r.run_id"),
    ("_item", "o.item"),
    ("_version", "o.version"),
    ("_output", "o.id"),
    ("_made_by", "o.made_by"),
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


class FieldWords(Protocol):
    """How a database says what stands in a JSON document."""

    def iso(self, column: str) -> str:
        """Write microseconds as ISO 8601 text."""
        ...

    def field(self, name: str, kind: FieldKind) -> str:
        """Write the expression for a field of an output; WHOLE for the output, where that is no object."""
        ...

    def elements(self, name: str) -> str:
        """Write the join with a row `j` for each element of a list."""
        ...

    def is_list(self, name: str) -> str:
        """Write the condition that a field is a list."""
        ...

    def index(self) -> str:
        """Write the place of `j` in its list, from 0."""
        ...

    def element_field(self, name: str, kind: FieldKind) -> str:
        """Write the expression for a field of `j`."""
        ...

    def element(self, kind: FieldKind, *, plain: bool) -> str:
        """Write the expression for `j` itself; NULL for an object unless they are all plain."""
        ...


def typed_views(connection: Connection, words: FieldWords, question: str | None = None) -> list[TypedView]:
    """Make the views of the stages that a ledger knows.

    Args:
        connection: To read with.
        words: Of its database.
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
            views += _views_of(words, name, pipeline, stage, shape_of(schemas))
    return views


def _views_of(words: FieldWords, name: str, pipeline: str, stage: str, shape: Shape) -> list[TypedView]:
    source = "FROM runs r JOIN outputs o ON o.run = r.id"
    where = f"WHERE r.pipeline = {text(pipeline)} AND o.stage = {text(stage)} AND {LIVE}"
    ours = [*_OURS, ("_at", words.iso("o.at"))]
    columns = [*ours, *((_title(field), words.field(field, shape.kinds[field])) for field in shape.fields)]
    views = [_view(name, columns, f"{source} {where}")]
    taken = {name.lower()}
    for field, elements in shape.fields.items():
        if elements is not None:
            inner = _free(f"{name}__{_word(_title(field))}", taken, f"{pipeline}/{stage}/{field}")
            columns = [*ours, ("_index", words.index()), *_columns(words, elements)]
            rest = f"{source} {words.elements(field)} {where} AND {words.is_list(field)}"
            views.append(_view(inner, columns, rest))
    return views


def _columns(words: FieldWords, elements: Elements) -> list[tuple[str, str]]:
    columns = [(field, words.element_field(field, kind)) for field, kind in elements.fields.items()]
    if elements.plain is not None:
        columns.append(("value", words.element(elements.plain, plain=not columns)))
    return columns


def _view(name: str, columns: Iterable[tuple[str, str]], rest: str) -> TypedView:
    taken: set[str] = set()
    named = [(_free(storable(title), taken, title), expression) for title, expression in columns]
    selected = ", ".join(f"{expression} AS {quoted(title)}" for title, expression in named)
    return TypedView(name, tuple(title for title, _ in named), f"SELECT {selected} {rest}")


def _title(field: str) -> str:
    return "value" if field == WHOLE else field or "_"


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


def storable(name: str) -> str:
    """Make a text that a statement can hold; outputs hold U+FFFD in place of NUL."""
    return name.replace("\0", "\ufffd")


def quoted(name: str) -> str:
    """Quote a name."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Quote a text."""
    return "'" + storable(value).replace("'", "''") + "'"
