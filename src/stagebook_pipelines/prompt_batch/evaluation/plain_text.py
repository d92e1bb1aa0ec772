"""Texts made comparable: SQuAD's normalisation, widened to the scripts and invisible characters that answers have."""

import re
import string
import unicodedata

_SURROGATES = re.compile("[\ud800-\udfff]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WORDS = re.compile(r"[^\W_]+")
_ASCII_MARKS = frozenset(string.punctuation)


def mended(text: str) -> str:
    """Put U+FFFD in the place of lone surrogates, which neither JSON nor a database takes."""
    return _SURROGATES.sub("\ufffd", text)


def without_invisible(text: str) -> str:
    """Fold compatibility forms (Unicode NFKC) and drop format characters (zero-width, directional)."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(character for character in folded if unicodedata.category(character) != "Cf")


def normalise(text: str) -> str:
    """Normalise an answer as SQuAD's evaluation does.

    Lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016, `evaluate-v1.1.py`). Of plain English
    text the result is the script's own. Of other text, invisible characters and all of Unicode's punctuation go as
    well, and case is folded.
    """
    lowered = without_invisible(text).casefold()
    bare = "".join(character for character in lowered if not _is_mark(character))
    return " ".join(_ARTICLES.sub(" ", bare).split())


def words(text: str) -> list[str]:
    """Split a text as rouge-score does: lower case, runs of letters and digits, of any script."""
    return _WORDS.findall(without_invisible(text).casefold())


def _is_mark(character: str) -> bool:
    return character in _ASCII_MARKS or (not character.isascii() and unicodedata.category(character)[0] == "P")
