"""Rows of question sets: a column that asks, and maybe one that answers."""

from typing import Any

from stagebook_pipelines.prompt_batch.archives.answers import (
    answers_of,
    choices_of,
    lettered,
    right_choice,
    with_choices,
)
from stagebook_pipelines.prompt_batch.archives.asked import Found, asked, text_of

COLUMNS = ("prompt", "question", "instruction", "query", "problem", "input", "text")
"""Columns that ask, the first that says something before all others."""


def column_of(row: dict[str, Any]) -> str | None:
    """Find the column that asks: the first known one with words in it, or else the first known one."""
    known = [name for name in COLUMNS if name in row and (row[name] is None or isinstance(row[name], str))]
    return next((name for name in known if row[name] and row[name].strip()), known[0] if known else None)


def plain(row: dict[str, Any], column: str) -> Found:
    """Read a row.

    Args:
        row: The row. An `input` beside an `instruction` (Alpaca) belongs to the question, and so do the choices of a
            question that leaves some.
        column: The column that asks.

    Yields:
        The prompt.
    """
    text = text_of(row[column])
    further = row.get("input")
    if column == "instruction" and isinstance(further, str) and further.strip():
        text = f"{text}\n\n{further}"
    answers, choices = answers_of(row), choices_of(row)
    if choices is not None:
        if text.strip():
            text = with_choices(text, choices)
        answers = right_choice(row, choices)
    elif answers and "reference_letter" in row:
        choices = lettered(text)
    yield asked(text, column, 0, answers, choices)
