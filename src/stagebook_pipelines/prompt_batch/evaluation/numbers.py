"""The final number of an answer, as GSM8K asks for it, and when two numbers are the same."""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from stagebook_pipelines.prompt_batch.evaluation.plain_text import without_invisible

_MOST_DIGITS: Final = 100
"""A number with more digits is no answer, and would take long to compute with."""
_MOST_EXPONENT: Final = 400
"""Beyond every float's power of ten."""
_FEWEST_PLACES: Final = 2
"""Decimal places from which a decimal stands for the fraction that rounds to it: 0.33 for 1/3."""
_REACH: Final = 300
"""Characters after `The answer is` in which the number is looked for."""

# Repetitions are possessive: no text makes a match go back, so that time is linear in the text's length.
_NUMBER = re.compile(
    r"\\[dt]?frac\s?\{(?P<over>\d++)\}\s?\{(?P<under>\d++)\}"
    r"|(?:(?P<mixed>\d++)[ ])?+(?P<above>\d++)\s?/\s?(?P<below>\d++)(?!/|\.\d)"
    r"|(?P<whole>\d[\d,]*+)(?P<places>\.\d++)?+(?P<power>[eE][-+]?\d++)?+"
    r"|(?P<only>\.\d++)",
)
_PERCENT = re.compile(r"\s?\\?(?:%|per\s?cent\b)", re.IGNORECASE)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}")
_ANSWER_IS = re.compile(r"\banswers?\b[*_ ]{0,4}(?:is|are|was|would be|will be|[:=])", re.IGNORECASE)
_BARE = re.compile(r"[-+\u2212$\u20ac\u00a3\u00a5\s]{0,4}[\d.,/ ]{1,120}\s?%?")
_LATEX_SPACE = re.compile(r"(?<=\d)(?:\\[,!:; ]|\{,\}|~)(?=\d{3}(?!\d))")
"""What stands between thousands in LaTeX: `1\\,234`, `1{,}234`."""
_SPACED = re.compile(r"(?<![\d.,])(?<!\d )(\d{1,3}(?: \d{3}){1,33})(?![\d-])(?! ?/)")
"""Thousands with blanks between them (ISO 80000-1): 1 234."""
_MINUS: Final = "-\u2212"
_BEFORE_DIGITS: Final = "$\u20ac\u00a3\u00a5\u20b9"
_MARK: Final = "####"
_BOX: Final = "\\boxed{"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    value: Fraction
    """Exactly what was written; of `50%`, 50."""
    places: int | None
    """Decimal places; None of a fraction such as 1/3."""
    percent: bool
    """Whether a percent sign follows."""


def numeric(answer: str, references: Sequence[str]) -> float | None:
    r"""Whether the answer's final number is a reference's: GSM8K's measure (Cobbe et al. 2021).

    The final number stands after `####`, in `\boxed{}`, after `The answer is`, or else is the last one (see
    `final_number`). Numbers are compared by value, not by how they are written (see `same`).

    Args:
        answer: What the model said.
        references: Right answers, with or without their working; the best counts.

    Returns:
        1 or 0, 0 for an answer without a number; None where no reference has a number.
    """
    right = [number for number in map(final_number, references) if number is not None]
    if not right:
        return None
    said = final_number(answer)
    return float(said is not None and any(same(said, number) for number in right))


def final_number(text: str) -> Number | None:
    r"""Find the number that a text ends up with.

    The first that applies: after the first `####` (GSM8K's mark), in the last `\boxed{}` (that of MATH), after the
    last `The answer is` or `Answer:`, the last number. Thousands' commas, currency signs and minus signs are read, in
    the first three places and where the text is nothing but a number also blanks between thousands (1 234); a number of
    more than 100 digits is none.
    """
    plain = _LATEX_SPACE.sub(",", without_invisible(text))
    _, mark, marked = plain.partition(_MARK)
    if mark and (number := _first(_joined(marked))):
        return number
    _, box, boxed = plain.rpartition(_BOX)
    if box and (number := _first(_joined(boxed))):
        return number
    told = deque(_ANSWER_IS.finditer(plain), maxlen=1)
    if told and (number := _first(_joined(plain[told[0].end() : told[0].end() + _REACH]))):
        return number
    return _last(_joined(plain) if _BARE.fullmatch(plain.strip()) else plain)


