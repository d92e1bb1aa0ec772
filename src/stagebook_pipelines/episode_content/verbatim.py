"""Finds a quotation in a transcript word for word, whatever typographic marks and white space it is set with."""

import html
import re
from dataclasses import dataclass

_MARKS = {
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "\u00b4": "'", "`": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2015": "-", "\u2212": "-",
    "\u2026": "...", "\ufb01": "fi", "\ufb02": "fl",
}  # fmt: skip
_DROPPED = frozenset("*\u00ad\u200b\u200c\u200d\u2060\ufeff")
_UNIT = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|\\(?=[\\`*_{}\[\]()#+\-.!>~|])"
    r"|\s+|(?P<plain>[A-Za-z0-9,.;:!?'()]+)|.",
    re.DOTALL,
)
_OUTER = " \t\n\"'.,;:!?-"


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A text with its marks and white space folded, that remembers where every character came from."""

    text: str
    """Straight quotes, one kind of dash without spaces around it, `...`, single spaces, no emphasis stars."""
    starts: tuple[int, ...]
    """For every character of `text`, the offset in the original where it begins."""
    ends: tuple[int, ...]
    """For every character of `text`, the offset in the original after it."""

    def find(self, quotation: str) -> tuple[int, int] | None:
        """The place in the original where `quotation` stands word for word, or None.

        Marks around the quotation may differ, as in `"So it is," she said` for `So it is.`; letters, their case and
        order may not.
        """
        whole = fold(quotation).text.strip()
        bare = whole.strip(_OUTER)
        return self._at_words(whole) or self._at_words(bare) if bare else None

    def _at_words(self, wanted: str) -> tuple[int, int] | None:
        begin = self.text.find(wanted)
        while begin >= 0:
            end = begin + len(wanted)
            cut_before = begin > 0 and self.text[begin - 1].isalnum() and wanted[0].isalnum()
            cut_after = end < len(self.text) and self.text[end].isalnum() and wanted[-1].isalnum()
            if not cut_before and not cut_after:
                return self.starts[begin], self.ends[end - 1]
            begin = self.text.find(wanted, begin + 1)
        return None


def fold(text: str) -> FoldedText:
    """Folds the marks and white space of `text`, keeping for every character its place in `text`."""
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _UNIT.finditer(text):
        begin, end = match.span()
        if match.lastgroup == "plain":
            characters += match.group()
            starts += range(begin, end)
            ends += range(begin + 1, end + 1)
            continue
        for character in _folded(match.group()):
            last = characters[-1] if characters else " "
            if character == " " and last in " -":
                continue
            if character == "-" and last == " " and characters:
                del characters[-1], starts[-1], ends[-1]
                last = characters[-1] if characters else " "
            if character == last == "-":
                ends[-1] = end
                continue
            characters.append(character)
            starts.append(begin)
            ends.append(end)
    return FoldedText("".join(characters), tuple(starts), tuple(ends))


def verify_quote(text: str, transcript: str) -> tuple[int, int] | None:
    """Where `text` stands in `transcript` word for word, as offsets `transcript[start:end]`; None where it does not.

    To look for many quotations in one transcript, `fold` it once and ask its `find`.
    """
    return fold(transcript).find(text)


def _folded(unit: str) -> str:
    if unit.isspace():
        return " "
    if len(unit) > 1:
        unit = html.unescape(unit)
    if unit in _DROPPED or unit == "\\":
        return ""
    if unit.isspace():
        return " "
    return _MARKS.get(unit, unit)
