"""What OpenAI refuses in a schema that is to be followed strictly.

The rules and the wording are those of its Structured Outputs guide: the root is an object, every object closes
`additionalProperties` and requires all its properties, and keywords for composition beyond `anyOf` are not taken.
"""

from collections.abc import Mapping
from typing import Any, Final

_NOT_TAKEN: Final = ("allOf", "oneOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else")


def strict_objection(schema: Any) -> str | None:
    """Say what is wrong with a strict schema; None if nothing is."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        return "schema must be a JSON Schema of 'type: \"object\"'."
    return _objection(schema, ())


def _objection(schema: Any, context: tuple[str, ...]) -> str | None:
    if not isinstance(schema, Mapping):
        return None
    for keyword in _NOT_TAKEN:
        if keyword in schema:
            return f"In context={context}, '{keyword}' is not permitted."
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        if schema.get("additionalProperties") is not False:
            return f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        missing = [name for name in properties or {} if name not in schema.get("required", ())]
        if missing:
            return (
                f"In context={context}, 'required' is required to be supplied and to be an array including every key "
                f"in properties. Missing '{missing[0]}'."
            )
    return next((found for part, where in _parts(schema) if (found := _objection(part, (*context, *where)))), None)


def _parts(schema: Mapping[str, Any]) -> list[tuple[Any, tuple[str, ...]]]:
    found: list[tuple[Any, tuple[str, ...]]] = []
    for group in ("properties", "$defs", "definitions"):
        inner = schema.get(group)
        if isinstance(inner, Mapping):
            found += [(part, (group, name)) for name, part in inner.items()]
    found += [(part, ("anyOf", str(index))) for index, part in enumerate(schema.get("anyOf") or ())]
    return [*found, (schema.get("items"), ("items",))]
