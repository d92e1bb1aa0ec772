"""Where output goes: results to stdout, everything else to stderr; text of others is made harmless first."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO, cast

import orjson
from rich.console import Console

PIPE_WIDTH: Final = 160
"""Columns of a table that goes into a pipe or a file."""
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Results(Console):
    """Prints to stdout; a reader that has enough is told to whoever asked for the printing."""

    def on_broken_pipe(self) -> None:
        """Let the error through, instead of rich's exit with 1."""
        raise BrokenPipeError


class Notes(Console):
    """Prints to stderr; a run must not fail because nobody reads its notes any more."""

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True

    def say(self, line: str) -> None:
        """Print a line, or part of one, as it is."""
        try:
            self.print(harmless(line), soft_wrap=True)
        except OSError:  # the terminal was closed
            self.quiet = True


def results() -> Results:
    """Make a console for stdout."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Results(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)


def notes() -> Notes:
    """Make a console for stderr."""
    return Notes(file=sys.stderr, markup=False, emoji=False, highlight=False)


def print_json(document: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def harmless(text: str) -> str:
    """Take out control characters: what a model wrote must not move the cursor or change the terminal."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


class _Aside(io.TextIOBase):
    """Stands in for stdout: what is printed goes to stderr, and nobody fails because it is not read."""

    def write(self, text: str) -> int:
        """Write to stderr."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Bring it on its way."""
        with suppress(OSError):
            sys.stderr.flush()


@contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Send to stderr whatever is written to stdout meanwhile, by a stage's `print` or by a process that it starts."""
    stdout = sys.stdout
    stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = cast("TextIO", _Aside())
    try:
        yield
    finally:
        sys.stdout = stdout
        os.dup2(kept, 1)
        os.close(kept)
