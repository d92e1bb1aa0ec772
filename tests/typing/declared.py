"""What users write, as a type checker reads it: read by mypy in `test_typing.py`, never run.

A line that is wrong on purpose carries the error that it must give; an error that is not given is one too.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, assert_type

from pydantic import BaseModel

from stagebook import Children, Complaint, Door, From, Item, Key, Llm, Phase, Pipeline, Rows, Skip, StageHandle, Text
from stagebook.definition.graph import Graph


class Book(BaseModel):
    title: str


class Page(BaseModel):
    number: Annotated[int, Key]


class Label(BaseModel):
    name: str


class Post(BaseModel):
    text: Text


scan = Pipeline("scan", input=Book)
phase = scan.phase("label")

assert_type(phase, Phase)
assert_type(scan.graph, Graph)
assert_type(Post(text="a").text, str)
assert_type(Page(number=1).number, int)


@scan.stage
def pages(book: Book) -> Iterator[Page]:
    yield Page(number=1)


pages_as_declared: StageHandle[[Book], Iterator[Page]] = pages
assert_type(pages(Book(title="a")), Iterator[Page])
assert_type(pages.name, str)


@scan.stage(each=Page, attempts=2, on_error="collect")
async def label(page: Page, book: Book, door: Door, llm: Llm) -> Label | Skip:
    answer = await llm.ask_for(Label, "What?")
    assert_type(answer, Label)
    response = await door.get("https://example.org")
    return Skip("nothing there") if response.status == 404 else answer


@phase.stage(each=pages)
async def lines(page: Page) -> AsyncIterator[Page]:
    yield page


@phase.stage(each="pages", reads={"first": label, "second": "label", "all_": [label, "other"], "more": From(phase="x")})
def report(
    first: Label,
    second: Annotated[Label, Item("1")],
    all_: list[Label],
    more: dict[str, Label],
    below: Children[Page],
    rows: Rows[Label],
) -> Post:
    assert_type(below, Sequence[Page])
    assert_type(below[0], Page)
    assert_type(len(rows), int)
    return Post(text=f"{first} {second} {all_} {more}")


async def read_all(rows: Rows[Label]) -> list[str]:
    assert_type([row async for row in rows], list[Label])
    return [row.name async for row in rows]


@phase.prompt(returns=Post, template="post", model="openai:gpt-4.1-mini", reasoning_effort="low")
def post(label: Label) -> None:
    """Write a post."""


@phase.prompt(returns=Label, each=Page)
def label_again(page: Page) -> dict[str, object] | Skip:
    return {"number": page.number} if page.number else Skip("no number")


assert_type(label_again(Page(number=1)), dict[str, object] | Skip)


@phase.prompt(returns=Label)
async def later(page: Page) -> Skip | None:
    return None


@post.check
def is_long(post: Post, label: Label) -> None:
    if len(post.text) < len(label.name):
        raise Complaint("write more")


assert_type(is_long(Post(text="a"), Label(name="a")), None)


@post.check
async def is_good(post: Post) -> list[str]:
    return [post.text]


def write(label: Label) -> None:
    """Write about a label."""


sea: StageHandle[[Label], None] = phase.add(write, name="sea", returns=Post, text="About the sea.")
assert_type(phase.add(label_again, name="third", reads={"page": "pages"}).name, str)


# What is wrong, and told:

Pipeline("scan")  # type: ignore[call-arg]  # the input is missing
Pipeline("scan", input=dict)  # type: ignore[arg-type]  # no model


@scan.stage  # type: ignore[type-var]  # a stage always leaves something
def returns_nothing(book: Book) -> None:
    return None


@scan.stage(each=Page)  # type: ignore[type-var]  # an output is a model
def returns_text(page: Page) -> int:
    return page.number


@scan.stage(on_error="ignore")  # type: ignore[call-overload, untyped-decorator]  # stop or collect
def wrong_option(book: Book) -> Label:
    return Label(name=book.title)


@scan.prompt(returns=Post)  # type: ignore[type-var]  # returns= says it, the function gives more to the template
def returns_its_answer(book: Book) -> Post:
    return Post(text=book.title)


@scan.prompt()  # type: ignore[call-arg]  # returns= is missing
def says_no_answer(book: Book) -> None: ...


@scan.prompt(returns=Post, temperature="warm")  # type: ignore[arg-type]  # a number
def wrong_temperature(book: Book) -> None: ...


@post.check  # type: ignore[type-var]  # a check raises, or gives warnings
def returns_a_bool(post: Post) -> bool:
    return bool(post.text)


pages()  # type: ignore[call-arg]  # a handle is called as the function itself
post(Page(number=1))  # type: ignore[arg-type]  # as above
