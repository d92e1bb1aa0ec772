"""Grammars that hold the local model to a JSON schema, with every string and list bounded, so that every answer ends.

A small model left alone repeats itself without end. So every string gets a most length, every list a most count, and
recursion a depth; where a schema names none (or more than the answer's tokens allow) they are chosen to fit the tokens.
What the grammar accepts is always a part of what the schema accepts, never more.

Syntax: the Lark variant of llguidance, https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md.
Schema: JSON Schema 2020-12 as pydantic writes it. Not held, only checked afterwards: uniqueItems, multipleOf, not, if,
dependentRequired, formats other than those in `FORMATS`, patterns with lookaround, and the names of a map's keys.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stagebook.llm.local.number_patterns import integer_pattern, number_pattern
from stagebook.llm.local.string_patterns import FORMATS, KEY, UNHELD, json_text

CHARACTERS_PER_TOKEN = 3.0
"""English prose has 4.4 with this model's tokens, names and figures fewer. Low, so that answers end before a limit."""

DEEPEST = 3
"""How often a schema may be entered inside itself."""


class UnusableSchema(ValueError):
    """No answer of bounded length can fit the schema; the text says where and why."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    text: int
    """Most characters of a string."""
    items: int
    """Most entries of a list or map."""


_LADDER = tuple(
    _Bounds(text, items)
    for text, items in (
        (400, 15),
        (300, 12),
        (240, 10),
        (200, 8),
        (160, 6),
        (120, 5),
        (90, 4),
        (60, 3),
        (40, 2),
        (24, 1),
    )
)


@dataclass(frozen=True, slots=True)
class Form:
    """A grammar and what it costs."""

    grammar: str
    """For llguidance."""
    most_tokens: int
    """About as many as the longest answer takes."""


@dataclass(frozen=True, slots=True)
class _Piece:
    expression: str
    """Right side of a rule."""
    characters: float
    """The longest text it makes."""


class _TooDeep(Exception):
    """A schema was entered inside itself too often."""


def json_form(schema: Mapping[str, Any], tokens: int) -> Form:
    """Make the grammar of a JSON answer.

    All properties are asked for, also those that may be missing. The answer is written on one line, in the order of the
    schema, with a space after commas and colons: what a small model writes best.

    Args:
        schema: Of the answer.
        tokens: What the answer may take; bounds are tightened until its longest form fits, as far as the schema allows.

    Raises:
        UnusableSchema: It refers to what is not there, or is endless.
    """
    forms = (_Writer(schema, bounds).form() for bounds in _LADDER)
    return next((form for form in forms if form.most_tokens <= tokens), None) or _Writer(schema, _LADDER[-1]).form()


class _Writer:
    """Writes one grammar; equal rules and terminals are shared, because it is compiled anew for every call."""

    def __init__(self, schema: Mapping[str, Any], bounds: _Bounds) -> None:
        self._root = schema
        self._bounds = bounds
        self._rules: dict[str, str] = {}
        self._terminals: dict[str, str] = {}
        self._entered: list[str] = []

    def form(self) -> Form:
        try:
            piece = self._node(self._root)
        except _TooDeep as error:
            raise UnusableSchema(f"the schema holds itself without an end at {error}") from error
        lines = ["%llguidance {}", f"start: {piece.expression}"]
        lines += [f"{name}: {body}" for body, name in (*self._rules.items(), *self._terminals.items())]
        return Form("\n".join(lines) + "\n", int(piece.characters / CHARACTERS_PER_TOKEN) + 2)

    def _terminal(self, body: str) -> str:
        return self._terminals.setdefault(body, f"T{len(self._terminals)}")

    def _rule(self, expression: str, characters: float) -> _Piece:
        return _Piece(self._rules.setdefault(expression, f"r{len(self._rules)}"), characters)

    def _node(self, schema: Any) -> _Piece:
        if not isinstance(schema, Mapping):
            return self._anything()
        if "$ref" in schema:
            return self._reference(str(schema["$ref"]))
        if "const" in schema:
            return _choice([schema["const"]])
        if "enum" in schema:
            return _choice(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._any_of(schema[keyword])
        if "allOf" in schema:
            merged = {key: value for key, value in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                merged.update(self._resolved(part))
            return self._node(merged)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._any_of([{**schema, "type": one} for one in kind])
        return self._typed(kind, schema)

    def _typed(self, kind: object, schema: Mapping[str, Any]) -> _Piece:
        match kind:
            case "string":
                return self._string(schema)
            case "integer":
                pattern, most = integer_pattern(schema)
                return _Piece(self._terminal(f"/{pattern}/"), most)
            case "number":
                pattern, most = number_pattern(schema)
                return _Piece(self._terminal(f"/{pattern}/"), most)
            case "boolean":
                return _choice([True, False])
            case "null":
                return _choice([None])
            case "array":
                return self._array(schema)
            case _ if kind == "object" or "properties" in schema:
                return self._object(schema) if schema.get("properties") else self._map(schema)
            case _:
                return self._anything()

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._target(str(schema["$ref"])) if "$ref" in schema else schema

    def _target(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        if not reference.startswith("#") or not isinstance(found, Mapping):
            raise UnusableSchema(f"the schema refers to {reference}, which is not in it")
        return found

    def _reference(self, reference: str) -> _Piece:
        if self._entered.count(reference) >= DEEPEST:
            raise _TooDeep(reference)
        self._entered.append(reference)
        try:
            return self._node(self._target(reference))
        finally:
            self._entered.pop()

    def _any_of(self, schemas: Sequence[Any]) -> _Piece:
        pieces: list[_Piece] = []
        deep: _TooDeep | None = None
        for one in schemas:
            try:
                pieces.append(self._node(one))
            except _TooDeep as error:
                deep = error
        if not pieces:
            raise deep or UnusableSchema("the schema has an anyOf without alternatives")
        expressions = list(dict.fromkeys(piece.expression for piece in pieces))
        return self._rule(" | ".join(expressions), max(piece.characters for piece in pieces))

    def _anything(self) -> _Piece:
        return self._any_of([{"type": "string", "maxLength": 80}, {"type": ["integer", "boolean", "null"]}])

    def _object(self, schema: Mapping[str, Any]) -> _Piece:
        required = schema.get("required", ())
        text, characters = "{", 0.0
        parts: list[str] = []
        for name, child in schema["properties"].items():
            try:
                piece = self._node(child)
            except _TooDeep:
                if name in required:
                    raise
                continue
            text += (", " if parts else "") + _json(name) + ": "
            parts += [_literal(text), piece.expression]
            characters += len(text) + piece.characters
            text = ""
        parts.append(_literal(text + "}"))
        return self._rule(" ".join(parts), characters + 1)

    def _map(self, schema: Mapping[str, Any]) -> _Piece:
        values = schema.get("additionalProperties")
        if values in (None, True):
            values = next(iter(schema.get("patternProperties", {}).values()), {})
        names = schema.get("propertyNames", {}).get("enum")
        key = _choice(names) if names else _Piece(self._terminal(f'/"{KEY}"/'), 28)
        least = schema.get("minProperties", 0)
        try:
            value = self._node(values)
        except _TooDeep:
            if least:
                raise
            return _Piece(_literal("{}"), 2)
        entry = self._rule(f'{key.expression} ": " {value.expression}', key.characters + value.characters + 2)
        most = min(schema.get("maxProperties", 4), max(4, least), max(self._bounds.items, least))
        return self._repeated("{", entry, least, most, "}")

    def _array(self, schema: Mapping[str, Any]) -> _Piece:
        fixed = schema.get("prefixItems")
        if fixed:
            pieces = [self._node(one) for one in fixed]
            expression = ' ", " '.join(piece.expression for piece in pieces)
            characters = sum(piece.characters + 2 for piece in pieces)
            return self._rule(f'"[" {expression} "]"', characters)
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", max(5, least)), max(self._bounds.items, least))
        try:
            item = self._node(schema.get("items"))
        except _TooDeep:
            if least:
                raise
            return _Piece(_literal("[]"), 2)
        return self._repeated("[", item, least, most, "]")

    def _string(self, schema: Mapping[str, Any]) -> _Piece:
        if schema.get("maxLength") == 0:
            return _choice([""])
        least = max(schema.get("minLength", 1), 1)
        most = min(schema.get("maxLength", max(self._bounds.text, least)), max(self._bounds.text, _roomy(least)))
        if least > most:
            raise UnusableSchema(f"the schema asks for a string of at least {least} and at most {most} characters")
        held = FORMATS.get(str(schema.get("format")))
        if held is not None:
            return _Piece(self._terminal(f'/"{held}"/'), 60)
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and not UNHELD.search(pattern):
            leaf = {"type": "string", "pattern": pattern, "minLength": schema.get("minLength", 0), "maxLength": most}
            return _Piece(f"%json {_json(leaf)}", most + 2)
        return _Piece(self._terminal(f'/"{json_text(least, most)}"/'), most + 2)

    def _repeated(self, opening: str, item: _Piece, least: int, most: int, closing: str) -> _Piece:
        """A list of `least` to `most` items."""
        if most < 1:
            return _Piece(_literal(opening + closing), 2)
        more = f' (", " {item.expression}){{{max(least - 1, 0)},{most - 1}}}' if most > 1 else ""
        some = f"{_literal(opening)} {item.expression}{more} {_literal(closing)}"
        none = "" if least else f"{_literal(opening + closing)} | "
        return self._rule(none + some, most * (item.characters + 2) + 2)


def _choice(values: Sequence[Any]) -> _Piece:
    if not values:
        raise UnusableSchema("the schema has an enum without values")
    texts = [_json(value) for value in values]
    return _Piece(f"({' | '.join(_literal(text) for text in texts)})", max(map(len, texts)))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _literal(text: str) -> str:
    return _json(text)


def _roomy(least: int) -> int:
    """Where only the least length is told, half as much again is allowed."""
    return least * 3 // 2 + 20
