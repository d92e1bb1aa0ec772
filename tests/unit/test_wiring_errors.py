"""What cannot be bound is told with file and line, the candidates, and the mend."""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stagebook import Children, DefinitionError, From, Item, Key, Pipeline, Rows


class Book(BaseModel):
    title: str = ""


class Page(BaseModel):
    number: Annotated[int, Key]


class Chapter(BaseModel):
    number: Annotated[int, Key]


class Words(BaseModel):
    count: int = 0


class Label(BaseModel):
    name: str = ""


class Report(BaseModel):
    text: str = ""


def line() -> Pipeline:
    """Pages with words, chapters with labels, and two reports."""
    made = Pipeline("line", input=Book)
    looking = made.phase("looking")

    @made.stage
    def pages(book: Book) -> Iterator[Page]: ...

    @made.stage
    def chapters(book: Book) -> Iterator[Chapter]: ...

    @made.stage(each=Page)
    def words(page: Page) -> Words: ...

    @made.stage(each=Chapter)
    def label(chapter: Chapter) -> Label: ...

    @looking.stage
    def first_report(book: Book) -> Report: ...

    @looking.stage
    def second_report(book: Book) -> Report: ...

    return made


def told(function: Callable[..., Any], **options: Any) -> str:
    """Declare a function in a line and give what is told of it, without the place, which is checked."""
    pipeline = line()
    pipeline.add(function, name="it", **options)
    with pytest.raises(DefinitionError) as error:
        pipeline.check()
    place, _, text = str(error.value).partition(": ")
    assert re.fullmatch(rf".*test_wiring_errors\.py:{function.__code__.co_firstlineno}", place)
    assert text.startswith("in stage 'it': ")
    return text.removeprefix("in stage 'it': ")


class Result(BaseModel):
    text: str = ""


class Labels(BaseModel):
    names: list[str] = []


def test_an_ambiguous_read_names_the_candidates_and_both_mends() -> None:
    def it(report: Report) -> Result: ...

    assert told(it) == (
        "parameter 'report': Report is made by first-report and second-report, and the name is none of them. "
        "Mend: call the parameter 'first_report', or say reads={'report': 'first-report'}"
    )


def test_an_ambiguous_list_says_how_to_read_both() -> None:
    def it(reports: list[Report]) -> Result: ...

    assert told(it) == (
        "parameter 'reports': Report is made by first-report and second-report, and the name is none of them. "
        "Mend: annotate it with Annotated[list[Report], From('first-report', 'second-report')], "
        "or say reads={'reports': 'first-report'}"
    )


def test_a_type_that_nobody_makes_is_told_with_the_nearest() -> None:
    def it(labels: Labels) -> Result: ...

    assert told(it) == (
        "nobody makes Labels, which parameter 'labels' reads. "
        "Mend: declare a stage that returns Labels, or read what is made: did you mean 'Label'?"
    )


def test_a_model_of_the_same_name_from_elsewhere_is_told_apart() -> None:
    other = type("Label", (BaseModel,), {"__module__": "elsewhere"})

    def it(label: Any) -> Result: ...

    it.__annotations__["label"] = other
    assert told(it) == (
        f"parameter 'label' is a Label of elsewhere, and label returns the Label of {Label.__module__}. "
        "Mend: import the same one in both places"
    )


def test_items_read_by_a_stage_that_runs_once_are_a_list() -> None:
    def it(page: Page) -> Result: ...

    assert told(it) == (
        "parameter 'page' is one Page, and pages yields many, while it runs once. "
        "Mend: annotate it with list[Page] for all of them, or declare the stage with each=Page"
    )


def test_a_mapped_stage_on_a_foreign_axis_is_read_as_a_list() -> None:
    def it(page: Page, label: Label) -> Result: ...

    assert told(it, each=Page) == (
        "parameter 'label' is one Label, and label runs for each item of chapters, "
        "while it runs for each item of pages. "
        "Mend: annotate it with list[Label] for all of them, or declare the stage with each=Chapter"
    )


