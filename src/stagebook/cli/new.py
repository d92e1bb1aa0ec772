"""`stagebook new`: writes a pipeline that works, with its template, sample, test and lint settings, to be changed."""

import importlib.util
import keyword
import os
import re
import shlex
import shutil
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from stagebook.cli.command_lines import command
from stagebook.cli.console import harmless
from stagebook.llm.weights import find_weights
from stagebook.model.errors import InputError, ModelNotInstalled

NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
MOST: Final = 40
"""Characters of a name: it becomes a file's, and part of a view's in SQL."""
SETTINGS: Final = "pyproject.toml"
"""The one file that may be there already: a project's own settings are left alone."""
MODEL: Final = "smollm2"
HOSTED: Final = "openai:gpt-4.1-mini"


@click.command
@click.argument("name", metavar="NAME")
def new(*, name: str) -> None:
    """Write a pipeline of three stages into this folder: it runs at once, and is yours to change.

    NAME is lower case with hyphens, such as my-pipeline. Nothing is overwritten.
    """
    module = module_name(name)
    made, kept = write(name, module, Path.cwd())
    click.echo(f"made {', '.join(made)}")
    if kept:
        click.echo(f"kept your own {', '.join(kept)}")
    click.echo("\nNext:")
    for line in next_commands(module):
        click.echo(f"  {line}")


def module_name(name: str) -> str:
    """Spell a pipeline's name as its file is called.

    Raises:
        InputError: The name cannot be used; the text says which could.
    """
    shown = harmless(repr(name if len(name) <= 2 * MOST else f"{name[:MOST]}..."))
    if not NAME.fullmatch(name) or len(name) > MOST:
        right = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:MOST].strip("-") or "my-pipeline"
        raise InputError(
            f"{shown} cannot be the name of a pipeline: write letters a to z, digits and single hyphens, "
            f"a letter first, {MOST} characters at most, such as {right}"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module == "conftest" or _importable(module):
        raise InputError(
            f"{shown} cannot be the name of a pipeline: {module} is a word or a module of Python already, "
            f"so that {module}.py could not be imported; choose another, such as {name}-pipeline"
        )
    return module


def write(name: str, module: str, folder: Path) -> tuple[list[str], list[str]]:
    """Write the files; what was written is taken away again where one cannot be.

    Args:
        name: The pipeline's.
        module: Its file's, without the ending.
        folder: Where they go.

    Returns:
        What was made, and what was there already and is kept.

    Raises:
        InputError: A file of that name is there, or the folder cannot be written.
    """
    wanted = {
        place.replace("my-pipeline", name).replace("my_pipeline", module): text.replace("my-pipeline", name).replace(
            "my_pipeline", module
        )
        for place, text in _scaffold(files("stagebook.cli") / "scaffold", "")
    }
    kept = [SETTINGS] if os.path.lexists(folder / SETTINGS) else []
    for place in wanted:
        if place not in kept and os.path.lexists(folder / place):
            raise InputError(f"{place} is there already and is not overwritten; choose another name or another folder")
    made: list[Path] = []
    try:
        for place, text in wanted.items():
            if place not in kept:
                _write_one(folder, place, text, made)
    except OSError as error:
        for path in reversed(made):
            path.rmdir() if path.is_dir() else path.unlink()
        raise InputError(
            f"{folder} cannot be written: {error.strerror}; nothing was made, choose a folder that can be"
        ) from error
    return sorted(set(wanted) - set(kept)), kept


def next_commands(module: str) -> list[str]:
    """Choose what is worth typing now; each works as it stands."""
    python = _python()
    hosted = command("run", f"{module}.py", f"{module}.txt", "--model", HOSTED)
    key = "" if os.environ.get("OPENAI_API_KEY") else "  # needs OPENAI_API_KEY"
    lines = [command("run", f"{module}.py"), hosted + key]
    try:
        find_weights(MODEL)
    except ModelNotInstalled:
        lines.insert(0, command("models", "get", MODEL))
    missing = [tool for tool in ("pytest", "ruff") if not _importable(tool)]
    if missing:
        lines.append(f"{python} -m pip install {' '.join(missing)}")
    return [*lines, f"{python} -m pytest test_{module}.py", f"{python} -m ruff check"]


def _scaffold(place: Traversable, path: str) -> list[tuple[str, str]]:
    """Read the files to write; those are a working pipeline themselves, called my-pipeline."""
    found = []
    for one in sorted(place.iterdir(), key=lambda child: child.name):
        if one.is_dir():
            if not one.name.startswith(("__", ".")):
                found += _scaffold(one, f"{path}{one.name}/")
        else:
            found.append((path + one.name, one.read_text(encoding="utf-8")))
    return found


def _write_one(folder: Path, place: str, text: str, made: list[Path]) -> None:
    path = folder / place
    for above in reversed(path.relative_to(folder).parents):
        if not (folder / above).is_dir():
            (folder / above).mkdir()
            made.append(folder / above)
    with path.open("x", encoding="utf-8") as file:
        made.append(path)
        file.write(text)


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _python() -> str:
    """Name this Python as it can be typed: by its bare name, where that finds it."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve():
            return name
    return shlex.quote(sys.executable)
