"""Right answers by prompt, given as a mapping or as a file of JSON lines."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from stagebook_pipelines.prompt_batch.evaluation.plain_text import mended
from stagebook_pipelines.prompt_batch.evaluation.rows import read_lines

Given = Mapping[str, str | Sequence[str]] | str | Path | None
"""Prompt -> right answer, or several; or a file of JSON lines."""

_PROMPTS: Final = ("prompt", "question", "input", "turns")
_ANSWERS: Final = ("reference", "references", "ideal", "target", "answer")


class References:
    """Right answers by prompt; white space around a prompt does not count.

    They are held in memory, all of them.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, ...]] = {}
        self.errors: list[str] = []
        """Lines of the file that could not be read."""

    def __len__(self) -> int:
        return len(self._answers)

    def of(self, prompt: str) -> tuple[str, ...]:
        """The right answers to a prompt; none where it is unknown."""
        return self._answers.get(prompt.strip(), ())

    def all(self) -> Iterator[tuple[str, ...]]:
        """The right answers of every prompt."""
        yield from self._answers.values()

    def by_prompt(self) -> dict[str, list[str]]:
        """All of them, as a mapping that `read_references` takes."""
        return {prompt: list(right) for prompt, right in self._answers.items()}

    def add(self, prompt: str, answers: Sequence[str]) -> None:
        """Take right answers; those of a prompt that is given twice are put together."""
        key = mended(prompt).strip()
        known = self._answers.get(key, ())
        new = dict.fromkeys(mended(answer) for answer in answers if answer.strip())
        if new:
            self._answers[key] = (*known, *(answer for answer in new if answer not in known))


def read_references(given: Given) -> References:
    """Read right answers.

    Lines of a file are objects with `prompt` (or `question`, `input`, `turns`) and `reference` (or `references`,
    `ideal`, `target`, `answer`), text or a list. Of a list of messages or turns the last question of the user counts;
    of turns, the first with the first reference. A line without a right answer is passed over.

    Args:
        given: A mapping, or where the file is.

    Raises:
        ValueError: The file cannot be read, or a mapping holds something else.
    """
    found = References()
    if given is None:
        return found
    if isinstance(given, str | Path):
        for number, line in read_lines(Path(given)):
            try:
                _take(line, found)
            except ValueError as error:
                found.errors.append(str(error) if error is line else f"{given}, line {number}: {error}")
        return found
    for prompt, answers in given.items():
        if not isinstance(prompt, str):
            raise ValueError(f"references are given by the text of their prompt, not by {type(prompt).__name__}")  # noqa: TRY004  bad input
        found.add(prompt, _texts(answers))
    return found


def _take(line: Any, into: References) -> None:
    if isinstance(line, ValueError):
        raise line
    if not isinstance(line, dict):
        raise ValueError("a line with a reference is an object")  # noqa: TRY004  bad input
    prompt = next((line[name] for name in _PROMPTS if line.get(name)), None)
    answers = _texts(next((line[name] for name in _ANSWERS if line.get(name) is not None), None))
    if "turns" in line and isinstance(prompt, list):  # each turn has its reference; the later ones need the earlier
        prompt, answers = next(iter(prompt), None), answers[:1]
    text = _question(prompt)
    if text is None:
        raise ValueError(f"no prompt: it is told in one of {', '.join(_PROMPTS)}")
    into.add(text, answers)


def _question(prompt: Any) -> str | None:
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list):
        return None
    said = [message for message in prompt if isinstance(message, dict) and isinstance(message.get("content"), str)]
    asked = [message for message in said if message.get("role") == "user"] or said
    return str(asked[-1]["content"]) if asked else None


def _texts(answers: Any) -> list[str]:
    """Right answers as texts.

    Raises:
        ValueError: One is neither text nor a number.
    """
    listed = answers if isinstance(answers, list | tuple) else [answers]
    texts = []
    for answer in listed:
        if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
            raise ValueError(f"a reference is text, or a list of texts, not {type(answer).__name__}")  # noqa: TRY004  bad input
        texts.append("" if answer is None else str(answer))
    return texts
