"""What of a function's text counts as a change, and what does not."""

import linecache
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from stagebook import Skip
from stagebook.definition.function_code import Sources, is_empty, names_used, returned_keys

ORIGINAL = '''
def count(page: int, *, by: str = "word") -> int:
    """Count words."""
    return len(page.split())
'''


def function_of(text: str, folder: Path, name: str = "module") -> Any:
    """Load the last function of a text as if it stood in a file."""
    path = folder / f"{name}.py"
    path.write_text(dedent(text), encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)  # noqa: S102  a file of the test's own
    return [value for value in namespace.values() if callable(value)][-1]


def hash_of(text: str, folder: Path) -> bytes:
    return Sources().code_hash(function_of(text, folder))


@pytest.mark.parametrize(
    "text",
    [
        '''
def count(page: int, *, by: str = "word") -> int:
    """Say it otherwise."""
    # a comment
    return len(
        page.split(),
    )
''',
        """
def count(page: "Page", *, by="word"):
    return len(page.split())
""",
        """
def keep(function):
    return function

@keep
def count(page: int, *, by: str = 'word') -> int:
    return len(page.split())
""",
        """
def count_words(page, *, by="word"):
    ...
    return len(page.split())
""",
    ],
    ids=["formatting and docstring", "annotations", "decorators", "its name"],
)
def test_how_a_function_is_written_does_not_count(text: str, tmp_path: Path) -> None:
    assert hash_of(text, tmp_path) == hash_of(ORIGINAL, tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("page.split()", "page.split(' ')"),
        ('by: str = "word"', 'by: str = "line"'),
        ("def count(page: int, *,", "def count(page: int,"),
        ("return len", "return 1 + len"),
        ("page.split()", "page.split(1)"),
        ("def count", "async def count"),
    ],
)
def test_what_a_function_does_counts(before: str, after: str, tmp_path: Path) -> None:
    assert hash_of(ORIGINAL.replace(before, after), tmp_path) != hash_of(ORIGINAL, tmp_path)


def test_text_and_number_of_the_same_look_differ(tmp_path: Path) -> None:
    assert hash_of("def one(): return '1'", tmp_path) != hash_of("def one(): return 1", tmp_path)


def test_a_version_stands_for_the_code(tmp_path: Path) -> None:
    first, second = function_of(ORIGINAL, tmp_path), function_of("def other(): return 2", tmp_path)
    sources = Sources()
    assert sources.code_hash(first, "1") == sources.code_hash(second, "1")
    assert sources.code_hash(first, "1") != sources.code_hash(first, "2")


def test_two_functions_of_one_name_in_a_file_are_told_apart(tmp_path: Path) -> None:
    first = function_of("def count(): return 1", tmp_path, "one")
    both = function_of("def count(): return 1\n\ndef count(): return 2", tmp_path, "two")
    assert Sources().code_hash(first) != Sources().code_hash(both)


def test_without_source_the_code_itself_is_hashed() -> None:
    def made(text: str) -> Any:
        namespace: dict[str, Any] = {}
        exec(compile(text, "<typed>", "exec"), namespace)  # noqa: S102  as a line typed into an interpreter
        return namespace["count"]

    sources = Sources()
    one = sources.code_hash(made("def count(page):\n    return [word for word in page.split()]"))
    assert sources.code_hash(made("\n\ndef count(page):\n    return [word for word in page.split()]")) == one
    assert sources.code_hash(made("def count(page):\n    return [word for word in page.split(',')]")) != one


def test_a_notebooks_cell_is_read_where_ipython_keeps_it() -> None:
    text = 'def count(page):\n    """Counts."""\n    return 1\n'
    namespace: dict[str, Any] = {}
    exec(compile(text, "<ipython-input-1-abc>", "exec"), namespace)  # noqa: S102  as a cell is run
    linecache.cache["<ipython-input-1-abc>"] = (
        len(text),
        None,
        text.splitlines(keepends=True),
        "<ipython-input-1-abc>",
    )
    try:
        assert Sources().function(namespace["count"]) is not None
    finally:
        del linecache.cache["<ipython-input-1-abc>"]


def node(text: str, folder: Path) -> Any:
    return Sources().function(function_of(text, folder))


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        ("return {'a': 1, 'b': 2}", {"a", "b"}),
        ("return None", set()),
        ("return Skip('no')", set()),
        ("return maybe(page) or {'a': 1}", {"a"}),
        ("return {'a': 1} if page else never()", {"a"}),
        ("return gives(page) or {'a': 1}", None),
        ("return untold(page) or {'a': 1}", None),
        ("if page:\n        return {'a': 1}\n    return {'b': 2}", {"a", "b"}),
        ("def inner(): return 3\n    return {'a': inner()}", {"a"}),
        ("made = {'a': 1}\n    return made", None),
        ("return {**page}", None),
        ("return dict(a=1)", None),
        ("return {page: 1}", None),
    ],
)
def test_keys_are_read_from_dict_literals_and_nothing_else(body: str, keys: set[str] | None, tmp_path: Path) -> None:
    def maybe(page: int) -> Skip | None: ...

    def never() -> None: ...

    def gives(page: int) -> dict[str, object] | None: ...

    names = {"Skip": Skip, "maybe": maybe, "never": never, "gives": gives, "untold": lambda page: page}
    assert returned_keys(node(f"def more(page):\n    {body}\n", tmp_path), names) == keys


@pytest.mark.parametrize("body", ["...", "pass", '"""Doc."""', "return", "return None"])
def test_a_body_that_does_nothing_is_empty(body: str, tmp_path: Path) -> None:
    assert is_empty(node(f"def more(page):\n    {body}\n", tmp_path))


def test_names_that_a_body_reads_are_collected(tmp_path: Path) -> None:
    found = node("def more(page, book):\n    page = page + 1\n    return {'a': lambda: book}\n", tmp_path)
    assert {"page", "book"} <= names_used(found)
    assert not is_empty(found)
