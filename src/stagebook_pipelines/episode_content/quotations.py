"""Finds what a markdown text says that somebody said: block quotations and longer passages in quotation marks."""

import re
from dataclasses import dataclass

from stagebook_pipelines.episode_content.verbatim import FoldedText
from stagebook_pipelines.episode_content.words import count_words

_BLOCK = re.compile(r"(?:^[ \t]{0,3}>[^\n]*(?:\n|\Z))+", re.MULTILINE)
_QUOTE_MARK = re.compile(r"^[ \t]{0,3}>[ \t]?", re.MULTILINE)
_SHORT_WORD = "|".join(rf"(?<=\b[A-Z]{'[a-z]' * more})" for more in range(4))  # an initial, a title, a degree
_ATTRIBUTION = re.compile(
    rf"(?:^|\s)(?:[\u2014\u2013-]{{1,3}}|\u2015)[ \t]*\**(?=[A-Z])(?:[^.!?\n]|(?:{_SHORT_WORD})\.){{1,81}}\Z"
)
_INLINE = re.compile(r"[\"\u201c\u201e\u00ab]([^\"\u201c\u201d\u201e\u00ab\u00bb\n]+)[\"\u201d\u201c\u00bb]")
_ENTIRE = re.compile(r"\A[\"\u201c\u201e\u00ab\s]+|[\"\u201d\u201c\u00bb\s]+\Z")
_MIN_WORDS = 6
_OMISSION = re.compile(r"\s*(?:\[\s*(?:\.\.\.|\u2026)\s*\]|\(\s*(?:\.\.\.|\u2026)\s*\))\s*")


@dataclass(frozen=True, slots=True)
class Quotation:
    """Words that a text gives as somebody's own."""

    text: str
    """Without the quotation marks, the block's `>` and the name under it."""
    block: bool
    """Whether it is a block quotation."""


def find_quotations(markdown: str) -> tuple[Quotation, ...]:
    """The quotations of a text: every block quotation, and passages of six or more words in quotation marks."""
    blocks = [_QUOTE_MARK.sub("", match.group()).strip() for match in _BLOCK.finditer(markdown)]
    quoted = [Quotation(_ENTIRE.sub("", _ATTRIBUTION.sub("", block).strip()), block=True) for block in blocks]
    prose = _BLOCK.sub("\n", markdown)
    inline = [Quotation(match.group(1).strip(), block=False) for match in _INLINE.finditer(prose)]
    return tuple(
        quotation
        for quotation in quoted + inline
        if count_words(quotation.text) >= (1 if quotation.block else _MIN_WORDS)
    )


def not_verbatim(markdown: str, transcript: FoldedText) -> tuple[str, ...]:
    """The quotations that do not stand in the transcript word for word; `[...]` may stand for something left out."""
    return tuple(
        quotation.text
        for quotation in find_quotations(markdown)
        if not all(transcript.find(part) for part in _OMISSION.split(quotation.text) if part.strip())
    )
