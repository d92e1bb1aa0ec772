"""A template that only puts values between texts is rendered as Jinja renders it, or left to Jinja."""

from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, computed_field

from stagebook.definition.template import Template
from stagebook.definition.template_straight import put_together, straight
from stagebook.model.errors import TemplateFailed


class Mood(Enum):
    GOOD = "good"


class Author(BaseModel):
    name: str
    age: int | None = None
    moods: list[Mood] = []


class Page(BaseModel):
    text: str
    author: Author
    score: float = 0.5
    mood: Mood = Mood.GOOD

    @computed_field
    @property
    def words(self) -> int:
        return len(self.text.split())


PAGE = Page(text="one {{ two }}", author=Author(name="Ada"))
VALUES: dict[str, Any] = {"page": PAGE, "title": "Moby", "count": 3, "flag": True, "nothing": None, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    "text",
    [
        "Label {{ page.text }}.",
        "{{ page.author.name }} wrote {{ title }}, {{ count }} times: {{ flag }}",
        "{{ nothing }}and {{ page.author.age }}, {{ tags }}",
        "{{ page.author }} {{ page.words }} {{ page.score }} {{ page.mood }} {{ page.author.moods }}",
        "## system\nYou read.\n\n## user\n{{ page.text }}\n",
        "{# a comment #}\n  {{ title }}  \n",
    ],
)
def test_it_writes_what_jinja_writes(text: str) -> None:
    template = Template.parse("t", text)
    parts = straight(template.tree)
    assert parts is not None
    made = put_together(parts, VALUES)
    assert made is not None
    assert "".join(made) == "".join(template.program._by_jinja(VALUES))


@pytest.mark.parametrize(
    "text",
    [
        "{{ title | upper }}",
        "{% if flag %}x{% endif %}",
        "{% for t in tags %}{{ t }}{% endfor %}",
        "{{ tags[0] }}",
        "{{ 1 }}",
    ],
)
def test_anything_else_is_left_to_jinja(text: str) -> None:
    assert straight(Template.parse("t", text).tree) is None


@pytest.mark.parametrize("text", ["{{ absent }}", "{{ page.absent }}", "{{ page.model_dump }}", "{{ title.upper }}"])
def test_a_value_that_is_no_field_is_left_to_jinja(text: str) -> None:
    parts = straight(Template.parse("t", text).tree)
    assert parts is not None
    assert put_together(parts, VALUES) is None


def test_a_missing_value_is_told_as_before() -> None:
    with pytest.raises(TemplateFailed, match=r"t .*: 'absent' is undefined"):
        Template.parse("t", "Label {{ absent }}").render(VALUES)
