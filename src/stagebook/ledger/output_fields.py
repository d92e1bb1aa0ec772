"""What fields an output has, read from the JSON schemas that its stage was declared with over time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

WHOLE: Final = "\0"
"""Stands for the output itself where it is no object; no stored field is called so."""


@dataclass(frozen=True, slots=True)
class Elements:
    """What the elements of a list are."""

    fields: tuple[str, ...]
    """Of those that are objects, all of them together."""
    plain: bool
    """Whether some may be no objects."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of an output, over every version of its stage."""

    fields: Mapping[str, Elements | None]
    """Name -> what is in it, where it is a list; newest version's first, in their order. WHOLE alone: no object."""


def shape_of(schemas: Iterable[str]) -> Shape:
    """Unite the fields of schemas; one that cannot be read adds nothing.

    Args:
        schemas: JSON schemas as pydantic writes them, the newest first.
    """
    fields: dict[str, Elements | None] = {}
    for text in schemas:
        try:
            found = _fields(orjson.loads(text))
        except (orjson.JSONDecodeError, TypeError, AttributeError, RecursionError):
            continue
        for name, elements in found.items():
            fields[name] = _united(fields.get(name), elements)
    return Shape(fields)


def _united(one: Elements | None, other: Elements | None) -> Elements | None:
    if one is None or other is None:
        return one or other
    return Elements(tuple(dict.fromkeys(one.fields + other.fields)), one.plain or other.plain)


def _fields(schema: Mapping[str, Any]) -> dict[str, Elements | None]:
    kinds = list(_kinds(schema, schema))
    fields: dict[str, Elements | None] = {}
    for kind in kinds:
        for name, inner in _properties(kind).items():
            fields[name] = _united(fields.get(name), _elements(inner, schema))
    if not fields or any("properties" not in kind for kind in kinds):
        fields[WHOLE] = _elements(schema, schema)
    return fields


def _elements(schema: Any, root: Mapping[str, Any]) -> Elements | None:
    """Describe what a list holds; None for what is no list."""
    lists = [kind for kind in _kinds(schema, root) if _is_list(kind)]
    if not lists:
        return None
    fields: dict[str, None] = {}
    plain = False
    for kind in lists:
        items = kind.get("items", True)
        inner = [*_kinds(items, root), *(one for part in kind.get("prefixItems", ()) for one in _kinds(part, root))]
        for one in inner:
            fields.update(dict.fromkeys(_properties(one)))
        plain = plain or not inner or any("properties" not in one for one in inner)
    return Elements(tuple(fields), plain)


def _is_list(kind: Mapping[str, Any]) -> bool:
    return kind.get("type") == "array" or (isinstance(kind.get("type"), list) and "array" in kind["type"])


def _properties(kind: Mapping[str, Any]) -> Mapping[str, Any]:
    found = kind.get("properties")
    return found if isinstance(found, dict) else {}


def _kinds(schema: Any, root: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[Mapping[str, Any]]:
    """Give what a value may be, references followed and alternatives parted; null is left out."""
    if not isinstance(schema, dict) or schema.get("type") == "null":
        return
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference not in seen:
            yield from _kinds(_target(reference, root), root, seen | {reference})
        return
    parts = [part for word in ("anyOf", "oneOf", "allOf") for part in schema.get(word, ())]
    if parts and "properties" not in schema:
        for part in parts:
            yield from _kinds(part, root, seen)
        return
    yield schema


def _target(reference: str, root: Mapping[str, Any]) -> Any:
    """Follow `#/$defs/Name`."""
    found: Any = root
    for part in reference.removeprefix("#").split("/"):
        if part:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found
