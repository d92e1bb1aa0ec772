"""Which stage a parameter reads, and as what."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from pydantic import BaseModel

from stagebook import Children, Door, From, Item, Key, Llm, Pipeline, Rows, Skip
from stagebook.definition.graph import Graph, Read, ReadKind


class Book(BaseModel):
    title: str = ""


class Page(BaseModel):
    number: Annotated[int, Key]


class Line(BaseModel):
    place: Annotated[str, Key]


class Words(BaseModel):
    count: int = 0


class Label(BaseModel):
    name: str = ""


class Report(BaseModel):
    text: str = ""


def read(graph: Graph, stage: str, parameter: str) -> Read:
    return next(one for one in graph.stages[stage].reads if one.parameter == parameter)


def bound(graph: Graph, stage: str, parameter: str) -> tuple[ReadKind, tuple[str, ...]]:
    found = read(graph, stage, parameter)
    return found.kind, found.stages


def scanned() -> Pipeline:
    """Pages, lines in each page, words of each page and of each line."""
    scan = Pipeline("scan", input=Book)

    @scan.stage
    def pages(book: Book) -> Iterator[Page]: ...

    @scan.stage(each=Page)
    def lines(page: Page) -> list[Line]: ...

    @scan.stage(each=Line)
    def label(line: Line) -> Label: ...

    @scan.stage(each=Page)
    def words(page: Page) -> Words: ...

    return scan


def test_a_parameter_reads_the_one_stage_that_returns_its_type() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def count(book: Book) -> Words: ...

    @line.stage
    def report(words: Words) -> Report: ...

    assert bound(line.graph, "report", "words") == (ReadKind.OUTPUT, ("count",))
    assert read(line.graph, "report", "words").type is Words


def test_a_parameter_of_the_inputs_type_reads_the_input() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def count(anything: Book) -> Words: ...

    assert bound(line.graph, "count", "anything") == (ReadKind.INPUT, ())


def test_where_several_stages_return_the_type_the_parameters_name_settles_it() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def first_count(book: Book) -> Words: ...

    @line.stage
    def second_count(book: Book) -> Words: ...

    @line.stage
    def report(second_count: Words) -> Report: ...

    assert bound(line.graph, "report", "second_count") == (ReadKind.OUTPUT, ("second-count",))


def test_a_stage_never_reads_itself() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def draft(book: Book) -> Report: ...

    @line.stage
    def refined(before: Report) -> Report: ...

    assert bound(line.graph, "refined", "before") == (ReadKind.OUTPUT, ("draft",))


def test_the_order_of_declaration_does_not_matter() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def report(words: Words) -> Report: ...

    @line.stage
    def count(book: Book) -> Words: ...

    assert list(line.graph.stages) == ["count", "report"]
    assert line.graph.upstream == {"count": frozenset(), "report": {"count"}}


def test_of_stages_that_could_come_next_the_one_declared_first_stands_first() -> None:
    line = Pipeline("line", input=Book)
    for name in ("c", "a", "b"):

        def count(book: Book) -> Words: ...

        line.add(count, name=name)
    assert list(line.graph.stages) == ["c", "a", "b"]


def test_inside_each_a_parameter_on_the_same_axis_is_this_items() -> None:
    scan = scanned()

    @scan.stage(each=Page)
    def report(page: Page, words: Words, book: Book) -> Report: ...

    graph = scan.graph
    assert graph.stages["report"].axis == ("pages",)
    assert bound(graph, "report", "page") == (ReadKind.ITEM, ("pages",))
    assert bound(graph, "report", "words") == (ReadKind.OUTPUT, ("words",))


def test_what_stands_on_an_outer_axis_is_the_parents() -> None:
    scan = scanned()

    @scan.stage(each=Line)
    def report(line: Line, page: Page, words: Words) -> Report: ...

    graph = scan.graph
    assert graph.stages["report"].axis == ("pages", "lines")
    assert bound(graph, "report", "line") == (ReadKind.ITEM, ("lines",))
    assert bound(graph, "report", "page") == (ReadKind.ITEM, ("pages",))
    assert bound(graph, "report", "words") == (ReadKind.OUTPUT, ("words",))


def test_each_may_name_the_items_model_the_stage_or_its_handle() -> None:
    scan = Pipeline("scan", input=Book)

    @scan.stage
    def pages(book: Book) -> Iterator[Page]: ...

    @scan.stage(each=Page)
    def by_model(page: Page) -> Words: ...

    @scan.stage(each="pages")
    def by_name(page: Page) -> Label: ...

    @scan.stage(each=pages)
    def by_handle(page: Page) -> Report: ...

    assert {spec.each for spec in scan.graph.stages.values()} == {None, "pages"}
    assert [spec.axis for spec in scan.graph.stages.values()] == [(), ("pages",), ("pages",), ("pages",)]


def test_a_list_is_always_all_items() -> None:
    scan = scanned()

    @scan.stage
    def whole(labels: list[Label], words: list[Words], pages: list[Page]) -> Report: ...

    @scan.stage(each=Page)
    def of_one_page(labels: list[Label]) -> Report: ...

    for stage, parameter, maker in (
        ("whole", "labels", "label"),
        ("whole", "words", "words"),
        ("whole", "pages", "pages"),
        ("of-one-page", "labels", "label"),
    ):
        assert bound(scan.graph, stage, parameter) == (ReadKind.LIST, (maker,))


def test_children_are_what_stands_below_this_item() -> None:
    scan = scanned()

    @scan.stage(each=Page)
    def report(lines: Children[Line], labels: Children[Label]) -> Report: ...

    assert bound(scan.graph, "report", "lines") == (ReadKind.CHILDREN, ("lines",))
    assert bound(scan.graph, "report", "labels") == (ReadKind.CHILDREN, ("label",))


def test_rows_are_all_items_read_as_they_are_asked_for() -> None:
    scan = scanned()

    @scan.stage
    async def report(labels: Rows[Label]) -> Report: ...

    assert bound(scan.graph, "report", "labels") == (ReadKind.ROWS, ("label",))
    assert scan.graph.stages["report"].is_async


def test_one_item_of_a_mapped_stage_is_picked_by_its_key() -> None:
    scan = scanned()

    @scan.stage
    def report(first: Annotated[Words, Item("1")]) -> Report: ...

    found = read(scan.graph, "report", "first")
    assert (found.kind, found.stages, found.item) == (ReadKind.PICK, ("words",), "1")


def test_a_dict_of_one_mapped_stage_is_keyed_by_item() -> None:
    scan = scanned()

    @scan.stage
    def report(words: dict[str, Words]) -> Report: ...

    assert bound(scan.graph, "report", "words") == (ReadKind.BY_ITEM, ("words",))


def research() -> Pipeline:
    line = Pipeline("research", input=Book)
    looking = line.phase("looking")

    @looking.stage
    def signals(book: Book) -> Words: ...

    @looking.stage
    def entities(book: Book) -> Words: ...

    @line.stage
    def contacts(book: Book) -> Words: ...

    return line


def test_a_dict_of_stages_that_run_once_is_keyed_by_stage_and_takes_all_of_them() -> None:
    line = research()

    @line.stage
    def report(found: dict[str, Words]) -> Report: ...

    assert bound(line.graph, "report", "found") == (ReadKind.BY_STAGE, ("signals", "entities", "contacts"))


def test_from_says_the_stages_and_their_order() -> None:
    line = research()

    @line.stage
    def report(found: Annotated[list[Words], From("contacts", "signals")]) -> Report: ...

    assert bound(line.graph, "report", "found") == (ReadKind.LIST, ("contacts", "signals"))


def test_from_a_phase_is_all_of_its_stages_that_return_the_type() -> None:
    line = research()

    @line.phase("looking").stage
    def other(book: Book) -> Label: ...

    @line.stage
    def report(found: Annotated[dict[str, Words], From(phase="looking")]) -> Report: ...

    assert bound(line.graph, "report", "found") == (ReadKind.BY_STAGE, ("signals", "entities"))


def test_reads_says_the_stage_by_name_or_handle_and_wins_over_the_annotation() -> None:
    line = research()

    @line.stage
    def again(book: Book) -> Words: ...

    def report(found: Annotated[Words, From("signals")]) -> Report: ...

    line.add(report, name="annotated")
    line.add(report, name="by-name", reads={"found": "entities"})
    line.add(report, name="by-handle", reads={"found": again})
    stages = [bound(line.graph, name, "found")[1] for name in ("annotated", "by-name", "by-handle")]
    assert stages == [("signals",), ("entities",), ("again",)]


def test_reads_may_name_several_stages_for_a_collection() -> None:
    line = research()

    @line.stage(reads={"found": ["signals", "contacts"]})
    def report(found: list[Words]) -> Report: ...

    assert bound(line.graph, "report", "found") == (ReadKind.LIST, ("signals", "contacts"))


class Narrated(BaseModel):
    text: str = ""


class Signals(Narrated):
    count: int = 0


class Entities(Narrated):
    names: list[str] = []


def test_where_stages_are_said_they_may_return_classes_made_from_the_parameters() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def signals(book: Book) -> Signals: ...

    @line.stage
    def entities(book: Book) -> Entities: ...

    @line.stage(reads={"one": signals})
    def report(
        one: Narrated,
        all_: Annotated[dict[str, Narrated], From("signals", "entities")],
        anything: Annotated[list[BaseModel], From("signals", "entities")],
    ) -> Report: ...

    assert bound(line.graph, "report", "one") == (ReadKind.OUTPUT, ("signals",))
    assert read(line.graph, "report", "one").type is Signals
    assert bound(line.graph, "report", "all_") == (ReadKind.BY_STAGE, ("signals", "entities"))
    assert bound(line.graph, "report", "anything") == (ReadKind.LIST, ("signals", "entities"))


def test_or_none_reads_a_stage_that_may_have_been_skipped() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def summary(book: Book) -> Words | Skip: ...

    @line.stage
    def report(summary: Words | None) -> Report: ...

    assert line.graph.stages["summary"].skips
    assert read(line.graph, "report", "summary").optional


def test_the_door_and_the_model_are_taken_by_type() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    async def report(out: Door, ask: Llm) -> Report: ...

    assert [one.kind for one in line.graph.stages["report"].reads] == [ReadKind.DOOR, ReadKind.LLM]


def test_a_parameter_that_no_stage_could_give_keeps_its_default() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def report(book: Book, limit: int = 5) -> Report: ...

    assert [one.parameter for one in line.graph.stages["report"].reads] == ["book"]


def test_an_iterator_a_list_and_an_async_iterator_yield_items() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def pages(book: Book) -> list[Page] | Skip: ...

    @line.stage
    async def lines(book: Book) -> AsyncIterator[Line]:
        yield Line(place="1")

    graph = line.graph
    assert [(spec.streams, spec.key_field, spec.skips) for spec in graph.stages.values()] == [
        (True, "number", True),
        (True, "place", False),
    ]
    assert graph.stages["lines"].is_async
    assert graph.stages["pages"].item_axis == ("pages",)


def test_annotations_written_as_text_are_read_with_the_names_of_the_function_around_them() -> None:
    class Local(BaseModel):
        text: str = ""

    line = Pipeline("line", input=Book)

    def count(book: "Book") -> "Local": ...

    line.add(count)
    assert line.graph.stages["count"].output is Local


def test_a_graph_is_kept_until_another_stage_or_check_is_added() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def count(book: Book) -> Words: ...

    before = line.graph
    assert line.check() is before

    @count.check
    def is_counted(words: Words) -> None: ...

    after = line.graph
    assert after is not before
    assert [check.name for check in after.stages["count"].checks] == ["is_counted"]

    @line.stage
    def report(words: Words) -> Report: ...

    assert list(line.graph.stages) == ["count", "report"]


def test_threads_that_ask_at_once_get_one_graph() -> None:
    scan = scanned()
    with ThreadPoolExecutor(8) as pool:
        graphs = list(pool.map(lambda _: scan.check(), range(8)))
    assert all(graph is graphs[0] for graph in graphs)


def test_the_same_declaration_gives_the_same_document_wherever_it_stands() -> None:
    def declared(**options: Any) -> Graph:
        line = Pipeline("line", input=Book, doc="Counts.")

        def count(book: Book) -> Words: ...

        line.add(count, **options)
        return line.graph

    assert declared().definition == declared().definition
    assert declared().definition_hash == declared().definition_hash
    assert declared(attempts=2).definition_hash != declared().definition_hash
