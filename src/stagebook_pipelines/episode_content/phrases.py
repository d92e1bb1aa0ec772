"""Counts phrases that are typical of machine writing: those in `phrases.txt`, one a line, and some turns of speech."""

import re
from pathlib import Path

_WORDED = Path(__file__).with_name("phrases.txt").read_text(encoding="utf-8").splitlines()
_SHAPED = {
    "not just X, but Y": r"\bnot (?:just|only|merely|simply) [^.!?\n]{2,60}?,? but\b",
    "it's not about X, it's about Y": (
        r"\b(?:it's not|it is not|it isn't|this isn't|that's not) (?:just |only )?about [^.!?\n]{2,60}?[,;.\u2014-]+ ?"
        r"(?:it's|it is|that's) about\b"
    ),
    "isn't just X, it's Y": (
        r"\b(?:isn't|is not|wasn't|aren't|are not) (?:just|only|merely|simply) [^.!?\n]{2,60}?[,;.\u2014-]+ ?"
        r"(?:it's|it is|they're|they are)\b"
    ),
    "more than just": r"\bmore than just\b",
    "and everything in between": r"\band everything in between\b",
}


def _worded(phrase: str) -> str:
    spaced = re.escape(phrase).replace(r"\ ", r"\s+").replace(r"\-", r"[-\u2011\s]")
    return rf"(?<!\w){spaced}" + (r"(?!\w)" if phrase[-1].isalnum() else "")


_PATTERNS = {
    phrase: re.compile(pattern, re.IGNORECASE)
    for phrase, pattern in sorted({**{phrase: _worded(phrase) for phrase in _WORDED}, **_SHAPED}.items())
}


def count_phrases(text: str) -> dict[str, int]:
    """How often each typical phrase stands in `text`, the most frequent first; those that do not occur are left out."""
    folded = text.replace("\u2019", "'").replace("\u2018", "'")
    counts = {phrase: sum(1 for _ in pattern.finditer(folded)) for phrase, pattern in _PATTERNS.items()}
    found = [(phrase, count) for phrase, count in counts.items() if count]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))
