"""A valid instance of a JSON schema, drawn from a seed.

Covers what pydantic writes and what providers accept for structured output: `type` (also a list of types), `enum`,
`const`, `anyOf`, `oneOf`, `allOf`, local `$ref`, nested objects and maps, arrays with bounds, prefix and unique items,
string lengths and the usual formats, bounds of numbers. Not `pattern`, conditions or `not`: they raise, as a wrong
guess would be worse.
"""

from collections.abc import Mapping
from math import ceil, floor, inf
from typing import Any, Final

import orjson

Schema = Mapping[str, Any]

_DEEP: Final = 5
"""Nesting from which the shortest way out is taken: null where allowed, empty arrays, required fields only."""
_TOO_DEEP: Final = 40
"""Nesting from which a schema is held to have no finite instance."""
_TRIES: Final = 50
"""Draws for one more item that differs from the others."""
_UNSUPPORTED: Final = frozenset(
    ("pattern", "not", "if", "dependentSchemas", "dependentRequired", "patternProperties", "contains")
)
_FORMATS: Final = {
    "date": "2026-11-{:02d}",
    "date-time": "2026-11-{:02d}T09:00:00Z",
    "time": "09:{:02d}:00Z",
    "duration": "P{}D",
    "email": "reader{}@example.com",
    "uri": "https://example.com/{}",
    "uuid": "00000000-0000-4000-8000-0000000000{:02d}",
    "ipv4": "192.0.2.{}",
    "hostname": "host{}.example.com",
}
_TEXT: Final = (
    "the margin of every page holds a note that nobody read until the archive opened and its index was "
    "printed again with names dates and places set apart from plain remarks"
)
WORDS: Final = tuple(_TEXT.split())
"""What made text is made of."""
_RING: Final = WORDS * 2
_MASK: Final = 2**64 - 1


class UnsupportedSchemaError(ValueError):
    """No instance of the schema can be made here; the text names the place. Script the answer instead."""


