"""Pipelines are found in files, modules and packages, and what cannot be loaded is one clear sentence."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stagebook import DefinitionError, Pipeline, StagebookError
from stagebook.definition.loading import find, installed, load
from stagebook.model.errors import InputError, NotFound

MODELS = """
from pydantic import BaseModel


class Book(BaseModel):
    title: str = "{title}"


class Label(BaseModel):
    name: str
"""

PIPELINE = """
\"\"\"Labels {name}.\"\"\"

from stagebook import Pipeline
from models import Book, Label
import models as all_of_them

{variable} = Pipeline("{name}", input=Book)


@{variable}.stage
def label(book: Book) -> Label:
    import models

    return models.Label(name=all_of_them.Book().title)
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write files below a folder of the test's own, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)

    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    yield written
    assert sys.path == before


def in_file(write: Write, folder: str = "a", name: str = "scan", variable: str = "scan") -> Path:
    write(f"{folder}/models.py", MODELS.format(title=folder))
    return write(f"{folder}/pipe.py", PIPELINE.format(name=name, variable=variable))


def test_a_pipeline_is_found_in_a_file_by_variable_and_by_name(write: Write) -> None:
    path = in_file(write, name="label-it")
    for source in ("a/pipe.py", "a/pipe.py:scan", "a/pipe.py:label-it", str(path)):
        found = find(source)
        assert (found.pipeline.name, found.source) == ("label-it", f"{path}:scan")
        assert find(found.source).pipeline is found.pipeline
    assert load("a/pipe.py").doc == "Labels label-it."


def test_files_of_one_name_in_two_folders_stay_two_and_each_finds_its_own_neighbours(write: Write) -> None:
    in_file(write, "a")
    in_file(write, "b")
    first, second = load("a/pipe.py"), load("b/pipe.py")
    assert first is not second
    assert [one.input().model_dump() for one in (first, second)] == [{"title": "a"}, {"title": "b"}]
    labels = [one.graph.stages["label"].function(one.input()) for one in (first, second)]
    assert [label.name for label in labels] == ["a", "b"]
    assert isinstance(labels[0], first.graph.stages["label"].output)
    assert "models" not in sys.modules


def test_a_file_in_a_package_is_imported_as_a_part_of_it(write: Write) -> None:
    write("own_package/__init__.py", "")
    write("own_package/inner/__init__.py", "")
    write("own_package/inner/models.py", MODELS.format(title="inner"))
    text = PIPELINE.format(name="scan", variable="scan").replace("import models\n", "from . import models\n")
    text = text.replace("import models as all", "from own_package.inner import models as all")
    write("own_package/inner/pipe.py", text.replace("from models", "from .models"))
    pipeline = load("own_package/inner/pipe.py")
    assert pipeline.graph.stages["label"].function(pipeline.input()).name == "inner"


def test_a_file_of_an_installed_package_is_the_installed_module() -> None:
    from stagebook_pipelines.episode_content import pipeline as module

    assert load(module.__file__) is module.pipeline


def test_a_file_name_that_is_no_python_name_can_be_loaded(write: Write) -> None:
    path = in_file(write)
    odd = write("a/my-pipe.v2.py", path.read_text(encoding="utf-8"))
    assert find(str(odd)).source == f"{odd}:scan"


def test_a_dotted_module_is_found_below_the_working_directory(write: Write) -> None:
    path = in_file(write, "some/where")
    assert find("some.where.pipe:scan").source == f"{path}:scan"


def test_an_importable_module_is_named_as_it_was(write: Write) -> None:
    write("later/pipe.py", "")
    source = "stagebook_pipelines.episode_content.pipeline:pipeline"
    found = find(source)
    assert (found.source, found.pipeline.name) == (source, "episode-content")


def test_an_installed_pipeline_is_found_by_name() -> None:
    assert "episode-content" in installed()
    assert find("episode-content").source == "episode-content"


