"""The letter that an answer to a multiple-choice question chooses, as MMLU asks for it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from stagebook_pipelines.prompt_batch.evaluation.plain_text import normalise, without_invisible

_REACH: Final = 300
"""Characters after `The answer is` in which the option's own text is looked for."""
_MOST_LETTERS: Final = 20
"""Letters that are looked at where an answer says nothing more clearly."""

# A to J: MMLU has four options, MMLU-Pro ten. No repetition is without a limit, so that no text takes long.
_OPTION = re.compile(r"^[ \t]{0,8}\(?([A-J])[).:][ \t]{1,8}(\S[^\n]*)", re.MULTILINE)
_LEADING = re.compile(r"[\s(\[*_\"'{]{0,8}([A-Ja-j])(?:[\s*_\"']{0,4}$|[*_]{0,2}[).:\]}](?!\w))")
_ANSWER_IS = re.compile(
    r"\b(?:answer|choice|option)\b[*_ ]{0,4}(?:is|was|would be|[:=])?[*_ ]{0,4}(?:option|choice)?[:\s]{0,4}",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?:\\boxed\{)?(?:\\text\{)?[\s(\[*_\"'$]{0,6}(?:([A-J])\b(?!['\u2019]\w)|([a-j])(?=[)\].,*_\"'}]|\s*$))"
)
_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?\(?([A-Ja-j])\b")
_ALONE = re.compile(r"(?<![\w'\u2019.])\(?([B-HJ])\b(?!['\u2019]\w)|\(([AI])\)|\*\*([AI])\*\*|(?<=[a-z] )(A)\b")


def choice(answer: str, references: Sequence[str], prompt: str = "") -> float | None:
    """Whether the answer chooses the right option: MMLU's measure (Hendrycks et al. 2021).

    Args:
        answer: What the model said: `B`, `(B)`, `B) text`, `The answer is B`, or the option's own text.
        references: The right option: its letter, `B. text`, or its text; the best counts.
        prompt: What was asked; its lines `A. text` say what the letters stand for.

    Returns:
        1 or 0, 0 where the answer chooses nothing; None where no reference names an option.
    """
    options = {letter: normalise(text) for letter, text in _OPTION.findall(prompt)}
    right: set[str] = set()
    for reference in references:
        named = _LEADING.match(without_invisible(reference))
        if named is not None:
            letter = named[1].upper()
            right.add(letter)
            if text := normalise(reference[named.end() :]):
                options.setdefault(letter, text)
        else:
            right.update(letter for letter, text in options.items() if text == normalise(reference))
    if not right:
        return None
    return float(chosen(answer, options) in right)


def chosen(answer: str, options: Mapping[str, str] | None = None) -> str | None:
    r"""Find the letter that an answer chooses.

    The first that applies: the option's own text; a letter in the last `\boxed{}`; after the last `answer is`, a
    letter or the option's text; a letter that the answer begins with; the letter of its last line; the only letter
    that is mentioned.

    Args:
        answer: What the model said.
        options: Letter -> text of the option, normalised.

    Returns:
        The letter in upper case; None where nothing is chosen, or several options are.
    """
    plain = without_invisible(answer).strip()
    texts = {text: letter for letter, text in (options or {}).items() if text}
    if letter := texts.get(normalise(plain)):
        return letter
    if boxed := _BOXED.findall(plain):
        return str(boxed[-1]).upper()
    if letter := _told(plain, texts):
        return letter
    last_line = plain[plain.rfind("\n") + 1 :]
    for part in (plain, last_line):
        if found := _LEADING.match(part):
            return found[1].upper()
    mentioned: set[str] = set()
    for found in _ALONE.finditer(plain):
        mentioned.add(next(filter(None, found.groups())))
        if len(mentioned) > 1:
            return None
    return mentioned.pop() if mentioned else None


def is_option(reference: str) -> bool:
    """Whether a right answer names an option by its letter: `C`, `(C)` or `C. text`."""
    return _LEADING.match(without_invisible(reference)) is not None


def _told(plain: str, texts: Mapping[str, str]) -> str | None:
    """The option after the last phrase that announces one."""
    for phrase in reversed([*_ANSWER_IS.finditer(plain)][-_MOST_LETTERS:]):
        if found := _NAMED.match(plain, phrase.end()):
            return str(found[1] or found[2]).upper()
        line = plain[phrase.end() : phrase.end() + _REACH].partition("\n")[0]
        if letter := texts.get(normalise(line)):
            return letter
    return None