def test_what_stands_deeper_on_the_same_axis_is_read_as_children() -> None:
    pipeline = line()

    class Sentence(BaseModel):
        place: Annotated[str, Key]

    @pipeline.stage(each=Page)
    def sentences(page: Page) -> Iterator[Sentence]: ...

    @pipeline.stage(each=Page)
    def it(sentence: Sentence) -> Result: ...

    with pytest.raises(DefinitionError, match=re.escape("annotate it with Children[Sentence] (those of this item)")):
        pipeline.check()


def test_children_need_an_item() -> None:
    def it(pages: Children[Page]) -> Result: ...

    assert told(it) == (
        "parameter 'pages' is Children[Page], and the stage runs once, so it has no item. "
        "Mend: annotate it with list[Page]"
    )


def test_children_stand_below_the_item() -> None:
    def it(words: Children[Words]) -> Result: ...

    assert told(it, each=Page) == (
        "parameter 'words' is Children[Words], and what words makes does not stand below the items of pages "
        "(words runs for each item of pages). Mend: annotate it with Words or list[Words]"
    )


def test_a_list_of_what_is_made_once_is_told() -> None:
    pipeline = line()

    @pipeline.stage
    def result(book: Book) -> Result: ...

    @pipeline.stage
    def it(results: list[Result]) -> Labels: ...

    with pytest.raises(DefinitionError, match=r"result runs once and makes one\. Mend: annotate it with Result"):
        pipeline.check()


def test_one_value_cannot_be_read_from_several_stages() -> None:
    def it(report: Annotated[Report, From("first-report", "second-report")]) -> Result: ...

    assert told(it) == (
        "parameter 'report' is one Report, and reads first-report and second-report. "
        "Mend: annotate it with list[Report] or dict[str, Report]"
    )


def test_an_item_of_a_stage_that_runs_once_cannot_be_picked() -> None:
    def it(first_report: Annotated[Report, Item("1")]) -> Result: ...

    assert (
        told(it)
        == "parameter 'first_report' picks the item '1', and first-report runs once. Mend: leave Item(...) away"
    )


def test_a_dict_cannot_mix_stages_and_items() -> None:
    def it(found: Annotated[dict[str, BaseModel], From("words", "first-report")]) -> Result: ...

    assert told(it) == (
        "parameter 'found' is dict[str, BaseModel] by stage, and words has many items. "
        "Mend: read the mapped stage in a parameter of its own"
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (From("frist-report"), "reads the stage 'frist-report', which is not there. Mend: name a stage: did you mean"),
        (From("it"), "reads the stage itself. Mend: read a stage that runs before it"),
        (From("words"), "is Report, and words makes Words. Mend: annotate it with Words, or read another stage"),
        (
            From(phase="loking"),
            "reads the phase 'loking', which is not there. Mend: name a phase: did you mean 'looking'?",
        ),
        (From(), "reads no stage at all. Mend: name one: From('stage')"),
    ],
)
def test_what_from_names_must_be_there_and_return_the_type(source: From, text: str) -> None:
    def it(report: Report) -> Result: ...

    assert told(it, reads={"report": source}).startswith(f"parameter 'report' {text}")


def test_a_phase_without_such_a_stage_is_told() -> None:
    def it(words: Annotated[list[Words], From(phase="looking")]) -> Result: ...

    assert told(it).startswith("parameter 'words': no stage of the phase 'looking' returns Words.")


def test_reads_names_parameters_that_are_there() -> None:
    def it(words: list[Words]) -> Result: ...

    assert told(it, reads={"word": "words"}) == (
        "reads= names 'word', which is no parameter of the function. "
        "Mend: name one of its parameters: did you mean 'words'?"
    )


def test_any_model_is_read_only_where_stages_are_said() -> None:
    def it(all_: list[BaseModel]) -> Result: ...

    assert told(it) == (
        "parameter 'all_' takes any model, and no stage is said. "
        "Mend: annotate it with Annotated[list[BaseModel], From('stage', ...)]"
    )