def test_listing_the_installed_pipelines_imports_none_of_them() -> None:
    code = (
        "import sys; from stagebook.definition.loading import installed; installed();"
        "print('stagebook_pipelines' in sys.modules, 'jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def told(source: str, kind: type[StagebookError]) -> str:
    with pytest.raises(kind) as error:
        find(source)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_not_there_is_told_with_what_is_near(write: Write) -> None:
    in_file(write)
    assert told("a/pip.py", NotFound) == "there is no file a/pip.py; did you mean 'pipe.py'?"
    assert told("nowhere/pipe.py", NotFound) == (
        "there is no file nowhere/pipe.py, nor a folder nowhere: put it there, or name another"
    )
    Path("empty").mkdir()
    assert told("empty/pipe.py", NotFound) == (
        "there is no file empty/pipe.py; empty holds no Python file: put it there, or name another"
    )
    assert told("a/pipe.py:scna", NotFound) == "a/pipe.py has no pipeline 'scna'; did you mean 'scan'?"
    assert told("episode-contents", NotFound) == (
        "no pipeline 'episode-contents' is installed: did you mean 'episode-content'?"
    )
    assert told("no.such:thing", NotFound).startswith("there is no module 'no.such': neither installed nor below")
    assert told("./a/", InputError) == "a is a folder; name a file in it, such as a/pipeline.py"
    write("scan.py", "")
    assert told("scan", NotFound).endswith("; there is a file scan.py: write scan.py")


def test_a_file_without_a_pipeline_and_one_with_several_are_told(write: Write) -> None:
    write("none.py", "x = 1\n")
    assert told("none.py", NotFound) == (
        "none.py declares no pipeline; write one as `name = Pipeline('name', input=Model)`"
    )
    path = in_file(write)
    text = path.read_text(encoding="utf-8")
    write("a/two.py", text + "\nother = Pipeline('other', input=Book)\nagain = scan\n")
    assert told("a/two.py", InputError) == (
        "a/two.py has several pipelines; say which: a/two.py:scan or a/two.py:other"
    )
    assert find("a/two.py:again").source.endswith("a/two.py:again")


def test_a_file_that_imports_anothers_pipeline_means_its_own(write: Write) -> None:
    in_file(write)
    write("a/mine.py", "from pipe import scan\n" + PIPELINE.format(name="mine", variable="mine"))
    assert load("a/mine.py").name == "mine"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def f():\n    raise ValueError('no\\nway')\n\nf()\n", "bad.py:2: ValueError: no way"),
        ("def f(:\n", "bad.py:1: invalid syntax; correct the file"),
        ("import sys\nsys.exit(3)\n", "bad.py:2: SystemExit: 3"),
        ("import helper\n", "helper.py:1: ZeroDivisionError: division by zero"),
        ("assert False\n", "bad.py:1: AssertionError: no further text"),
    ],
)
def test_a_file_that_raises_is_one_sentence_with_file_and_line(write: Write, text: str, sentence: str) -> None:
    write("helper.py", "1 / 0\n")
    write("bad.py", text)
    assert told("bad.py", InputError) == sentence
    assert told("bad.py", InputError) == sentence


def test_a_missing_library_is_told_with_where_to_install_it(write: Write) -> None:
    write("bad.py", "import no_such_library\n")
    sentence = told("bad.py", InputError)
    assert sentence.startswith("bad.py:1: ModuleNotFoundError: No module named 'no_such_library'; install it beside")


def test_a_pipeline_that_is_declared_wrongly_is_told_when_it_is_loaded(write: Write) -> None:
    path = in_file(write)
    write("a/pipe.py", path.read_text(encoding="utf-8").replace("def label(book: Book)", "def label(book)"))
    with pytest.raises(DefinitionError, match=r"^a/pipe\.py:11: in stage 'label': parameter 'book' has no annotation"):
        load("a/pipe.py")


def test_loading_twice_gives_the_same_pipeline(write: Write) -> None:
    in_file(write)
    assert load("a/pipe.py") is load("a/pipe.py:scan")
    assert isinstance(load("a/pipe.py"), Pipeline)


SPREAD = {
    "pipe.py": """
from models import Book, Label, Post
from stagebook import Pipeline

scan = Pipeline("scan", input=Book)

import labelling  # noqa: E402
import writing  # noqa: E402
""",
    "models.py": MODELS.format(title="a") + "\n\nclass Post(BaseModel):\n    text: str\n",
    "labelling.py": """
from models import Book, Label
from pipe import scan


@scan.stage
def label(book: Book) -> Label: ...
""",
    "writing.py": """
from models import Label, Post
from pipe import scan


@scan.stage
def post(label: Label) -> Post: ...
""",
}


def test_a_pipeline_may_be_spread_over_several_files(write: Write) -> None:
    for name, text in SPREAD.items():
        write(name, text)
    assert list(load("pipe.py").graph.stages) == ["label", "post"]


@pytest.mark.parametrize(
    "statement",
    ["import labelling", "from labelling import label", "def f():\n    import labelling", "from . import labelling"],
)
def test_a_module_with_stages_that_imports_another_one_is_told(write: Write, statement: str) -> None:
    for name, text in SPREAD.items():
        write(name, text)
    write("writing.py", SPREAD["writing.py"] + f"\n\n{statement}\n")
    line = 9 + statement.count("\n")
    with pytest.raises(DefinitionError) as error:
        load("pipe.py")
    assert str(error.value) == (
        f"writing.py:{line + 1}: in stage 'post': its module imports 'labelling', which declares 'label', and "
        "stages talk only through what they read and write. Mend: read that stage by a parameter (or name it as text), "
        "and keep shared models in models.py"
    )
