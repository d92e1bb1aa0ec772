"""Instances that the fake provider makes of schemas, and the strict schemas that it takes."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from stagebook.testing.provider_instance import Draw, UnsupportedSchemaError, make_instance
from stagebook.testing.provider_strict import strict_objection


class Mood(Enum):
    CALM = "calm"
    WILD = "wild"


class Quote(BaseModel):
    text: str = Field(min_length=40, max_length=60)
    mood: Mood
    speaker: str | None
    score: int = Field(ge=1, lt=4)
    weight: float = Field(gt=0.25, le=0.5)


class Tree(BaseModel):
    name: str
    left: Optional["Tree"]
    children: list["Tree"]


class Leaf(BaseModel):
    kind: Literal["leaf"]


class Fork(BaseModel):
    kind: Literal["fork"]
    left: "Leaf | Fork"
    right: "Leaf | Fork"


class Everything(BaseModel):
    quotes: list[Quote] = Field(min_length=2, max_length=5)
    tags: set[Literal["a", "b", "c"]] = Field(min_length=3)
    by_mood: dict[Mood, int]
    by_name: dict[str, Quote]
    pair: tuple[int, str]
    when: datetime
    day: date
    id: UUID
    steps: int = Field(multiple_of=5, gt=10, lt=30)
    halves: float = Field(multiple_of=0.5, ge=0.5, le=2)
    below: int = Field(lt=-500)
    union: int | str | Quote
    chosen: Annotated[Quote | Leaf, Field(description="one of two")]
    fixed: Literal["only"]
    flag: bool
    nothing: None
    maybe: str | None = None
    anything: Any


@pytest.mark.parametrize("model", [Quote, Tree, Fork, Everything])
@given(seed=st.integers(0, 2**32))
def test_what_is_made_of_a_models_schema_validates_as_the_model(model: type[BaseModel], seed: int) -> None:
    model.model_validate_json(TypeAdapter(Any).dump_json(make_instance(model.model_json_schema(), Draw(seed))))


@given(seed=st.integers(0, 2**32))
def test_the_same_seed_makes_the_same_instance(seed: int) -> None:
    schema = Everything.model_json_schema()
    assert make_instance(schema, Draw(seed)) == make_instance(schema, Draw(seed))


@pytest.mark.parametrize(
    ("schema", "valid"),
    [
        ({"type": ["string", "null"]}, lambda made: made is None or isinstance(made, str)),
        ({"enum": [1, "two", None]}, lambda made: made in (1, "two", None)),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
            {"a": 1, "b": 2}.__eq__,
        ),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, lambda made: made in (1, 2)),
        ({"type": "object", "additionalProperties": {"const": 1}, "minProperties": 3}, lambda made: len(made) == 3),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, lambda made: made == []),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 5}}}, lambda made: made == 5),
        ({"type": "string", "minLength": 300}, lambda made: len(made) >= 300),
        (True, lambda made: isinstance(made, str)),
    ],
)
def test_keywords_that_pydantic_seldom_writes_are_followed(schema: Any, valid: Any) -> None:
    assert all(valid(make_instance(schema, Draw(seed))) for seed in range(20))


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "pattern": "^a"}, "'pattern' at #"),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, "'#/\\$defs/gone' at #/a"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "in a circle"),
        ({"type": "integer", "minimum": 3, "exclusiveMaximum": 3}, "no number lies within"),
        ({"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2}, "2 items that differ"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "no finite instance"),
        ({"type": "text"}, "none of JSON's"),
        (False, "allows nothing"),
    ],
)
def test_a_schema_that_has_no_instance_here_is_told_with_its_place(schema: Any, told: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=told):
        make_instance(schema, Draw(0))


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str
    other: str | None


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: list[Inner]


def test_a_closed_schema_that_requires_everything_is_taken_strictly() -> None:
    assert strict_objection(Outer.model_json_schema()) is None


def changed(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {**schema, **more}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "array", "items": {}}, "'type: \"object\"'"),
        (changed(Outer.model_json_schema(), additionalProperties=True), "context=(), 'additionalProperties'"),
        (changed(Outer.model_json_schema(), required=[]), "Missing 'items'"),
        (
            changed(Outer.model_json_schema(), **{"$defs": {"Inner": {"type": "object"}}}),
            "context=('$defs', 'Inner'), 'additionalProperties'",
        ),
        (
            changed(Outer.model_json_schema(), properties={"items": {"anyOf": [{"allOf": []}]}}),
            "context=('properties', 'items', 'anyOf', '0'), 'allOf'",
        ),
    ],
)
def test_an_open_or_partial_schema_is_not_taken_strictly(schema: dict[str, Any], told: str) -> None:
    objection = strict_objection(schema)
    assert objection is not None
    assert told in objection
