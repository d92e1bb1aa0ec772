"""What a user types, and what it becomes."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, computed_field

import stagebook
from stagebook import Complaint, DefinitionError, Key, Pipeline, Skip, StageHandle, Text
from stagebook.definition.policy import Policy
from stagebook.model.prompt import Sampling


class Book(BaseModel):
    title: str = ""


class Page(BaseModel):
    number: Annotated[int, Key]


class Label(BaseModel):
    name: str
    is_boundary: bool = False


class Post(BaseModel):
    text: Text

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def words(self) -> int:
        return len(self.text.split())


def test_importing_stagebook_imports_nothing_heavy() -> None:
    code = "import stagebook, sys; print(sorted({'pydantic', 'jinja2', 'typing_extensions'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_can_be_imported_and_an_unknown_one_is_told() -> None:
    for name in stagebook.__all__:
        assert getattr(stagebook, name) is not None
    assert set(stagebook.__all__) <= set(dir(stagebook))
    with pytest.raises(AttributeError, match="module 'stagebook' has no attribute 'Pipelin'"):
        stagebook.Pipelin  # type: ignore[attr-defined]  # noqa: B018  the fact under test


def test_a_declared_function_can_still_be_called() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def label(book: Book) -> Label:
        """Label it."""
        return Label(name=book.title.upper())

    assert label(Book(title="a")) == Label(name="A")
    assert (label.__name__, label.__doc__, label.name) == ("label", "Label it.", "label")
    assert "test_declaration.py:" in repr(label)


def test_a_stage_is_named_after_its_function_with_hyphens() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def label_first_page(book: Book) -> Label: ...

    @line.stage(name="other-name")
    def named(book: Book) -> Post: ...

    assert list(line.graph.stages) == ["label-first-page", "other-name"]


@pytest.mark.parametrize(
    ("given", "right"), [("label_pages", "label-pages"), ("Label-Pages", "label-pages"), ("label pages", "label-pages")]
)
def test_a_name_that_is_spelled_wrong_is_refused_with_the_right_spelling(given: str, right: str) -> None:
    line = Pipeline("line", input=Book)

    def label(book: Book) -> Label: ...

    for declare in (
        lambda: line.add(label, name=given),
        lambda: line.phase(given),
        lambda: Pipeline(given, input=Book),
    ):
        with pytest.raises(DefinitionError, match=rf"test_declaration\.py:\d+: .*Mend: call it '{right}'"):
            declare()


def test_a_name_without_letters_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Mend: give it a name, such as 'label-pages'"):
        Pipeline("--", input=Book)


def test_two_stages_of_one_name_are_refused_with_both_places() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def label(book: Book) -> Label: ...

    with pytest.raises(DefinitionError, match=r"another stage of that name is declared at .*test_declaration\.py:\d+"):
        line.add(label)


def test_phases_are_headings_and_asked_again_the_same() -> None:
    line = Pipeline("line", input=Book)
    first = line.phase("first")

    @first.stage
    def label(book: Book) -> Label: ...

    assert line.phase("first") is first
    assert line.graph.phases == ("first",)
    assert line.graph.stages["label"].phase == "first"


def test_the_docstring_of_the_module_is_the_pipelines_doc() -> None:
    assert Pipeline("line", input=Book).doc == "What a user types, and what it becomes."
    assert Pipeline("line", input=Book, doc=" Labels. ").doc == "Labels."


def test_options_of_a_stage_reach_the_graph() -> None:
    line = Pipeline("line", input=Book, model="openai:small")

    @line.stage(label="1_LABEL", number=1, on_error="collect", attempts=3, timeout=5, concurrency=2)
    def label(book: Book) -> Label:
        """Label it.

        And more.
        """

    spec = line.graph.stages["label"]
    assert (spec.label, spec.number, spec.doc) == ("1_LABEL", 1, "Label it.")
    assert spec.policy == Policy(on_error="collect", attempts=3, timeout=5, concurrency=2)
    assert spec.model == "openai:small"


def test_options_of_a_prompt_reach_the_graph() -> None:
    line = Pipeline("line", input=Book, model="openai:small")

    @line.prompt(
        returns=Label,
        text="{{ book.title }}",
        model="local:smollm2",
        max_tokens=9,
        temperature=0,
        top_p=0.5,
        seed=0,
        reasoning_effort="low",
        tries=5,
    )
    def label(book: Book) -> None: ...

    @line.prompt(returns=Post, text="{{ label.name }}")
    def post(label: Label) -> None: ...

    prompt = line.graph.stages["label"].prompt
    assert prompt is not None
    assert prompt.model == "local:smollm2"
    assert prompt.sampling == Sampling(9, 0, 0.5, 0, "low")
    assert (prompt.tries, prompt.bare) == (5, True)
    by_default = line.graph.stages["post"].prompt
    assert by_default is not None
    assert (by_default.model, by_default.tries) == ("openai:small", 3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attempts": 0}, "attempts=0 is too small. Mend: give more than 0"),
        ({"timeout": -1}, "timeout=-1 is too small"),
        ({"concurrency": 0}, "concurrency=0 is too small"),
        ({"on_error": "ignore"}, "on_error='ignore' is unknown. Mend: say 'stop' or 'collect'"),
        ({"returns": Label, "tries": 0}, "tries=0 is too small"),
        ({"returns": Label, "temperature": 2.5}, "temperature=2.5 is out of range. Mend: give 0 to 2"),
        ({"returns": Label, "top_p": 1.5}, "top_p=1.5 is out of range. Mend: give 0 to 1"),
        ({"returns": Label, "text": "a", "template": "b"}, "it has both template= and text=. Mend: keep one of them"),
        ({"text": "a"}, "text= is for a prompt, and this stage computes. Mend: say returns= too, or leave it away"),
        ({"returns": Label, "text": "a", "version": "2"}, "version= is for a stage that computes"),
        ({"max_tokens": 5}, "max_tokens= is for a prompt, and this stage computes."),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_where_it_is_given(options: dict[str, Any], text: str) -> None:
    line = Pipeline("line", input=Book)

    def label(book: Book) -> Label: ...

    with pytest.raises(DefinitionError) as error:
        line.add(label, **options)
    assert f"in stage 'label': {text}" in str(error.value)


def test_something_that_is_no_function_is_refused() -> None:
    line = Pipeline("line", input=Book)
    with pytest.raises(DefinitionError, match=r"is no function\. Mend: declare a function written with def"):
        line.add(3)  # type: ignore[arg-type]  # the fact under test
    with pytest.raises(DefinitionError, match="a lambda has no annotations to read"):
        line.add(lambda book: book)


def test_one_function_may_be_registered_many_times() -> None:
    line = Pipeline("line", input=Book, model="openai:small")

    def write(book: Book) -> None: ...

    handles = [
        line.add(
            write, name=f"write-{topic}", label="WRITE", returns=Post, text=f"Write about {topic}: {{{{ book.title }}}}"
        )
        for topic in ("sea", "land")
    ]
    assert [handle.name for handle in handles] == ["write-sea", "write-land"]
    prompts = [spec.prompt for spec in line.graph.stages.values()]
    assert [prompt.template.text for prompt in prompts if prompt] == [
        "Write about sea: {{ book.title }}",
        "Write about land: {{ book.title }}",
    ]


def test_from_a_handle_options_and_checks_are_taken_over() -> None:
    line = Pipeline("line", input=Book, model="openai:small")

    @line.prompt(returns=Label, text="{{ book.title }}", temperature=0, attempts=2, label="LABEL")
    def label(book: Book) -> None: ...

    again = line.add(label, name="again", text="Again: {{ book.title }}", attempts=3)

    @label.check
    def has_a_name(given: Label) -> None: ...

    @again.check
    def is_short(given: Label) -> None: ...

    spec = line.graph.stages["again"]
    assert spec.prompt is not None
    assert (spec.label, spec.policy.attempts, spec.prompt.sampling.temperature) == ("LABEL", 3, 0)
    assert spec.prompt.template.text == "Again: {{ book.title }}"
    assert [check.name for check in spec.checks] == ["has_a_name", "is_short"]
    assert [check.name for check in line.graph.stages["label"].checks] == ["has_a_name"]


def test_a_check_takes_the_answer_and_what_the_stage_reads() -> None:
    line = Pipeline("line", input=Book, model="openai:small")

    @line.prompt(returns=Label, text="{{ book.title }} {{ post.text }}")
    def label(book: Book, post: Post) -> None: ...

    @line.prompt(returns=Post, text="{{ book.title }}")
    def post(book: Book) -> None: ...

    @label.check
    def is_named_after_the_book(label: Label, book: Book) -> str | None:
        if label.name != book.title:
            raise Complaint("use the title")
        return None

    (check,) = line.graph.stages["label"].checks
    assert (check.name, check.parameter, check.reads) == ("is_named_after_the_book", "label", ("book",))
    with pytest.raises(Complaint, match="use the title"):
        is_named_after_the_book(Label(name="a"), Book(title="b"))


def test_a_check_of_a_stage_that_reads_what_it_writes_takes_the_new_one() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def draft(book: Book) -> Post: ...

    @line.stage
    def refined(draft: Post) -> Post: ...

    @refined.check
    def is_longer(now: Post, draft: Post) -> None: ...

    (check,) = line.graph.stages["refined"].checks
    assert (check.parameter, check.reads) == ("now", ("draft",))


def declare_check(function: Callable[..., None]) -> str:
    line = Pipeline("line", input=Book)

    def label(book: Book) -> Label: ...

    handle: StageHandle[Any, Any] = line.add(label)
    handle.check(function)
    with pytest.raises(DefinitionError) as error:
        line.check()
    return str(error.value).partition("in stage 'label': ")[2]


def test_a_check_without_the_right_parameter_is_told() -> None:
    def is_good(post: Post) -> None: ...

    def compares(a: Label, b: Label) -> None: ...

    def looks_further(label: Label, post: Post) -> None: ...

    assert declare_check(is_good) == (
        "the check 'is_good' has no parameter of type Label. Mend: let one parameter take the answer: label: Label"
    )
    assert declare_check(compares).startswith("the check 'compares' has several parameters of type Label.")
    assert declare_check(looks_further) == (
        "the check 'looks_further' reads 'post', which the stage does not read. "
        "Mend: add the parameter to the stage, or name one of its own: there is book"
    )


def test_a_check_of_a_stage_that_yields_items_is_told() -> None:
    line = Pipeline("line", input=Book)

    @line.stage
    def pages(book: Book) -> Iterator[Page]: ...

    @pages.check
    def is_good(page: Page) -> None: ...

    with pytest.raises(DefinitionError, match="a check looks at one answer, and this stage yields items"):
        line.check()


def test_a_body_says_more_for_its_template_or_skips() -> None:
    line = Pipeline("line", input=Book, model="openai:small")

    @line.prompt(returns=Label, text="{{ shout }}")
    def label(book: Book) -> dict[str, object] | Skip:
        if not book.title:
            return Skip("it has no title")
        return {"shout": book.title.upper()}

    @line.prompt(returns=Post, text="{{ book.title }}")
    def post(book: Book) -> Skip | None:
        return None if book.title else Skip("it has no title")

    @line.prompt(name="later", returns=Post, text="{{ calm }}")
    async def later(book: Book) -> Mapping[str, object]:
        return {"calm": book.title.lower()}

    specs = line.graph.stages
    assert [spec.prompt.bare for spec in specs.values() if spec.prompt] == [False, False, False]
    assert [spec.skips for spec in specs.values()] == [True, True, False]
    assert label(Book(title="a")) == {"shout": "A"}
    assert label(Book()) == Skip("it has no title")


def declare(function: Callable[..., Any], **options: Any) -> str:
    """Declare one stage and give what is told of it."""
    line = Pipeline("line", input=Book, model=options.pop("default_model", None))
    line.add(function, name="it", **options)
    with pytest.raises(DefinitionError) as error:
        line.check()
    return str(error.value).partition("in stage 'it': ")[2]


def test_a_missing_annotation_is_told() -> None:
    def it(some_page) -> Label: ...  # type: ignore[no-untyped-def]  # noqa: ANN001  the fact under test

    assert declare(it) == (
        "parameter 'some_page' has no annotation, so it cannot be told what it reads. "
        "Mend: annotate it with the model that it reads, such as some_page: SomePage"
    )


def test_a_missing_return_annotation_is_told() -> None:
    def it(book: Book): ...  # type: ignore[no-untyped-def]  # noqa: ANN202  the fact under test

    assert declare(it).endswith("Mend: annotate it with the model that it returns")
    assert declare(it, returns=Label, text="{{ book }}").endswith("Mend: annotate it with -> None")


@pytest.mark.parametrize("hint", [None, Label | None, int, list[int], Label | Post, BaseModel, Iterator[str]])
def test_a_stage_returns_one_model_or_items_and_never_none(hint: Any) -> None:
    def it(book: Book) -> Any: ...

    it.__annotations__["return"] = hint
    assert "the function " in declare(it)


def test_a_stage_that_may_return_none_is_shown_skip() -> None:
    def it(book: Book) -> Label | None: ...

    assert declare(it) == (
        "the function may return None, and a stage always leaves something. "
        "Mend: return a model, or Skip('why') and annotate `Model | Skip`"
    )


def test_a_prompt_that_is_annotated_with_its_answer_is_told() -> None:
    def it(book: Book) -> Label: ...

    assert declare(it, returns=Label, text="{{ book }}") == (
        "the function of a prompt returns Label, but what the model answers is said by returns=. "
        "Mend: annotate it with -> None, or -> dict[str, object] where it gives its template more"
    )


def test_a_body_that_would_not_be_called_is_told() -> None:
    def it(book: Book) -> None:
        book.title = "changed"

    assert declare(it, returns=Label, text="{{ book }}", default_model="a:b").startswith(
        "the function has a body and is annotated with -> None, so it would not be called."
    )


def test_a_name_that_is_not_there_at_run_time_is_told() -> None:
    def it(book: "Bok") -> Label: ...  # type: ignore[name-defined]  # noqa: F821  the fact under test

    assert declare(it) == (
        "the annotation names 'Bok', which is not there when the pipeline is loaded. "
        "Mend: import it where it is used, outside of `if TYPE_CHECKING:`"
    )


def test_star_arguments_cannot_be_bound() -> None:
    def it(*books: Book) -> Label: ...

    assert declare(it).startswith("parameter '*books: ")


def test_a_prompt_needs_a_model_with_its_provider() -> None:
    def it(book: Book) -> None: ...

    assert declare(it, returns=Label, text="{{ book }}") == (
        "no model is named. Mend: say model='provider:name' here or for the whole Pipeline"
    )
    assert declare(it, returns=Label, text="{{ book }}", model="gpt-4.1") == (
        "model='gpt-4.1' names no provider. Mend: write it as 'provider:name', such as 'openai:gpt-4.1'"
    )


def test_a_pipeline_without_stages_and_an_input_that_is_no_model_are_told() -> None:
    with pytest.raises(DefinitionError, match="pipeline 'line' has no stages"):
        Pipeline("line", input=Book).check()
    line = Pipeline("line", input=dict)  # type: ignore[arg-type]  # the fact under test

    @line.stage
    def label(book: Book) -> Label: ...

    with pytest.raises(DefinitionError, match=r"is no pydantic model\. Mend: give a class made from BaseModel"):
        line.check()


def test_returns_that_is_no_model_is_told() -> None:
    def it(book: Book) -> None: ...

    assert declare(it, returns=dict, text="{{ book }}").startswith("returns=<class 'dict'> is no pydantic model.")


def test_the_first_thing_that_does_not_fit_is_always_the_same() -> None:
    def told() -> str:
        line = Pipeline("line", input=Book)

        @line.stage
        def second(post: Post) -> Label: ...

        @line.stage
        def third(unknown: Page) -> Post: ...

        with pytest.raises(DefinitionError) as error:
            line.check()
        return str(error.value).partition("in stage")[2]

    assert {told() for _ in range(5)} == {told()}
    assert "'third': nobody makes Page" in told()


def test_fields_with_constraints_and_unions_of_texts_may_be_keys() -> None:
    class Side(BaseModel):
        role: Annotated[str, Key] = Field(pattern="vendor|prospect")

    line = Pipeline("line", input=Book)

    @line.stage
    def sides(book: Book) -> list[Side]: ...

    assert line.graph.stages["sides"].key_field == "role"
