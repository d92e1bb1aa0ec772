"""The views of stages, in PostgreSQL: each column has one type, which follows from the schema of the output."""

from typing import Final

from stagebook.ledger.output_fields import WHOLE, FieldKind
from stagebook.ledger.postgres.views import VIEWS, iso
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.typed_views import TypedView, quoted, text, typed_views

MARK: Final = "made by stagebook from a stage's schema"
"""The comment on every view that was put in place, so that only those are replaced."""
_DATA: Final = "o.data::json"
_INSTALLED: Final = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND n.nspname = ? AND obj_description(c.oid, 'pg_class') = ?
"""


class PostgresWords:
    """PostgreSQL's functions for JSON. A value that is not of its column's type is empty there."""

    def iso(self, column: str) -> str:
        """Write microseconds as ISO 8601 text."""
        return iso(column)

    def field(self, name: str, kind: FieldKind) -> str:
        """Write the expression for a field of an output; WHOLE for the output, where that is no object."""
        if name == WHOLE:
            return _typed(f"CASE WHEN json_typeof({_DATA}) <> 'object' THEN {_DATA} END", kind)
        return _typed(f"({_DATA} -> {text(name)})", kind)

    def elements(self, name: str) -> str:
        """Write the join with a row `j` for each element of a list."""
        held = _held(name)
        only_lists = f"CASE WHEN json_typeof({held}) = 'array' THEN {held} END"
        return f"JOIN LATERAL json_array_elements({only_lists}) WITH ORDINALITY AS j(value, place) ON TRUE"

    def is_list(self, name: str) -> str:
        """Write the condition that a field is a list."""
        return f"json_typeof({_held(name)}) = 'array'"

    def index(self) -> str:
        """Write the place of `j` in its list, from 0."""
        return "j.place - 1"

    def element_field(self, name: str, kind: FieldKind) -> str:
        """Write the expression for a field of `j`."""
        return _typed(f"(j.value -> {text(name)})", kind)

    def element(self, kind: FieldKind, *, plain: bool) -> str:
        """Write the expression for `j` itself; NULL for an object unless they are all plain."""
        return _typed("j.value" if plain else "CASE WHEN json_typeof(j.value) <> 'object' THEN j.value END", kind)


def stage_views(connection: Connection) -> list[TypedView]:
    """Make the views of every stage, named as PostgreSQL reads a name without quotes."""
    return [
        TypedView(view.name.lower(), view.columns, view.select) for view in typed_views(connection, PostgresWords())
    ]


def views_named_in(connection: Connection, question: str) -> list[tuple[str, str]]:
    """Give the (quoted name, select) of the views that a question names; of all for an empty one."""
    asked = question.lower()
    return [
        (quoted(view.name), view.select if asked else "")
        for view in stage_views(connection)
        if not asked or view.name in asked
    ]


def install_stage_views(connection: Connection, schema: str) -> list[TypedView]:
    """Put the views of every stage in place for all clients, instead of those that were put there before.

    Args:
        connection: In a transaction.
        schema: The ledger's.

    Returns:
        Those that are there now.
    """
    connection.execute("SELECT set_config('search_path', ?, true)", (schema,))
    for (name,) in connection.execute(_INSTALLED, (schema, MARK)).fetchall():
        connection.execute(f"DROP VIEW {quoted(name)}")
    views = [view for view in stage_views(connection) if view.name not in VIEWS]
    for view in views:
        connection.execute(f"CREATE VIEW {quoted(view.name)} AS {view.select}")
        connection.execute(f"COMMENT ON VIEW {quoted(view.name)} IS {text(MARK)}")
    return views


def _held(name: str) -> str:
    return _DATA if name == WHOLE else f"({_DATA} -> {text(name)})"


def _typed(value: str, kind: FieldKind) -> str:
    """Write a JSON value in its column's type; a list or an object as its JSON."""
    if kind is FieldKind.NUMBER:
        return f"CASE WHEN json_typeof({value}) = 'number' THEN ({value} #>> '{{}}')::numeric END"
    if kind is FieldKind.TRUTH:
        return f"CASE WHEN json_typeof({value}) = 'boolean' THEN ({value} #>> '{{}}')::boolean END"
    return f"({value} #>> '{{}}')"
