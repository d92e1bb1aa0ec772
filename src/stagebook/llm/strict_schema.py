"""JSON schemas as strict structured output takes them."""

from typing import Any

UNSUPPORTED = frozenset(
    {"default", "minLength", "maxLength", "uniqueItems", "examples", "contentMediaType", "title", "discriminator"}
)
"""Keywords that strict mode refuses or ignores (OpenAI, "Structured outputs: supported schemas"); checked here."""

RENAMED = {"oneOf": "anyOf"}
"""Pydantic writes oneOf for a union told apart by a field, whose members exclude each other anyway."""


def strict(schema: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Rewrite a schema for strict mode: every object closed, every property required, unsupported keywords dropped.

    Args:
        schema: As pydantic makes it.

    Returns:
        Whether strict mode can hold it (an object with free keys cannot be), and the schema to send: the rewritten one,
        or the original one where it cannot.
    """
    rewritten = _rewrite(schema)
    return (True, rewritten) if rewritten is not None else (False, schema)


def _rewrite(node: Any) -> Any:
    if isinstance(node, list):
        parts = [_rewrite(part) for part in node]
        return None if any(part is None for part in parts) else parts
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    is_object = node.get("type") == "object" or "properties" in node
    if is_object and (node.get("additionalProperties", False) is not False or "properties" not in node):
        return None
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in UNSUPPORTED:
            continue
        child = _child(key, value)
        if child is None and value is not None:
            return None
        name: str = key
        out[RENAMED.get(name, name)] = child
    if "properties" in out:
        out["additionalProperties"] = False
        out["required"] = list(out["properties"])
    return out


def _child(key: str, value: Any) -> Any:
    """Rewrite what stands under a keyword; None where it cannot be held."""
    if key in {"properties", "$defs"}:
        inner = {name: _rewrite(child) for name, child in value.items()}
        return None if any(child is None for child in inner.values()) else inner
    return _rewrite(value) if key in {"items", "anyOf", "oneOf", "allOf", "prefixItems"} else value
