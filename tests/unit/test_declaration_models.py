"""What a model says to the house: its key, its text, and what a language model writes of it."""

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field

from stagebook import DefinitionError, Key, Pipeline, Text
from stagebook.definition.function_code import Sources
from stagebook.definition.graph import PromptSpec
from stagebook.definition.schema import NoSchema, Schemas


class Book(BaseModel):
    title: str = ""


class Part(BaseModel):
    """A part of it."""

    title: str
    """What stands above it."""
    pages: int = Field(description="How many.")
    """Not this sentence."""


class Outline(BaseModel):
    reasoning: str
    """First think,
    then write.
    """
    answer: str
    parts: list[Part] = []
    """All parts."""
    length: int = Field(default=0, alias="total")
    """Under its other name."""

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def count(self) -> int:
        """How many parts."""
        return len(self.parts)


class LongOutline(Outline):
    notes: str = ""
    """Beside it."""


def schema(model: type[BaseModel]) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(Schemas(Sources()).written(model))
    return made


def test_sentences_under_fields_become_descriptions_where_none_is_given() -> None:
    made = schema(LongOutline)
    fields = made["properties"]
    assert fields["reasoning"]["description"] == "First think,\nthen write."
    assert fields["parts"]["description"] == "All parts."
    assert fields["total"]["description"] == "Under its other name."
    assert fields["notes"]["description"] == "Beside it."
    assert made["$defs"]["Part"]["properties"]["title"]["description"] == "What stands above it."
    assert made["$defs"]["Part"]["properties"]["pages"]["description"] == "How many."
    assert "description" not in fields["answer"]


def test_describing_a_schema_changes_nothing_of_the_users_class() -> None:
    schema(Outline)
    assert Outline.model_fields["reasoning"].description is None
    assert "description" not in Outline.model_json_schema()["properties"]["reasoning"]


def test_a_model_of_a_function_is_described_too() -> None:
    class Local(BaseModel):
        name: str
        """What it is called."""

    assert schema(Local)["properties"]["name"]["description"] == "What it is called."


def test_fields_keep_their_order_since_a_model_writes_them_in_it() -> None:
    assert list(schema(Outline)["properties"]) == ["reasoning", "answer", "parts", "total"]


def test_what_is_computed_is_kept_and_not_asked_for() -> None:
    schemas = Schemas(Sources())
    assert b'"count"' not in schemas.written(Outline)
    assert b'"count"' in schemas.kept(Outline)


def test_a_model_without_json_form_has_no_schema() -> None:
    class Holder(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        thing: Sources

    with pytest.raises(NoSchema):
        Schemas(Sources()).written(Holder)


def test_a_default_that_json_cannot_hold_is_left_out_without_a_warning() -> None:
    class Holder(BaseModel):
        thing: Any = object()

    assert schema(Holder)["properties"] == {"thing": {"title": "Thing"}}


def test_a_model_that_names_what_is_not_there_has_no_schema() -> None:
    class Holder(BaseModel):
        thing: "NotThere"  # type: ignore[name-defined]  # noqa: F821  the fact under test

    with pytest.raises(NoSchema, match="not fully defined"):
        Schemas(Sources()).written(Holder)


class Post(BaseModel):
    text: Text

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def words(self) -> int:
        return len(self.text.split())


class Noted(BaseModel):
    text: Text
    notes: str


def prompt(returns: type[BaseModel]) -> PromptSpec:
    line = Pipeline("line", input=Book, model="openai:small")

    @line.prompt(returns=returns, text="{{ book.title }}")
    def write(book: Book) -> None: ...

    made = line.graph.stages["write"].prompt
    assert made is not None
    return made


def test_a_model_whose_only_written_field_is_text_is_asked_for_plain_text() -> None:
    assert (prompt(Post).text_field, prompt(Post).schema) == ("text", None)


def test_any_other_model_is_asked_for_by_schema() -> None:
    made = prompt(Noted)
    assert made.text_field is None
    assert made.schema is not None
    assert orjson.loads(made.schema)["required"] == ["text", "notes"]


def test_the_text_field_of_a_computing_stage_is_known_too() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def write(book: Book) -> Noted: ...

    spec = line.graph.stages["write"]
    assert spec.text_field == "text"
    assert list(orjson.loads(spec.schema)["properties"]) == ["text", "notes"]


def test_text_is_an_ordinary_str_of_a_model() -> None:
    assert Post(text="a b").words == 2
    assert Post.model_validate_json(b'{"text": "a"}') == Post(text="a")


def declare(output: Any) -> str:
    line = Pipeline("line", input=Book)

    def it(book: Book) -> Any: ...

    it.__annotations__["return"] = output
    line.add(it)
    with pytest.raises(DefinitionError) as error:
        line.check()
    return str(error.value).partition("in stage 'it': ")[2]


def test_two_texts_in_one_model_are_told() -> None:
    class Both(BaseModel):
        one: Text
        two: Text | None = None

    assert declare(Both) == (
        "Both has several fields of type Text: one, two. "
        "Mend: keep one (the ledger shows it as output_text) and make the others str"
    )


def test_an_output_without_json_form_is_told() -> None:
    class Holder(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        thing: Sources

    assert declare(Holder).startswith("Holder cannot be kept as JSON: ")


def test_a_prompt_whose_model_has_nothing_to_write_is_told() -> None:
    class Nothing(BaseModel):
        @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
        @property
        def words(self) -> int:
            return 0

    with pytest.raises(DefinitionError, match="Nothing has no field that a model could write"):
        prompt(Nothing)


def test_an_item_without_a_key_is_told() -> None:
    class Page(BaseModel):
        number: int

    assert declare(Iterator[Page]) == (
        "it yields Page, which has no field marked as key. "
        "Mend: mark one field that tells items apart, such as number: Annotated[int, Key]"
    )


def test_an_item_with_two_keys_or_a_key_of_another_type_is_told() -> None:
    class Two(BaseModel):
        a: Annotated[int, Key]
        b: Annotated[str, Key]

    class Half(BaseModel):
        number: Annotated[float, Key]

    assert declare(Iterator[Two]).startswith("it yields Two, which has several fields marked as key: a, b.")
    assert declare(Iterator[Half]) == (
        "the key Half.number is neither str nor int. Mend: take a field of type str or int as the key"
    )


def test_a_computed_field_may_be_the_key() -> None:
    class Prompted(BaseModel):
        text: str

        @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
        @property
        def digest(self) -> Annotated[str, Key]:
            return self.text[::-1]

    line = Pipeline("line", input=Book)

    @line.stage
    def prompts(book: Book) -> Iterator[Prompted]: ...

    assert line.graph.stages["prompts"].key_field == "digest"
