"""Cuts a transcript into numbered sentences, each with its exact place in the original text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stagebook_pipelines.episode_content.abbreviations import ends_in_abbreviation
from stagebook_pipelines.episode_content.markup import NOTE
from stagebook_pipelines.episode_content.turns import Turn, split_turns
from stagebook_pipelines.episode_content.words import word_spans

MAX_WORDS = 60
"""A sentence of more words, as in a transcript without punctuation, is cut into pieces of at most so many."""

_CLOSERS = r"(?:[\"'\u201d\u2019\u00bb)\]*]|&quot;|&#0?3[49];|&rdquo;|&rsquo;|\\\])*"
_STOP = re.compile(
    rf"(?P<stop>[.!?…\u061f\u0964]+){_CLOSERS}(?=\s|$|\\?\[)|(?P<wide>[。！？｡]+){_CLOSERS}|\r?\n[ \t]*(?:\r?\n\s*)+",  # noqa: RUF001 full-width marks end sentences
)
_CLOSED = re.compile(
    r"[\"'\u201d\u2019\u00bb*;]$"
)  # the mark that closes a quotation, or the end of its character reference
_NEXT_WORD = re.compile(r"(?:\s|&quot;|&#0?3[49];|&[lr][ds]quo;|[^\w\s])*(?P<word>[\w']*)")
_LEADING = re.compile(rf"(?:\s|{NOTE})+")
_TRAILING = re.compile(rf"(?:\s|{NOTE})+\Z")
_LIST_NUMBER = re.compile(r"\s*\d{1,3}\.")
_SOFT_BREAK = re.compile(r"[,;:)\u2013\u2014\u3001\uff0c-]$")
_HAS_SPEECH = re.compile(r"[^\W_]")
_CASED_SHARE = 0.005
_TRAIL_SEARCH = 200


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a transcript; `transcript[start:end]` is its text, word for word."""

    number: int
    """From 1, through the whole transcript."""
    passage: int
    """Sentences of one passage have one speaker and nothing but white space between them."""
    speaker: str | None
    """The one name of the person in this episode; None where the transcript does not tell."""
    start: int
    end: int


def split_sentences(transcript: str) -> tuple[Sentence, ...]:
    """Cuts the whole transcript into sentences, in their order.

    Labels, the paragraphs of breaks, time marks and sound notes between sentences are in none of them; every other word
    is in exactly one. A sentence ends with its closing quotation mark. Text without punctuation is cut by `MAX_WORDS`.
    """
    cased = _is_cased(transcript)
    sentences: list[Sentence] = []
    passage = 0
    for turn in split_turns(transcript):
        reached = None
        for start, end in _pieces(transcript, turn, cased=cased):
            if reached is None or transcript[reached:start].strip():
                passage += 1
            sentences.append(Sentence(len(sentences) + 1, passage, turn.speaker, start, end))
            reached = end
    return tuple(sentences)


def _is_cased(transcript: str) -> bool:
    letters = sum(map(str.isalpha, transcript))
    return sum(map(str.isupper, transcript)) > _CASED_SHARE * letters


def _pieces(transcript: str, turn: Turn, *, cased: bool) -> Iterator[tuple[int, int]]:
    for start, end in _between_stops(transcript, turn, cased=cased):
        trimmed = _trim(transcript, start, end)
        if _HAS_SPEECH.search(transcript, *trimmed):
            yield from _bounded(transcript, *trimmed)


def _between_stops(transcript: str, turn: Turn, *, cased: bool) -> Iterator[tuple[int, int]]:
    start = turn.start
    for match in _STOP.finditer(transcript, turn.start, turn.end):
        if match["stop"] is None or _is_boundary(transcript, match, start, turn.end, cased=cased):
            yield start, match.end()
            start = match.end()
    yield start, turn.end


def _is_boundary(transcript: str, match: re.Match[str], start: int, limit: int, *, cased: bool) -> bool:
    stop = match["stop"]
    after = _LEADING.match(transcript, match.end(), limit)
    opening = _NEXT_WORD.match(transcript, after.end() if after else match.end(), limit)
    following = opening["word"] if opening else ""
    if stop == "." and ends_in_abbreviation(transcript, match.start("stop"), following):
        return False
    if stop == "." and _LIST_NUMBER.fullmatch(transcript, start, match.end("stop")):
        return False
    if not (cased and following[:1].islower()):
        return True
    # a small letter goes on after "...", after a stop inside a quotation, after an abbreviation that is not known here
    return set(stop) <= {"?", "!"} and not _CLOSED.search(match.group())


def _trim(transcript: str, start: int, end: int) -> tuple[int, int]:
    if leading := _LEADING.match(transcript, start, end):
        start = leading.end()
    if trailing := _TRAILING.search(transcript, max(start, end - _TRAIL_SEARCH), end):
        end = trailing.start()
    return start, end


def _bounded(transcript: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cuts a sentence of too many words into pieces of even length, at commas and dashes where one is near."""
    words = word_spans(transcript, start, end)
    parts = -(-len(words) // MAX_WORDS)
    first = 0
    for left in range(parts, 1, -1):
        ideal = -(-(len(words) - first) // left)
        reach = min(ideal // 3, MAX_WORDS - ideal)
        near = sorted(range(max(1, ideal - ideal // 3), ideal + reach + 1), key=lambda size: abs(size - ideal))
        soft = [size for size in near if _SOFT_BREAK.search(transcript[slice(*words[first + size - 1])])]
        # what remains must still fit into the pieces that are left
        fits = [size for size in soft if len(words) - first - size <= (left - 1) * MAX_WORDS]
        size = (fits or [ideal])[0]
        yield words[first][0], words[first + size - 1][1]
        first += size
    if words:
        yield words[first][0], words[-1][1]