def test_each_of_a_type_that_nobody_yields_is_told_with_the_nearest() -> None:
    def it(book: Book) -> Result: ...

    class Pages(BaseModel):
        number: int

    assert told(it, each=Pages) == (
        "each=Pages: nobody yields it. "
        "Mend: declare a stage that returns Iterator[Pages], or name what is yielded: did you mean 'Page'?"
    )


def test_each_of_what_a_mapped_stage_returns_names_the_items_instead() -> None:
    def it(words: Words) -> Result: ...

    assert told(it, each=Words) == (
        "each=Words: words returns one, and yields no items. Mend: words runs for each item of pages: say each=Page"
    )


def test_each_of_a_stage_that_runs_once_says_how_to_yield() -> None:
    def it(book: Book) -> Result: ...

    assert told(it, each="first-report") == (
        "each= names first-report, which yields no items. "
        "Mend: let first-report return Iterator[...] of a model with a Key, or leave each= away"
    )


def test_each_of_a_stage_that_is_not_there_is_told() -> None:
    def it(book: Book) -> Result: ...

    assert told(it, each="page") == (
        "each= names the stage 'page', which is not there. Mend: name a stage that yields items: did you mean 'pages'?"
    )


def test_each_of_items_that_two_stages_yield_names_both() -> None:
    pipeline = line()

    @pipeline.stage
    def more_pages(book: Book) -> Iterator[Page]: ...

    @pipeline.stage(each=Page)
    def it(book: Book) -> Result: ...

    with pytest.raises(
        DefinitionError, match=r"stage 'words': each=Page: pages and more-pages yield it\. Mend: name the"
    ):
        pipeline.check()


def test_a_stage_cannot_be_mapped_over_itself_in_the_end() -> None:
    pipeline = Pipeline("circle", input=Book)

    @pipeline.stage(each=Chapter)
    def pages(chapter: Chapter) -> Iterator[Page]: ...

    @pipeline.stage(each=Page)
    def chapters(page: Page) -> Iterator[Chapter]: ...

    with pytest.raises(DefinitionError, match="it is mapped over itself: pages -> chapters -> pages"):
        pipeline.check()


def test_a_cycle_is_drawn() -> None:
    pipeline = Pipeline("circle", input=Book)

    @pipeline.stage
    def start(book: Book) -> Result: ...

    @pipeline.stage
    def counted(result: Result, label: Label) -> Words: ...

    @pipeline.stage
    def labelled(words: Words) -> Label: ...

    with pytest.raises(DefinitionError) as error:
        pipeline.check()
    assert "in stage 'counted': stages read each other in a circle: counted -> labelled -> counted. Mend:" in str(
        error.value
    )


def test_a_stage_that_returns_the_inputs_model_makes_its_reads_ambiguous() -> None:
    pipeline = Pipeline("line", input=Book)

    @pipeline.stage
    def cleaned(book: Book) -> Book: ...

    @pipeline.stage
    def it(book: Book) -> Result: ...

    with pytest.raises(DefinitionError) as error:
        pipeline.check()
    assert str(error.value).endswith(
        "in stage 'it': parameter 'book': Book is the run's input, and cleaned returns it too. Mend: give that stage's "
        "output a model of its own, or read it as Annotated[Book, From('cleaned')]"
    )


def test_the_input_is_one() -> None:
    def it(books: list[Book]) -> Result: ...

    assert told(it) == "parameter 'books' is list[Book], and there is one input. Mend: annotate it with Book"


@pytest.mark.parametrize("hint", [list[Words] | None, Rows[Words] | None, dict[str, Words] | None])
def test_a_collection_is_never_none(hint: Any) -> None:
    def it(words: Any) -> Result: ...

    it.__annotations__["words"] = hint
    assert "a collection is never None. Mend: leave `| None` away: what was skipped is not in it" in told(it)


@pytest.mark.parametrize(
    "hint", [int, list[int], str | Words, tuple[Words, ...], dict[int, Words], list["Words | Label"]]
)
def test_a_parameter_that_no_stage_could_give_is_told(hint: Any) -> None:
    def it(given: Any) -> Result: ...

    it.__annotations__["given"] = hint
    assert "which no stage can return. Mend: annotate it with a pydantic model, or list[...]" in told(it)
