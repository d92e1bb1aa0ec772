"""JSON schemas as Anthropic's structured outputs take them."""

from typing import Any, Final

from stagebook.llm.strict_schema import strict

TAKEN: Final = frozenset({"type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "description", "format"})
"""Keywords that are held wherever they stand; of objects and lists some more."""

FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
"""Of strings."""

LEAST_ITEMS: Final = frozenset({0, 1})
"""Values of minItems that are held."""


def narrow(schema: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Rewrite a schema for structured outputs (Anthropic's documentation, "JSON Schema limitations").

    What is not held (sizes, ranges, patterns) is told in words, and checked here like everything else.

    Args:
        schema: As pydantic makes it.

    Returns:
        Whether it can be held (an object with free keys cannot be, nor one that holds itself), and the schema to send.
    """
    held, closed = strict(schema)
    if not held or _holds_itself(schema):
        return False, schema
    return True, _narrowed(closed)


def _narrowed(node: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    told: list[str] = []
    for key, value in node.items():
        if key in {"properties", "$defs"}:
            out[key] = {name: _narrowed(child) for name, child in value.items()}
        elif key in {"anyOf", "allOf"}:
            out[key] = [_narrowed(child) for child in value]
        elif key == "items" and isinstance(value, dict):
            out[key] = _narrowed(value)
        elif _is_held(key, value):
            out[key] = value
        else:
            told.append(f"{key}: {value}")
    if told:
        out["description"] = " ".join(filter(None, (out.get("description"), f"({', '.join(told)})")))
    return out


def _is_held(key: str, value: Any) -> bool:
    if key == "format":
        return value in FORMATS
    if key == "minItems":
        return value in LEAST_ITEMS
    return key in TAKEN or key in {"required", "additionalProperties"}


def _holds_itself(schema: dict[str, Any]) -> bool:
    """Whether a definition leads back to itself."""
    leads = {name: set(_refs(node)) for name, node in schema.get("$defs", {}).items()}

    def reaches(name: str, goal: str, seen: set[str]) -> bool:
        fresh = leads.get(name, set()) - seen
        return goal in leads.get(name, set()) or any(reaches(one, goal, seen | fresh) for one in fresh)

    return any(reaches(name, name, set()) for name in leads)


def _refs(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for child in node for ref in _refs(child)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"].rpartition("/")[2]] if isinstance(node.get("$ref"), str) else []
    return own + [ref for child in node.values() for ref in _refs(child)]
