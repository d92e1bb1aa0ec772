"""Right answers, and answers to choose from, where a row carries them."""

import re
from typing import Any

from stagebook_pipelines.prompt_batch.archives.decoding import whole

_ANSWERS = (
    "reference",
    "references",
    "ideal",
    "answer",
    "answers",
    "correct_answer",
    "correct_answers",
    "best_answer",
    "expected",
    "expected_output",
    "target",
    "answerKey",
    "answerkey",
    "reference_letter",
    "output",
)
"""Names of right answers, the first that says something before all others."""
_BESIDE = ("reference_letter",)
"""Names of a second form of the right answer."""
KNOWN_ANSWERS = frozenset({*_ANSWERS, "choices", "options", *"ABCDEFGHIJ"})
"""Every field that is read here."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERED = re.compile(r"^([A-Z])[.)] (.+)$", re.MULTILINE)


def answers_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Find the right answers of a row.

    Args:
        row: The row.

    Returns:
        What stands in the first column that is known to hold them and is not empty, as text.
    """
    if KNOWN_ANSWERS.isdisjoint(row):
        return ()
    found: list[str] = []
    for name in filter(row.__contains__, _ANSWERS):
        found = _texts(row.get(name))
        if found:
            break
    for name in _BESIDE if found else ():
        found += [text for text in _texts(row.get(name)) if text not in found]
    return tuple(found)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):  # SQuAD: {"text": [...], "answer_start": [...]}
        value = value.get("text", value.get("value"))
    found = [
        whole(str(one)) for one in (value if isinstance(value, list) else [value]) if isinstance(one, (str, int, float))
    ]
    return list(dict.fromkeys(one for one in found if one.strip()))


def choices_of(row: dict[str, Any]) -> tuple[str, ...] | None:
    """Find the answers that a question leaves to choose from.

    Args:
        row: The row: with a list `choices` or `options` (MMLU, MMLU-Pro), a dict of `text` and `label` (ARC), or
            columns A, B, C, D.

    Returns:
        Their texts in order, or None.
    """
    given = row.get("choices", row.get("options"))
    if isinstance(given, dict):
        given = given.get("text")
    if given is None and all(isinstance(row.get(letter), str) for letter in "AB"):
        given = [row[letter] for letter in _LETTERS if isinstance(row.get(letter), str)]
    if isinstance(given, list) and len(given) > 1 and all(isinstance(one, (str, int, float)) for one in given):
        return tuple(whole(str(one)) for one in given)
    return None


def lettered(text: str) -> tuple[str, ...] | None:
    """Find choices that stand in the question's own text, on lines `A. ...`, `B. ...` at its end.

    Args:
        text: The question.

    Returns:
        Their texts in order, or None where there are not at least two from A on.
    """
    found = _LETTERED.findall(text)
    letters = "".join(letter for letter, _ in found)
    return tuple(words for _, words in found) if len(letters) > 1 and _LETTERS.startswith(letters) else None


def with_choices(question: str, choices: tuple[str, ...]) -> str:
    """Write the choices under a question, unless they stand there.

    Args:
        question: The question.
        choices: What to choose from.

    Returns:
        What to ask: the question, and lines `A. ...`, `B. ...`.
    """
    if all(choice in question for choice in choices):
        return question
    lines = [f"{letter}. {choice}" for letter, choice in zip(_LETTERS, choices, strict=False)]
    return "\n".join([question.rstrip(), *lines])


def as_letter(answers: tuple[str, ...], choices: tuple[str, ...]) -> tuple[str, ...]:
    """Name a right answer by its letter, where it is the number of a choice, from 0.

    Args:
        answers: The right answers.
        choices: What to choose from.

    Returns:
        The letter and the choice itself in front, or the answers as they were.
    """
    if len(answers) == 1 and answers[0].isdecimal() and answers[0] not in choices and int(answers[0]) < len(choices):
        number = int(answers[0])
        return (_LETTERS[number], choices[number])
    return answers
