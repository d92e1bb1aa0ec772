"""A prompt's template is held against what its stage reads and returns, when the pipeline is loaded."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import DefinitionError, Door, Pipeline, Rows, Skip


class Book(BaseModel):
    title: str = ""


class Label(BaseModel):
    name: str


class Notes(BaseModel):
    lines: list[str] = []


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    return folder


def line(templates: Path | None = None) -> Pipeline:
    made = Pipeline("line", input=Book, model="openai:small", templates=templates)

    @made.stage
    def notes(book: Book) -> Notes: ...

    return made


def told(function: Callable[..., Any], text: str) -> str:
    pipeline = line()
    pipeline.add(function, name="it", returns=Label, text=text)
    with pytest.raises(DefinitionError) as error:
        pipeline.check()
    place, _, rest = str(error.value).partition(": in stage 'it': ")
    assert re.fullmatch(rf".*test_declaration_prompts\.py:{function.__code__.co_firstlineno}", place)
    return rest


def test_the_template_of_the_stages_name_is_found_beside_the_pipeline(templates: Path) -> None:
    (templates / "label-book.md").write_text("Label {{ book.title }}", encoding="utf-8")
    (templates / "shared.md").write_text("Again {{ book.title }}", encoding="utf-8")
    pipeline = line(templates)

    @pipeline.prompt(returns=Label)
    def label_book(book: Book) -> None: ...

    @pipeline.prompt(name="again", returns=Label, template="shared")
    def again(book: Book) -> None: ...

    prompts = {name: spec.prompt.template for name, spec in pipeline.graph.stages.items() if spec.prompt}
    assert {name: template.text for name, template in prompts.items()} == {
        "label-book": "Label {{ book.title }}",
        "again": "Again {{ book.title }}",
    }
    assert prompts["again"].stage == "again"
    assert prompts["again"].path == templates / "shared.md"


def test_by_default_templates_stand_in_a_folder_beside_the_declaring_file() -> None:
    assert line().templates == Path(__file__).parent / "templates"


def test_a_missing_template_is_told_with_the_stage_and_where_it_was_looked_for(templates: Path) -> None:
    pipeline = line(templates)

    @pipeline.prompt(returns=Label)
    def label_book(book: Book) -> None: ...

    with pytest.raises(DefinitionError) as error:
        pipeline.check()
    assert "in stage 'label-book': template 'label-book' is not there; it was looked for at" in str(error.value)
    assert str(templates / "label-book.md") in str(error.value)


def test_a_variable_that_nobody_gives_is_told_with_its_line_and_the_nearest() -> None:
    def it(book: Book, notes: Notes) -> None: ...

    assert told(it, "{{ book.title }}\n{{ note.lines }}\n{{ notes.lines }}") == (
        "template it (text of it:2) needs 'note', which the stage neither reads nor returns. "
        "Mend: add it as a parameter, return it from the body, or write another name: did you mean 'notes'?"
    )


def test_a_parameter_that_nobody_uses_is_told() -> None:
    def it(book: Book, notes: Notes) -> None: ...

    assert told(it, "{{ book.title }}") == (
        "parameter 'notes' is read by nobody: neither template it nor the body names it. "
        "Mend: use it in the template or take it away"
    )


def test_a_field_that_is_not_there_is_told_at_load() -> None:
    def it(book: Book) -> None: ...

    assert told(it, "Label\n{{ book.titel }}") == (
        "template it (text of it:2): book.titel: Book has no field 'titel'. "
        "Mend: use one of its fields: did you mean 'title'?"
    )


def test_what_a_dict_literal_returns_counts_and_what_it_lacks_is_told() -> None:
    def it(book: Book) -> dict[str, object] | Skip:
        if not book.title:
            return Skip("no title")
        return {"shout": book.title.upper()}

    assert "needs 'shot', which the stage neither reads nor returns" in told(it, "{{ shot }} {{ shout }}")


def test_a_body_whose_keys_cannot_be_read_is_let_through() -> None:
    pipeline = line()

    @pipeline.prompt(returns=Label, text="{{ anything }} {{ book.whatever }} {{ notes.lines }}")
    def it(book: Book, notes: Notes) -> dict[str, object]:
        more: dict[str, object] = {"anything": book.title}
        more["book"] = {"whatever": 1}
        return more

    assert pipeline.graph.stages["it"].prompt is not None


def test_a_parameter_that_only_a_check_reads_is_used() -> None:
    pipeline = line()

    @pipeline.prompt(returns=Label, text="{{ book.title }}")
    def it(book: Book, notes: Notes) -> None: ...

    @it.check
    def is_noted(label: Label, notes: Notes) -> None: ...

    assert pipeline.graph.stages["it"].checks[0].reads == ("notes",)


def test_rows_and_the_door_cannot_stand_in_a_template() -> None:
    def it(notes: Rows[Notes], book: Book) -> None: ...

    def at(door: Door, book: Book) -> None: ...

    pipeline = line()
    pipeline.add(it, returns=Label, text="{{ notes }} {{ book }}", reads={"notes": ["notes"]})
    with pytest.raises(
        DefinitionError, match=r"names 'notes', which is Rows\[Notes\] and can only be read by the function"
    ):
        pipeline.check()
    assert "needs 'door', which the stage neither reads nor returns" in told(at, "{{ door }} {{ book.title }}")


def test_wrong_syntax_is_told_with_stage_template_and_line() -> None:
    def it(book: Book) -> None: ...

    assert told(it, "a\n{{ book.title }") == "text of it:2: unexpected '}'. Mend: correct the template there"