class Draw:
    """A small stream of numbers that depends on its seed alone: Knuth's MMIX generator (TAOCP 2, 3.3.4).

    Enough to choose words with, and started in no time, where `random.Random` takes longer than the answer it is for.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK
        self.below(1)

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, not including, the limit."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 32) % limit

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + self.below(high - low + 1)


def sentence(draw: Draw, words: int) -> str:
    """Cut so many words (at most the number of `WORDS`) out of the ring of them."""
    start = draw.below(len(WORDS))
    return " ".join(_RING[start : start + words])


def make_instance(schema: Schema, draw: Draw) -> Any:
    """Make a JSON value that is valid against the schema.

    Args:
        schema: A JSON schema; `$ref` may point into itself (`#/$defs/...`).
        draw: Source of all choices; the same seed gives the same value.

    Raises:
        UnsupportedSchemaError: It uses a keyword that is not covered, or has no finite instance.
    """
    return _Maker(schema, draw).value(schema, 0, "#")


class _Maker:
    def __init__(self, root: Schema, draw: Draw) -> None:
        self._root = root
        self._draw = draw

    def value(self, schema: Any, depth: int, at: str) -> Any:
        if schema is True or schema == {}:
            return sentence(self._draw, 3)
        if not isinstance(schema, dict) or depth > _TOO_DEEP:
            why = "has no finite instance" if depth > _TOO_DEEP else "allows nothing"
            raise UnsupportedSchemaError(f"the schema at {at} {why}; give a rule with an answer for it")
        schema = self._flat(schema, at)
        if not _UNSUPPORTED.isdisjoint(schema):
            keyword = min(_UNSUPPORTED.intersection(schema))
            raise UnsupportedSchemaError(
                f"{keyword!r} at {at} is not covered; give a rule with an answer for this schema"
            )
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][self._draw.below(len(schema["enum"]))]
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self.value(self._pick(options, depth), depth + 1, at)
        kind = schema.get("type") or self._kind_by_keywords(schema)
        if isinstance(kind, list):
            kind = self._pick([{"type": one} for one in kind], depth)["type"]
        if kind == "object":
            return self._object(schema, depth, at)
        if kind == "array":
            return self._array(schema, depth, at)
        return self._scalar(kind, schema, at)

    def _flat(self, schema: Schema, at: str) -> Schema:
        """Follow references and merge `allOf`; what stands beside a `$ref` is added to its target."""
        for _ in range(_TOO_DEEP):
            if "$ref" in schema:
                beside = {name: value for name, value in schema.items() if name != "$ref"}
                schema = {**self._target(schema["$ref"], at), **beside}
            elif "allOf" in schema:
                schema = self._merged(schema, at)
            else:
                return schema
        raise UnsupportedSchemaError(f"the references at {at} lead in a circle; mend the schema")

    def _merged(self, schema: Schema, at: str) -> Schema:
        whole: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
        for part in (self._flat(one, at) for one in schema["allOf"]):
            properties = {**whole.get("properties", {}), **part.get("properties", {})}
            required = [*whole.get("required", ()), *part.get("required", ())]
            whole = {**whole, **part}
            if properties:
                whole |= {"properties": properties, "required": required}
        return whole

    def _target(self, pointer: str, at: str) -> Schema:
        found: Any = self._root
        try:
            for part in pointer.split("/"):
                if part != "#":
                    found = found[part.replace("~1", "/").replace("~0", "~")]
        except (KeyError, TypeError) as error:
            raise UnsupportedSchemaError(
                f"$ref {pointer!r} at {at} points to nothing in the schema; mend the schema"
            ) from error
        return dict(found)

    def _pick(self, options: list[Schema], depth: int) -> Schema:
        if depth >= _DEEP:
            return min(options, key=lambda option: self._height(option, frozenset()))
        null = [one for one in options if one.get("type") == "null"]
        others = [one for one in options if one.get("type") != "null"]
        if null and (not others or self._draw.below(4) == 0):
            return null[0]
        return others[self._draw.below(len(others))]

    def _height(self, schema: Schema, within: frozenset[str]) -> float:
        """How deep the flattest instance is; infinite where every way leads back to a reference being followed."""
        pointer = schema.get("$ref")
        if pointer in within:
            return inf
        if pointer is not None:
            return self._height(self._target(pointer, "#"), within | {pointer})
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return min(self._height(one, within) for one in options)
        inner: list[Schema] = [schema["properties"][name] for name in schema.get("required", ())]
        if schema.get("minItems", 0):
            inner = [*inner, schema.get("items", {})]
        return 1 + max(self._height(one, within) for one in inner) if inner else 0

    @staticmethod
    def _kind_by_keywords(schema: Schema) -> str:
        if "properties" in schema or "additionalProperties" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        return "integer" if "minimum" in schema or "maximum" in schema else "string"

    def _object(self, schema: Schema, depth: int, at: str) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        required = schema.get("required", ())
        made = {
            name: self.value(inner, depth + 1, f"{at}/{name}")
            for name, inner in properties.items()
            if depth < _DEEP or name in required
        }
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict) and not properties:
            count = schema.get("minProperties", 0 if depth >= _DEEP else 1)
            for index in range(min(count, schema.get("maxProperties", count))):
                key = self._key(schema.get("propertyNames"), index, depth, at)
                made[key] = self.value(rest, depth + 1, f"{at}/{key}")
        return made

    def _key(self, names: Schema | None, index: int, depth: int, at: str) -> str:
        if names:
            names = self._flat(names, at)
            known = names.get("enum")
            return str(known[index % len(known)] if known else self.value(names, depth + 1, at))
        return f"{sentence(self._draw, 1)}-{index}"

    def _array(self, schema: Schema, depth: int, at: str) -> list[Any]:
        prefix = schema.get("prefixItems", ())
        made = [self.value(inner, depth + 1, f"{at}/{index}") for index, inner in enumerate(prefix)]
        items = schema.get("items", not prefix)
        fewest = schema.get("minItems", 0)
        most = (
            min(schema.get("maxItems", len(made)), len(made)) if items is False else schema.get("maxItems", fewest + 3)
        )
        wish = (
            fewest if depth >= _DEEP else self._draw.between(min(max(fewest, 1), most), min(most, max(fewest, 1) + 2))
        )
        unique = schema.get("uniqueItems", False)
        seen = {orjson.dumps(one) for one in made}
        for _ in range(_TRIES * max(wish, 1)):
            if len(made) >= wish:
                break
            item = self.value(items, depth + 1, f"{at}/items")
            key = orjson.dumps(item)
            if not unique or key not in seen:
                made.append(item)
                seen.add(key)
        if len(made) < fewest:
            raise UnsupportedSchemaError(
                f"the array at {at} needs {fewest} items that differ; give a rule with an answer for it"
            )
        return made

    def _scalar(self, kind: str, schema: Schema, at: str) -> Any:
        if kind == "string":
            return self._string(schema)
        if kind == "integer":
            return int(self._multiple(schema, schema.get("multipleOf", 1), at))
        if kind == "number":
            return self._number(schema, at)
        if kind == "boolean":
            return self._draw.below(2) == 0
        if kind == "null":
            return None
        raise UnsupportedSchemaError(f"the type {kind!r} at {at} is none of JSON's; mend the schema")

    def _string(self, schema: Schema) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]].format(self._draw.between(1, 28))
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
        text = sentence(self._draw, self._draw.between(3, 8))
        while len(text) < shortest:
            text = f"{text} {sentence(self._draw, 5)}"
        if longest is not None and len(text) > longest:
            text = text[:longest]
            trimmed = text.rstrip()
            text = trimmed if len(trimmed) >= shortest else text
        return text

    def _multiple(self, schema: Schema, step: float, at: str) -> float:
        low, high = self._bounds(schema)
        first, last = ceil(low / step), floor(high / step)
        first += first * step <= schema.get("exclusiveMinimum", -inf)
        last -= last * step >= schema.get("exclusiveMaximum", inf)
        if first > last:
            raise UnsupportedSchemaError(f"no number lies within the bounds at {at}; mend the schema")
        return self._draw.between(first, last) * step

    def _number(self, schema: Schema, at: str) -> float:
        if "multipleOf" in schema:
            return self._multiple(schema, schema["multipleOf"], at)
        low, high = self._bounds(schema)
        rough = low + (high - low) * self._draw.between(1, 99) / 100
        neat = round(rough, 4)
        return neat if low < neat < high else rough

    @staticmethod
    def _bounds(schema: Schema) -> tuple[float, float]:
        lows = [schema[name] for name in ("minimum", "exclusiveMinimum") if name in schema]
        highs = [schema[name] for name in ("maximum", "exclusiveMaximum") if name in schema]
        if lows:
            low = max(lows)
            return low, min(highs, default=max(100, low + 100))
        high = min(highs, default=100)
        return min(0, high - 100), high
