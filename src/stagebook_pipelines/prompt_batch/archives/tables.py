"""Tables: CSV with any of the usual separators."""

import csv
from collections.abc import Iterator
from typing import Any

import orjson

from stagebook_pipelines.prompt_batch.archives.decoding import as_text
from stagebook_pipelines.prompt_batch.archives.lines import lines
from stagebook_pipelines.prompt_batch.archives.rows import COLUMNS
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Record, Trouble

_SEPARATORS = ",\t;|"
STRUCTURED = frozenset(
    {"messages", "conversations", "conversation", "chat_messages", "mapping", "turns", "choices", "options"}
    | {"references", "ideal", "input", "prompt", "answers"}
)
"""Columns whose cells may hold JSON."""
ASKING = frozenset({*COLUMNS, "messages", "conversations", "conversation", "chat_messages", "mapping", "turns"})
"""Columns that make a table one of prompts."""


def header_of(head: bytes, column: str | None) -> tuple[str, list[str]] | None:
    """Find the header of a table.

    Args:
        head: The beginning of the file.
        column: The column that asks, where it has been said.

    Returns:
        The separator and the columns' names, if one of them is known to ask; else those of whatever looks like a table
        (several columns, as many in its second row); or None.
    """
    text, _ = as_text(head)
    given = text.splitlines(keepends=True)[:50]
    likely = None
    for separator in _SEPARATORS:
        try:
            rows = [row for row in csv.reader(given, delimiter=separator) if row]
        except csv.Error:
            continue
        names = names_of(rows[0], column) if rows else []
        if column in names if column is not None else not ASKING.isdisjoint(names):
            return separator, names
        if likely is None and len(names) > 1 and len(rows) > 1 and len(rows[1]) == len(names):
            likely = separator, names
    return likely


def names_of(header: list[str], column: str | None) -> list[str]:
    """Write columns' names as rows of JSON write them: small, but for those of one letter and the one that was said."""
    stripped = [name.strip() for name in header]
    return [name if len(name) == 1 or name == column else name.lower() for name in stripped]


def table_rows(stream: ByteStream, largest: int, separator: str, column: str | None) -> Iterator[Record | Trouble]:
    """Read CSV (RFC 4180), whose first row names the columns.

    Args:
        stream: The bytes.
        largest: Bytes that a line or a cell may have.
        separator: What stands between two cells.
        column: The column that asks, where it has been said.

    Yields:
        Each row as a dict, or what is wrong with it.
    """
    # csv's own limit (131,072) is one for the whole process; it is only ever raised here, so nobody's reading is hurt
    csv.field_size_limit(max(csv.field_size_limit(), largest))
    given = _Lines(stream, largest)
    reader = csv.reader(given, delimiter=separator)
    names: list[str] | None = None
    index = 0
    while True:
        line = reader.line_num + 1
        given.of_row = 0
        try:
            row = next(reader, None)
        except csv.Error as problem:
            yield Trouble(f"cannot be read ({problem})", index, None, line)
            index += 1
            continue
        yield from given.troubles
        given.troubles.clear()
        if row is None:
            return
        if not any(row):
            continue
        if names is None:
            names = names_of(row, column)
            continue
        if len(row) > len(names):
            yield Trouble(f"has {len(row)} cells, and the header has {len(names)}", index, None, line)
        else:
            yield Record(structured(dict(zip(names, row, strict=False))), index, None, line)
        index += 1


class _Lines:
    """Gives csv the lines of a stream, as text, and ends a row that goes on too long: one with an open quote."""

    def __init__(self, stream: ByteStream, largest: int) -> None:
        self._lines = lines(stream, largest)
        self._largest = largest
        self.of_row = 0
        self.troubles: list[Trouble] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for number, place, line in self._lines:
            if isinstance(line, Trouble):
                self.troubles.append(Trouble(line.message, None, place, number))
                continue
            self.of_row += len(line)
            if self.of_row > self._largest:
                raise csv.Error(f"it is larger than {self._largest:,} bytes: is a quote missing?")
            text, remark = as_text(line)
            if remark is not None:
                self.troubles.append(Trouble(remark, None, place, number, lost=False))
            return text + "\n"
        raise StopIteration


def structured(row: dict[str, Any]) -> dict[str, Any]:
    """Read the cells of a row that hold JSON."""
    for name in STRUCTURED.intersection(row):
        cell = row[name]
        if isinstance(cell, str) and cell[:1] in {"[", "{"}:
            try:
                row[name] = orjson.loads(cell)
            except orjson.JSONDecodeError:
                continue  # words that begin with a bracket
    return row
