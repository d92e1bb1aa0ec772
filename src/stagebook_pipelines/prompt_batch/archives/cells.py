"""Rows of CSV, cut out of lines; also where a quote is missing, which would swallow all that comes after it."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from stagebook_pipelines.prompt_batch.archives.decoding import as_text
from stagebook_pipelines.prompt_batch.archives.lines import lines
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Trouble

_MOST_LINES = 100_000
"""Lines that one row may have: memory ends there, too, where a quote is open and lines are short."""


class Cells(NamedTuple):
    """One row."""

    cells: list[str]
    line: int
    """The line that it begins in, from 1."""


def cells_of(stream: ByteStream, largest: int, separator: str) -> Iterator[Cells | Trouble]:
    """Cut CSV (RFC 4180) into rows.

    A quote that is not closed swallows lines until the next quote, which then stands where none may close a cell; or
    until the end, or the limit. Each of the three is told, and reading starts afresh at the next line.

    Args:
        stream: The bytes.
        largest: Bytes that a line or a row may have.
        separator: What stands between two cells.

    Yields:
        The rows that are not blank, and what is wrong with others; a trouble that has lost a row names its line.
    """
    # csv's own limit (131,072) is one for the whole process; it is only ever raised here, so nobody's reading is hurt
    csv.field_size_limit(max(csv.field_size_limit(), largest))
    given = _Lines(stream, largest)
    reader = csv.reader(given, delimiter=separator, strict=True)
    while True:
        given.begin_row()
        try:
            row = next(reader, None)
        except csv.Error as problem:
            yield from given.told()
            yield from _faulty(given, separator, str(problem))
            continue
        yield from given.told()
        if row is None:
            return
        if any(row):
            yield Cells(row, given.row[0][0])


def _faulty(given: "_Lines", separator: str, problem: str) -> Iterator[Cells | Trouble]:
    """Read a row that is no strict CSV, or tell it and go back to the line after its first."""
    (line, text), *others = given.row
    row = None if others or given.ended else _patiently(text, separator)
    if row is not None:
        yield Trouble(
            "has a quote within a cell that is not doubled; it was read nevertheless", None, None, line, False
        )
        yield Cells(row, line)
    elif others or given.ended:
        end = " before the file ends: is it missing, or was the file cut off?" if given.ended else ": is it missing?"
        yield Trouble(f"opens a quote that is not closed{end} The line was left out", None, None, line)
        given.go_back(others)
    else:
        yield Trouble(f"cannot be read ({problem})", None, None, line)


def _patiently(text: str, separator: str) -> list[str] | None:
    """Read a row with quotes that are not doubled; None where it goes on in the next line."""
    reader = csv.reader([text, '"'], delimiter=separator)
    try:
        row = next(reader)
    except csv.Error:
        return None
    return row if reader.line_num == 1 else None


class _Lines:
    """Gives csv the lines of a stream, as text, and keeps those of the row that is being read, to give them again."""

    def __init__(self, stream: ByteStream, largest: int) -> None:
        self._lines = lines(stream, largest)
        self._largest = largest
        self._size = 0
        self._again: deque[tuple[int, str]] = deque()
        self._troubles: list[Trouble] = []
        self.row: list[tuple[int, str]] = []
        """Lines of the row, with their numbers."""
        self.ended = False
        """Whether a line was asked for after the last one."""

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.row.clear()
        self._size = 0

    def go_back(self, lines_again: list[tuple[int, str]]) -> None:
        """Give lines once more."""
        self._again.extendleft(reversed(lines_again))
        self.ended = False

    def told(self) -> Iterator[Trouble]:
        """What is wrong with lines that were given since this was asked last."""
        yield from self._troubles
        self._troubles.clear()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        number, text = self._again.popleft() if self._again else self._next()
        self.row.append((number, text))
        self._size += len(text)
        if len(self.row) > 1 and (self._size > self._largest or len(self.row) > _MOST_LINES):
            raise csv.Error("is too large")
        return text

    def _next(self) -> tuple[int, str]:
        for number, place, line in self._lines:
            if isinstance(line, Trouble):
                self._troubles.append(Trouble(line.message, None, place, number))
                continue
            text, remark = as_text(line)
            if remark is not None:
                self._troubles.append(Trouble(remark, None, place, number, lost=False))
            return number, text + "\n"
        self.ended = True
        raise StopIteration
