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
    r"(?:\\boxed\{)?(?:\\text\{)?[\s(\[*_\"'$]{0,6}(?:([A-HJ])\b(?!['\u2019-]\w)"
    r"|(I)(?=[)\].*_\"'}]|[ \t]{0,8}(?:\n|$))|([a-j])(?=[)\].,*_\"'}]|\s*$))"
)
_FIRST_LINE = re.compile(r"[\s(\[*_\"'{$]{0,8}([A-Ja-j])[ \t)\].:*_\"'}$]{0,8}(?:\n|$)")
_BEGINNING = re.compile(  # `A is the correct answer`, `A, because`; neither `A dog is`, `A is wrong` nor `A, B and C`
    r"[\s(\[*_\"'{]{0,8}(I(?=\s{1,4}is\b)|[A-HJ])[*_\"')\]]{0,4}"
    r"(?:\s{1,4}(?:because|since|due to)\b"
    r"|,(?!\s{0,4}(?:(?:and|or)\s{1,4})?[A-J]\b)"
    r"|\s{1,4}[-\u2013\u2014]\s|\s{0,4}\u2014"
    r"|\s{1,4}(?:is|was|must be|would be|seems|appears)\b"
    r"(?:\s{1,4}(?!(?:not|never|less|least|hardly|wrong|incorrect|false)\b)[\w'-]{1,30}){0,6}?"
    r"\s{1,4}(?:correct|right|best|true|answer|choice|option|accurate|appropriate|likely)\b)"
)
_ARTICLE = re.compile(r"\s{1,4}(?!(?:is|was|because|since|as|due|and|or|but|not|with|for)\b)[a-z]")
"""What follows upon an `A` that begins a sentence and is an article."""
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

    The first that applies: a letter alone on the first line; the option's own text; a letter in the last `\boxed{}`;
    after the last `answer is`, a letter or the option's text; a letter that the answer begins with; the letter of its
    last line; the only letter that is mentioned. The article `A` and the pronoun `I` are no letters.

    Args:
        answer: What the model said.
        options: Letter -> text of the option, normalised.

    Returns:
        The letter in upper case; None where nothing is chosen, or several options are.
    """
    plain = without_invisible(answer).strip()
    if found := _FIRST_LINE.match(plain):
        return found[1].upper()
    texts = {text: letter for letter, text in (options or {}).items() if text}
    if letter := texts.get(normalise(plain)):
        return letter
    if boxed := _BOXED.findall(plain):
        return str(boxed[-1]).upper()
    if letter := _told(plain, texts):
        return letter
    last_line = plain[plain.rfind("\n") + 1 :]
    for part in (plain, last_line):
        if found := _LEADING.match(part) or _BEGINNING.match(part):
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
        found = _NAMED.match(plain, phrase.end())
        if found and not (_ends_a_clause(phrase) and found[1] == "A" and _ARTICLE.match(plain, found.end())):
            return str(found[1] or found[2] or found[3]).upper()
        line = plain[phrase.end() : phrase.end() + _REACH].partition("\n")[0]
        if letter := texts.get(normalise(line)):
            return letter
    return None


def _ends_a_clause(phrase: "re.Match[str]") -> bool:
    """Whether a sentence begins after the phrase, so that the next word is written with a capital: `Answer: A dog`."""
    return phrase[0].rstrip(" *_\n\t").endswith((":", "="))
