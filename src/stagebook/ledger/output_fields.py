"""What fields an output has, read from the JSON schemas that its stage was declared with over time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

WHOLE: Final = "\0"
"""Stands for the output itself where it is no object; no stored field is called so."""


class FieldKind(StrEnum):
    """What a field holds, for databases whose columns have one type."""

    NUMBER = "number"
    TRUTH = "truth"
    TEXT = "text"
    """Anything else, and what may be several of them: objects and lists as their JSON."""


@dataclass(frozen=True, slots=True)
class Elements:
    """What the elements of a list are."""

    fields: Mapping[str, FieldKind]
    """Of those that are objects, all of them together."""
    plain: FieldKind | None
    """What those hold that are no objects; None where there are none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of an output, over every version of its stage."""

    fields: Mapping[str, Elements | None]
    """Name -> what is in it, where it is a list; newest version's first, in their order. WHOLE alone: no object."""
    kinds: Mapping[str, FieldKind] = field(default_factory=dict)
    """Name -> what it holds."""


def shape_of(schemas: Iterable[str]) -> Shape:
    """Unite the fields of schemas; one that cannot be read adds nothing.

    Args:
        schemas: JSON schemas as pydantic writes them, the newest first.
    """
    fields: dict[str, Elements | None] = {}
    held: dict[str, FieldKind] = {}
    for text in schemas:
        try:
            found = _fields(orjson.loads(text))
        except (orjson.JSONDecodeError, TypeError, AttributeError, RecursionError):
            continue
        for name, (elements, kind) in found.items():
            fields[name] = _united(fields.get(name), elements)
            held[name] = _either(held.get(name), kind)
    return Shape(fields, held)


def _united(one: Elements | None, other: Elements | None) -> Elements | None:
    if one is None or other is None:
        return one or other
    names = dict.fromkeys([*one.fields, *other.fields])
    fields = {name: _either(one.fields.get(name), other.fields.get(name, one.fields.get(name))) for name in names}
    return Elements(fields, other.plain if one.plain is None else _either(one.plain, other.plain or one.plain))


def _either(one: FieldKind | None, other: FieldKind | None) -> FieldKind:
    """Say what a field holds that holds the one or the other."""
    return other or FieldKind.TEXT if one in {None, other} else FieldKind.TEXT


def _fields(schema: Mapping[str, Any]) -> dict[str, tuple[Elements | None, FieldKind]]:
    kinds = list(_kinds(schema, schema))
    fields: dict[str, tuple[Elements | None, FieldKind]] = {}
    for kind in kinds:
        for name, inner in _properties(kind).items():
            before, held = fields.get(name, (None, None))
            fields[name] = (_united(before, _elements(inner, schema)), _either(held, _held(inner, schema)))
    if not fields or any("properties" not in kind for kind in kinds):
        plain = _one_of(kind for kind in kinds if "properties" not in kind)
        fields[WHOLE] = (_elements(schema, schema), plain or FieldKind.TEXT)
    return fields


def _held(schema: Any, root: Mapping[str, Any]) -> FieldKind:
    return _one_of(_kinds(schema, root)) or FieldKind.TEXT


def _one_of(kinds: Iterable[Mapping[str, Any]]) -> FieldKind | None:
    """Say what is held where it may be any of these; None where there are none."""
    held: FieldKind | None = None
    for kind in kinds:
        for said in _types(kind):
            held = _either(held, _TYPES.get(said, FieldKind.TEXT))
    return held


def _types(kind: Mapping[str, Any]) -> list[str]:
    said = kind.get("type")
    return [str(one) for one in said if one != "null"] if isinstance(said, list) else [str(said)]


_TYPES: Final = {"integer": FieldKind.NUMBER, "number": FieldKind.NUMBER, "boolean": FieldKind.TRUTH}


def _elements(schema: Any, root: Mapping[str, Any]) -> Elements | None:
    """Describe what a list holds; None for what is no list."""
    lists = [kind for kind in _kinds(schema, root) if _is_list(kind)]
    if not lists:
        return None
    fields: dict[str, FieldKind] = {}
    plain: FieldKind | None = None
    for kind in lists:
        items = kind.get("items", True)
        inner = [*_kinds(items, root), *(one for part in kind.get("prefixItems", ()) for one in _kinds(part, root))]
        for one in inner:
            for name, said in _properties(one).items():
                fields[name] = _either(fields.get(name), _held(said, root))
        others = [one for one in inner if "properties" not in one]
        if others or not inner:
            plain = _either(plain, _one_of(others) or FieldKind.TEXT)
    return Elements(fields, plain)


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
