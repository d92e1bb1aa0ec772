"""Templates that only put values between texts, rendered without Jinja's machinery: most prompts are such."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from jinja2 import nodes

from stagebook.definition.template_language import field_names, said

_WRITTEN_AS_THEY_ARE: Final = frozenset({int, float, bool})
"""Types whose text is what `str` says."""


class Place(NamedTuple):
    """Where a value stands: `{{ name.field.field }}`."""

    name: str
    fields: tuple[str, ...]


Parts = tuple[str | Place, ...]


def straight(tree: nodes.Template) -> Parts | None:
    """Take a template apart into texts and places.

    Returns:
        None where anything else stands in it: a filter, a condition, a loop, an index.
    """
    parts: list[str | Place] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            return None
        for part in node.nodes:
            if isinstance(part, nodes.TemplateData):
                parts.append(part.data)
                continue
            place = _place(part)
            if place is None:
                return None
            parts.append(place)
    return tuple(parts)


def put_together(parts: Parts, values: Mapping[str, object]) -> list[str] | None:
    """Render.

    Returns:
        Texts and values in turn, as Jinja would write them; None where a value is missing or is not a model's own
        field: Jinja says what is wrong with it.
    """
    made: list[str] = []
    kind: type | None = None
    known: frozenset[str] = frozenset()
    for part in parts:
        if isinstance(part, str):
            made.append(part)
            continue
        name, fields = part
        if name not in values:
            return None
        value = values[name]
        for field in fields:
            if type(value) is not kind:
                kind = type(value)
                known = field_names(kind)
            if field not in known:
                return None
            value = getattr(value, field)
        if type(value) is not str:
            value = said(value)
            if type(value) in _WRITTEN_AS_THEY_ARE:
                value = str(value)
            elif not isinstance(value, str):
                return None
        made.append(value)
    return made


def _place(node: nodes.Node) -> Place | None:
    fields: list[str] = []
    while isinstance(node, nodes.Getattr):
        fields.append(node.attr)
        node = node.node
    return Place(node.name, tuple(reversed(fields))) if isinstance(node, nodes.Name) else None
