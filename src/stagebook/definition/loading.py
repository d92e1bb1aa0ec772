"""Finds pipelines: in a file, in a module, or among the installed ones."""

import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from stagebook.definition.pipeline import Pipeline
from stagebook.definition.place import nearest, shown
from stagebook.definition.user_files import import_file
from stagebook.model.errors import InputError, NotFound, StagebookError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "stagebook.pipelines"
"""Entry points under which packages offer pipelines."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pipeline and how to find it again."""

    pipeline: Pipeline
    source: str
    """For a run's record: an entry point's name, `package.module:name`, or `/absolute/file.py:name`."""


def load(source: str) -> Pipeline:
    """Find a pipeline and check it; see `find`."""
    return find(source).pipeline


def find(source: str) -> Found:
    """Find a pipeline and check it.

    Args:
        source: `file.py`, `file.py:name`, `package.module:name`, or the name of an installed pipeline. `name` is the
            variable that holds it, or the pipeline's own name; it can be left out where a file has only one.

    Raises:
        NotFound: Nothing is there; the text lists what is near.
        InputError: The file or module cannot be imported.
        DefinitionError: The pipeline is declared wrongly.
    """
    place, name = _split(source)
    if place.endswith(".py") or "/" in place or "\\" in place:
        found = _in_file(Path(place), name)
    elif name is not None:
        found = _in_module(place, name)
    else:
        found = _installed(place)
    found.pipeline.check()
    return found


def installed() -> "dict[str, EntryPoint]":
    """List the pipelines that installed packages offer, by name; nothing is imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415  20 ms that a pipeline from a file need not pay

    return {one.name: one for one in sorted(entry_points(group=GROUP), key=lambda one: one.name)}


def _split(source: str) -> tuple[str, str | None]:
    """Take `:name` off; the colon of a Windows drive is none."""
    place, colon, name = source.rpartition(":")
    if not colon or len(place) <= 1 or "/" in name or "\\" in name:
        return source, None
    return place, name or None


def _in_file(path: Path, name: str | None) -> Found:
    path = path.expanduser().absolute()
    if path.is_dir():
        raise InputError(f"{shown(path)} is a folder; name a file in it, such as {shown(path / 'pipeline.py')}")
    if not path.is_file():
        folder = path.parent
        if not folder.is_dir():
            raise NotFound(
                f"there is no file {shown(path)}, nor a folder {shown(folder)}: put it there, or name another"
            )
        files = [one.name for one in folder.glob("*.py")]
        where = "this folder" if folder == Path.cwd() else shown(folder)
        mend = nearest(path.name, files) if files else f"{where} holds no Python file: put it there, or name another"
        raise NotFound(f"there is no file {shown(path)}; {mend}")
    with _explained(shown(path), path.parent):
        module = import_file(path)
    variable, pipeline = _pick(module, name, shown(path))
    return Found(pipeline, f"{path}:{variable}")


def _in_module(module_name: str, name: str) -> Found:
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        below = Path(*module_name.split("."))
        for path in (below.with_suffix(".py"), below / "__init__.py"):
            if path.is_file():
                return _in_file(path, name)
        raise NotFound(
            f"there is no module {module_name!r}: neither installed nor below {Path.cwd()}; "
            f"give the file itself, such as {below.with_suffix('.py')}:{name}"
        )
    with _explained(module_name, Path(spec.origin).parent if spec.origin else Path.cwd()):
        module = importlib.import_module(module_name)
    variable, pipeline = _pick(module, name, module_name)
    return Found(pipeline, f"{module_name}:{variable}")


def _installed(name: str) -> Found:
    offered = installed()
    entry = offered.get(name)
    if entry is None:
        file = f"; there is a file {name}.py: write {name}.py" if Path(f"{name}.py").is_file() else ""
        raise NotFound(f"no pipeline {name!r} is installed: {nearest(name, offered)}{file}")
    with _explained(f"the installed pipeline {name!r} ({entry.value})", None):
        pipeline = entry.load()
    if not isinstance(pipeline, Pipeline):
        raise InputError(
            f"the installed pipeline {name!r} ({entry.value}) is a {type(pipeline).__name__}, not a Pipeline; "
            "correct the entry point of the package that offers it"
        )
    return Found(pipeline, name)


def _pick(module: ModuleType, name: str | None, place: str) -> tuple[str, Pipeline]:
    """Choose one of a module's pipelines."""
    there: dict[str, Pipeline] = {}
    for variable, value in vars(module).items():
        if isinstance(value, Pipeline) and not any(value is one for one in there.values()):
            there[variable] = value
    if name is not None:
        for variable, pipeline in there.items():
            if name in {variable, pipeline.name}:
                return variable, pipeline
        value = vars(module).get(name)
        if isinstance(value, Pipeline):
            return name, value
        raise NotFound(f"{place} has no pipeline {name!r}; {nearest(name, there)}")
    file = getattr(module, "__file__", None)
    own = {variable: one for variable, one in there.items() if one.place.file == file} or there
    if len(own) == 1:
        return next(iter(own.items()))
    if own:
        raise InputError(f"{place} has several pipelines; say which: " + " or ".join(f"{place}:{one}" for one in own))
    raise NotFound(f"{place} declares no pipeline; write one as `name = Pipeline('name', input=Model)`")


@contextmanager
def _explained(what: str, folder: Path | None) -> Iterator[None]:
    """Turn whatever an import raises into one sentence with file and line.

    Raises:
        InputError: The import raised.
    """
    try:
        yield
    except StagebookError:
        raise
    except SyntaxError as error:
        place = f"{shown(error.filename)}:{error.lineno}" if error.filename else what
        raise InputError(f"{place}: {error.msg}; correct the file") from error
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split()) or "no further text"
        mend = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            mend = f"; install it beside stagebook ({sys.executable} -m pip install ...), or correct the import"
        raise InputError(f"{_raised_at(error, folder) or what}: {type(error).__name__}: {said}{mend}") from error


def _raised_at(error: BaseException, folder: Path | None) -> str | None:
    """Find the line of the user's own file that an error came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    ours = str(Path(__file__).parent)
    users = [frame for frame in frames if not frame.filename.startswith(ours)]
    if folder is not None:
        users = [frame for frame in users if Path(frame.filename).is_relative_to(folder)] or users
    return f"{shown(users[-1].filename)}:{users[-1].lineno}" if users else None
