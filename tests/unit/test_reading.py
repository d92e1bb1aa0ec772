from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError, computed_field

from stagebook.llm.reading import kept, read_json, read_kept, read_text, relaxed_value, unfenced
from stagebook.model.errors import Complaint


class Inner(BaseModel):
    name: str = Field(min_length=2)


class Outer(BaseModel):
    words: Annotated[list[str], Field(min_length=3)]
    inner: Inner | None = None
    score: float = Field(0.5, ge=0, le=1)


class Whole(BaseModel):
    title: str
    parts: list[Inner]
    number: int
    also: list[str]
    inner: Inner


class Post(BaseModel):
    text: str = Field(min_length=10)

    @computed_field
    @property
    def word_count(self) -> int:
        return len(self.text.split())


def test_json_in_a_fence_or_with_a_missing_bracket_is_mended() -> None:
    assert read_json(Outer, '```json\n{"words": ["a", "b", "c"]}\n```') == Outer(words=["a", "b", "c"])
    assert read_json(Outer, '{"words": ["a", "b", "c"], "score": 0.25') == Outer(words=["a", "b", "c"], score=0.25)


def test_a_complaint_lists_what_is_wrong_and_where() -> None:
    with pytest.raises(Complaint) as raised:
        read_json(Outer, '{"words": ["a"], "inner": {"name": "x"}, "score": 2}')
    text = str(raised.value)
    assert "words" in text
    assert "inner.name" in text
    assert "score" in text


def test_prose_instead_of_json_is_complained_about() -> None:
    with pytest.raises(Complaint, match="JSON"):
        read_json(Outer, "I would rather not.")


def test_leniently_sizes_and_ranges_are_let_go_but_not_types() -> None:
    value = relaxed_value(Outer, None, '{"words": ["a"], "inner": {"name": "x"}, "score": 2}')
    assert isinstance(value, Outer)
    assert isinstance(value.inner, Inner)
    assert (value.words, value.score) == (["a"], 2)
    with pytest.raises(Complaint):
        relaxed_value(Outer, None, '{"words": "many"}')


def test_leniently_what_is_missing_is_left_blank() -> None:
    value = relaxed_value(Whole, None, '{"title": "a", "parts": [{"name": "x"}')
    assert isinstance(value, Whole)
    assert (value.title, value.number, value.also, value.inner.name) == ("a", 0, [], "")
    assert value.parts[0].name == "x"


def test_what_was_accepted_leniently_can_be_read_back_as_the_same_class() -> None:
    data = kept(relaxed_value(Outer, None, '{"words": []}'))
    assert isinstance(read_kept(Outer, data), Outer)


def test_a_plain_answer_fills_the_text_and_computed_fields_are_kept() -> None:
    post = read_text(Post, "text", "  one two three four ")
    assert kept(post) == b'{"text":"one two three four","word_count":4}'
    assert read_kept(Post, kept(post)) == post


def test_an_empty_answer_is_complained_about() -> None:
    with pytest.raises(Complaint, match="empty"):
        read_text(Post, "text", " \n ")


def test_only_a_fence_around_the_whole_answer_is_taken_off() -> None:
    assert unfenced("```markdown\n# Title\n\ntext\n```\n") == "# Title\n\ntext"
    inside = "# Title\n\n```python\nx = 1\n```\n\nmore"
    assert unfenced(inside) == inside


def test_nan_is_refused() -> None:
    class Number(BaseModel):
        value: float
        note: str = "NaN is only a word here"

    assert b"NaN" in kept(Number(value=1.0))
    with pytest.raises(Complaint, match="NaN"):
        kept(Number(value=float("nan")))


class Counted(BaseModel, extra="forbid"):
    words: list[str]

    @computed_field
    @property
    def count(self) -> int:
        return len(self.words)


class Strict(BaseModel, extra="forbid"):
    inner: Counted
    title: str = Field(max_length=5)

    @computed_field
    @property
    def loud(self) -> str:
        return self.title.upper()


def test_a_model_that_forbids_what_it_does_not_name_is_read_back_with_its_computed_fields() -> None:
    value = Strict(inner=Counted(words=["a", "b"]), title="moby")
    assert read_kept(Strict, kept(value)) == value
    lenient = relaxed_value(Strict, None, '{"inner": {"words": []}, "title": "far too long"}')
    assert read_kept(Strict, kept(lenient)) == lenient


def test_what_is_missing_is_still_told() -> None:
    with pytest.raises(ValidationError, match="inner"):
        read_kept(Strict, b'{"title": "moby"}')
