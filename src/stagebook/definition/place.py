"""Where something was declared, and the errors that say so."""

import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from stagebook.model.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a user's file."""

    file: str
    """As the interpreter knows it; `<stdin>` and the like where there is no file."""
    line: int
    module: str
    """Name of the module."""
    names: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What could be named there: local variables, for annotations written as strings inside a function."""

    def __str__(self) -> str:
        return f"{shown(self.file)}:{self.line}"


def shown(file: str | Path) -> str:
    """Write a path as a reader finds it: relative to the working directory where it lies below it."""
    path = str(file)
    if not Path(path).is_absolute():
        return path
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def caller() -> FrameType:
    """Find the frame of the user's code that called into the declaration."""
    frame = inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("stagebook.definition"):
        frame = frame.f_back
    if frame is None:
        raise AssertionError("a declaration is always called by somebody")
    return frame


def here() -> Place:
    """Say where the user's code is calling from."""
    frame = caller()
    is_local = frame.f_locals is not frame.f_globals
    names = dict(frame.f_locals) if is_local else {}
    return Place(frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", "")), names)


def place_of(function: Callable[..., Any], declared: Place) -> Place:
    """Say where a function stands (its first decorator, or its `def`)."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return declared
    return Place(code.co_filename, code.co_firstlineno, str(function.__module__), declared.names)


def problem(place: Place, stage: str | None, what: str, mend: str) -> DefinitionError:
    """Make the error of a declaration.

    Args:
        place: Where.
        stage: Name of the stage, if it is about one.
        what: What is wrong, a clause.
        mend: What to write instead.
    """
    within = f"in stage {stage!r}: " if stage else ""
    return DefinitionError(f"{place}: {within}{what}. Mend: {mend}")


def nearest(name: str, known: Iterable[str], *, shown_when_none: int = 12) -> str:
    """Say which names are like one that is not there, or which there are at all.

    Args:
        name: What was asked for.
        known: What there is.
        shown_when_none: Most names listed where none is like it.
    """
    names = sorted(set(known))
    if not names:
        return "there is none"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(one) for one in near) + "?"
    more = "" if len(names) <= shown_when_none else f" and {len(names) - shown_when_none} more"
    return "there is " + ", ".join(names[:shown_when_none]) + more
