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
_LIKE_A_LETTER = re.compile(r"\W{0,8}[A-Za-z](?:\W|$)")
"""A choice that could be taken for another one's letter: `C`, of vitamins, or `A. thaliana`."""
_NO_LABEL = -1
"""What data sets write where the right answer is kept secret."""


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
    """Write the choices under a question, unless they stand in it, each on a line that begins with its letter.

    Args:
        question: The question.
        choices: What to choose from.

    Returns:
        What to ask: the question, and lines `A. ...`, `B. ...`.
    """
    named = list(zip(_LETTERS, choices, strict=False))
    if all(choice in question for choice in choices) and all(_stands(question, *one) for one in named):
        return question
    return "\n".join([question.rstrip(), *(f"{letter}. {choice}" for letter, choice in named)])


def _stands(question: str, letter: str, choice: str) -> bool:
    """Whether a choice stands on a line with its letter: `A. this`, `(A) this`, `A: this`."""
    line = rf"^[ \t]*[(\[]?{letter}[.):\]][ \t]*{re.escape(choice.strip())}[ \t\r]*$"
    return re.search(line, question, re.MULTILINE) is not None


def right_choice(row: dict[str, Any], choices: tuple[str, ...]) -> tuple[str, ...]:
    """Find the right answers of a row that leaves some to choose from.

    Args:
        row: The row. A whole number in it is the place of the right choice, from 0 (MMLU), unless the choices are
            numbers themselves; a text is its label (ARC), its letter, its text, or, where it is none of these, its
            place.
        choices: What to choose from.

    Returns:
        The letter and the choice, in the order in which one was told and the other follows from it; of a choice that
        looks like a letter, the letter alone. What names no choice is given as it stands, but for -1, which says that
        the right answer is not told.
    """
    told = next((row[name] for name in _ANSWERS if name in row and _texts(row[name])), None)
    if isinstance(told, list) and len(told) == 1:
        told = told[0]
    if isinstance(told, bool) or not isinstance(told, (str, int, float)):
        return answers_of(row)
    place = _place(told, row, choices)
    if place is None:
        return () if told == _NO_LABEL else answers_of(row)
    letter, text = _LETTERS[place], choices[place]
    if not text.strip() or _LIKE_A_LETTER.match(text):
        return (letter,)
    return (text, letter) if isinstance(told, str) and told.strip() == text.strip() else (letter, text)


def _place(told: str | float, row: dict[str, Any], choices: tuple[str, ...]) -> int | None:
    """Which of the choices an answer names, from 0; None where it names none that has a letter."""
    given = row.get("choices", row.get("options"))
    labels = given.get("label") if isinstance(given, dict) else None
    said = str(told).strip()
    texts = [choice.strip() for choice in choices]
    number = int(told) if isinstance(told, int) or (isinstance(told, float) and told.is_integer()) else None
    if isinstance(labels, list) and said in map(str, labels):
        place: int | None = [str(label) for label in labels].index(said)
    elif number is not None and not (isinstance(given, list) and told in given):
        place = number if 0 <= number < len(choices) else texts.index(said) if said in texts else None
    elif len(said) == 1 and said in _LETTERS[: len(choices)]:
        place = _LETTERS.index(said)
    elif said in texts:
        place = texts.index(said)
    else:
        place = int(said) if said.isdecimal() and len(said) < len(_LETTERS) else None
    return place if place is not None and place < min(len(choices), len(_LETTERS)) else None
