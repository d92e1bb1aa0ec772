"""How long a JSON document can be that its schema allows: pure."""

from collections.abc import Mapping
from typing import Any, Final

NUMBER: Final = 24
"""Characters of the longest number that a model writes for a double: sign, 17 digits, point and exponent."""
QUOTES: Final = 2
SEPARATOR: Final = 2
"""Characters of `, ` and of `: `."""
_FIXED: Final = {"null": 4, "boolean": 5, "integer": NUMBER, "number": NUMBER}


def longest(schema: Mapping[str, Any]) -> int | None:
    """Say how many characters a document has at most; escapes and line breaks that a writer may add are not counted.

    Args:
        schema: A JSON schema (draft 2020-12, as pydantic writes it).

    Returns:
        Characters, or None where nothing limits them: a string without `maxLength`, a list without `maxItems`, an open
        object, a model inside itself.
    """
    return _longest(schema, schema.get("$defs", {}), ())


def _longest(schema: Mapping[str, Any], known: Mapping[str, Any], inside: tuple[str, ...]) -> int | None:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        return None if name in inside or name not in known else _longest(known[name], known, (*inside, name))
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        lengths = [_longest(one, known, inside) for one in choices]
        return None if None in lengths else max(one or 0 for one in lengths)
    if "const" in schema or "enum" in schema:
        return max(len(str(one)) + QUOTES for one in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "string":
            length = None if "maxLength" not in schema else int(schema["maxLength"]) + QUOTES
        case "array":
            length = _array(schema, known, inside)
        case "object":
            length = _object(schema, known, inside)
        case kind:
            length = _FIXED.get(str(kind))
    return length


def _array(schema: Mapping[str, Any], known: Mapping[str, Any], inside: tuple[str, ...]) -> int | None:
    item, most = _longest(schema.get("items") or {}, known, inside), schema.get("maxItems")
    return None if item is None or most is None else 2 + int(most) * (item + SEPARATOR)


def _object(schema: Mapping[str, Any], known: Mapping[str, Any], inside: tuple[str, ...]) -> int | None:
    properties = schema.get("properties")
    if not properties or schema.get("additionalProperties"):
        return None
    lengths = [_longest(one, known, inside) for one in properties.values()]
    names = sum(len(name) + QUOTES + 2 * SEPARATOR for name in properties)  # `"name": value, `
    return None if None in lengths else 2 + names + sum(one or 0 for one in lengths)
