"""Tables: CSV with any of the usual separators."""

import csv
import re
from collections.abc import Iterator
from typing import Any

import orjson

from stagebook_pipelines.prompt_batch.archives.cells import Cells, cells_of
from stagebook_pipelines.prompt_batch.archives.decoding import as_text
from stagebook_pipelines.prompt_batch.archives.rows import COLUMNS
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Record, Trouble

_SEPARATORS = ",\t;|"
_WORD = re.compile(r"\s*[\w.-]*\s*")
_LONGEST_NAME = 60
STRUCTURED = frozenset(
    {"messages", "conversations", "conversation", "chat_messages", "mapping", "turns", "choices", "options"}
    | {"references", "ideal", "input", "prompt", "answers"}
)
"""Columns whose cells may hold JSON."""
ASKING = frozenset({*COLUMNS, "messages", "conversations", "conversation", "chat_messages", "mapping", "turns"})
"""Columns that make a table one of prompts."""


def header_of(head: bytes, column: str | None, *, strict: bool = False) -> tuple[str, list[str]] | None:
    """Find the header of a table.

    Args:
        head: The beginning of the file.
        column: The column that asks, where it has been said.
        strict: Whether the file's name says plain text, so that only what can be nothing else is a table.

    Returns:
        The separator and the columns' names, if one of them is known to ask and all look like names; else those of
        whatever looks like a table (several columns, as many in its second row); or None.
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
        if column in names if column is not None else not ASKING.isdisjoint(names) and _plausible(rows, strict=strict):
            return separator, names
        if likely is None and len(names) > 1 and len(rows) > 1 and len(rows[1]) == len(names):
            likely = separator, names
    return likely if likely is None or column is not None or ASKING.isdisjoint(likely[1]) else None


def _plausible(rows: list[list[str]], *, strict: bool) -> bool:
    """Whether a first row that has a known name is a header, and no prose with commas in it."""
    header, *others = rows
    alike = [len(row) == len(header) for row in others[:20]]
    if all(map(_WORD.fullmatch, header)):
        return not strict or (len(header) > 1 and bool(alike) and all(alike[: len(alike) - 1] or alike))
    return not strict and any(alike) and all(len(name) <= _LONGEST_NAME for name in header)


def names_of(header: list[str], column: str | None) -> list[str]:
    """Write columns' names as rows of JSON write them: small, but for those of one letter and the one that was said."""
    stripped = [name.strip() for name in header]
    return [name if len(name) == 1 or name == column else name.lower() for name in stripped]


def table_rows(stream: ByteStream, largest: int, separator: str, column: str | None) -> Iterator[Record | Trouble]:
    """Read CSV, whose first row names the columns.

    After a quote that is not closed, lines that have not the header's number of cells are left out, up to the first
    that has: they are what a prompt of several lines leaves that was cut off, and no prompts.

    Args:
        stream: The bytes.
        largest: Bytes that a line or a row may have.
        separator: What stands between two cells.
        column: The column that asks, where it has been said.

    Yields:
        Each row as a dict, or what is wrong with it.
    """
    names: list[str] | None = None
    index = 0
    astray: list[int] | None = None
    last: Cells | None = None
    for one in cells_of(stream, largest, separator):
        if isinstance(one, Trouble):
            yield one._replace(index=index if one.lost else None)
            if one.lost and names is not None:
                index, astray = index + 1, astray or []
        elif names is None:
            names = names_of(one.cells, column)
        elif astray is not None and len(one.cells) != len(names):
            astray.append(one.line)
        else:
            yield from _left_out(astray, names)
            astray, last = None, one
            yield _row(one, names, index)
            index += 1
    yield from _left_out(astray, names or [])
    if last is not None and names is not None and len(last.cells) < len(names) and stream.data:
        short = f"has {len(last.cells)} of {len(names)} cells and no end of line: was the file cut off?"
        yield Trouble(short, index - 1, None, last.line, lost=False)


def _row(one: Cells, names: list[str], index: int) -> Record | Trouble:
    if len(one.cells) > len(names):
        return Trouble(f"has {len(one.cells)} cells, and the header has {len(names)}", index, None, one.line)
    return Record(structured(dict(zip(names, one.cells, strict=False))), index, None, one.line)


def _left_out(astray: list[int] | None, names: list[str]) -> Iterator[Trouble]:
    if astray:
        many = f"and {len(astray) - 1:,} after it have" if len(astray) > 1 else "has"
        why = f"{many} not the header's {len(names)} cells, after a quote that was not closed: left out"
        yield Trouble(why, None, None, astray[0])


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