def _joined(text: str) -> str:
    """Put commas in the place of blanks between thousands."""
    return _SPACED.sub(lambda found: found[1].replace(" ", ","), text)


def same(one: Number, other: Number) -> bool:
    """Whether two numbers are the same.

    Equal in value (1,000.0 and 1000, 0.5 and 1/2); or one is a fraction and the other its decimal, rounded to two
    places or more (1/3 and 0.33). A percent sign on one side only may be left out, as in GSM8K (50% and 50), or meant
    (50% and 0.5).
    """
    if _near(one, other):
        return True
    if one.percent == other.percent:
        return False
    written, bare = (one, other) if one.percent else (other, one)
    return written.value / 100 == bare.value


def is_number(text: str) -> bool:
    """Whether a text is nothing but a number, or ends with GSM8K's mark and one."""
    plain = without_invisible(text).strip()
    return (_MARK in plain or _BARE.fullmatch(plain) is not None) and final_number(plain) is not None


def _near(one: Number, other: Number) -> bool:
    if one.value == other.value:
        return True
    if one.places is None and other.places is not None:
        one, other = other, one
    if one.places is None or one.places < _FEWEST_PLACES or other.places is not None:
        return False
    return abs(one.value - other.value) <= Fraction(1, 2 * 10**one.places)


def _first(text: str) -> Number | None:
    """The number of the first line that has one; what stands after its last equals sign comes first."""
    start = _NUMBER.search(text)
    if start is None:
        return None
    end = text.find("\n", start.end())
    line = text[max(start.start() - 2, 0) : end if end >= 0 else len(text)][:_REACH]
    _, equals, result = line.rpartition("=")
    found = _NUMBER.search(result) if equals else None
    if found is not None:
        return _read(found, result)
    return _read(start, text)


def _last(text: str) -> Number | None:
    found = deque(_NUMBER.finditer(text), maxlen=1)
    return _read(found[0], text, last=True) if found else None


def _read(found: re.Match[str], text: str, *, last: bool = False) -> Number | None:
    """Read what was matched; None of a number that is too long, or divided by zero."""
    parts = found.groupdict("")
    if len(found.group()) > _MOST_DIGITS:
        return None
    if parts["over"] or parts["above"]:
        below = int(parts["under"] or parts["below"])
        if below == 0:
            return None
        value = int(parts["mixed"] or 0) + Fraction(int(parts["over"] or parts["above"]), below)
        places: int | None = None
    else:
        whole = parts["whole"].rstrip(",")
        if "," in whole and not _GROUPED.fullmatch(whole):  # a list: 1,2,3
            pieces = [piece for piece in whole.split(",") if piece]
            whole = pieces[-1] if last else pieces[0]
        digits = (parts["places"] or parts["only"])[1:]
        power = int(parts["power"][1:] or 0)
        if abs(power) > _MOST_EXPONENT:
            return None
        value = Fraction(int(whole.replace(",", "") + digits or 0), 10 ** len(digits)) * Fraction(10) ** power
        places = len(digits)
    negative = _is_negative(text, found.start())
    return Number(-value if negative else value, places, _PERCENT.match(text, found.end()) is not None)


def _is_negative(text: str, at: int) -> bool:
    """Whether a minus stands before a number, and not between two: `-5`, `-$5`, `$-5`; not `10-5`."""
    before = text[max(at - 3, 0) : at].rstrip(_BEFORE_DIGITS)
    if not before or before[-1] not in _MINUS:
        return False
    left = before[:-1].rstrip(_BEFORE_DIGITS)
    return not left or not (left[-1].isalnum() or left[-1] in ")]%")
