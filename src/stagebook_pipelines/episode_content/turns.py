"""Cuts a transcript into speaker turns, whatever way its speakers are labelled."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from stagebook_pipelines.episode_content.markup import TIME_MARK
from stagebook_pipelines.episode_content.speakers import one_name_each, person_key

_CLOCK = rf"(?:{TIME_MARK}|(?:\d{{1,2}}:)?\d{{1,2}}:\d{{2}}(?:[.,]\d{{1,3}})?(?=[ \t]))"
_LABEL = re.compile(
    rf"^[ \t\ufeff]*(?:>>+[ \t]*)?(?P<clock>{_CLOCK}[ \t]*)?"
    r"(?:(?P<strong>\*\*|__)(?P<bold>[^*\n]{1,80}?)(?:[:\uff1a][ \t]*(?P=strong)|(?P=strong)[ \t]*[:\uff1a])"
    rf"|(?P<plain>[^\W_][^\n:\uff1a*\[\]!?\"]{{0,59}}?)(?P<after>[ \t]*{_CLOCK})?[ \t]*(?:[:](?=\s|$)|\uff1a))",
    re.MULTILINE,
)
_MAY_BE_SMALL = re.compile(
    r"d[aeiu]|el?|l[ae]|van|von|der|den|bin|al|y|and|of|speaker|host|guest|interviewer|narrator|caller",
)
_NO_SPEAKER = re.compile(
    r"(?:(?:ad|commercial|sponsor) )?break|ads?|advertisement|commercial|sponsors?|(?:(?:theme|intro|outro) )?music"
    r"|jingle|intro|outro",
)
_NO_NAME = re.compile(
    r"also|again|and|answer|but|caution|date|example|finally|first|here|hint|listen|look|maybe|nope|not|note|now|okay|or"
    r"|please|question|remember|second|so|still|summary|then|there|third|tip|title|today|warning|well|what|why|yes|yet",
)
_NOT_NAME = re.compile(rf"{TIME_MARK}|\([^)]*\)")
_MAX_NAME_WORDS = 6
_REPEATED = 2
_BLANK_LINE = re.compile(r"\r?\n[ \t]*\r?\n")


@dataclass(frozen=True, slots=True)
class Turn:
    """An uninterrupted stretch of a transcript that one person says."""

    label: str | None
    """The speaker's name as printed at this place; None where none is printed."""
    speaker: str | None
    """The one name that this person has in the whole episode."""
    start: int
    """Offset in the transcript of the first character after the label."""
    end: int
    """Offset after the last character."""


@dataclass(frozen=True, slots=True)
class _Label:
    name: str
    start: int
    end: int


def split_turns(transcript: str) -> tuple[Turn, ...]:
    """Cuts `transcript` into turns; a transcript without labels is one turn.

    Labels are `**Name:**`, `[00:01:02] NAME:`, `NAME [00:01:02]:`, `>> NAME:` and plain `Name:` at the start of a line.
    The paragraph of a `**Break:**` is left out; paragraphs after it without a label have no speaker.
    """
    labels = _labels(transcript)
    names = one_name_each(label.name for label in labels if not _is_break(label))
    turns: list[Turn] = []
    if head := transcript[: labels[0].start if labels else len(transcript)]:
        turns.append(Turn(None, None, 0, len(head)))
    ends = [label.start for label in labels[1:]] + [len(transcript)] * bool(labels)
    for label, end in zip(labels, ends, strict=True):
        if _is_break(label):
            blank = _BLANK_LINE.search(transcript, label.end, end)
            turns.append(Turn(None, None, blank.end() if blank else end, end))
        else:
            turns.append(Turn(label.name, names[label.name], label.end, end))
    return tuple(turn for turn in turns if transcript[turn.start : turn.end].strip())


def _labels(transcript: str) -> list[_Label]:
    found = [match for match in _LABEL.finditer(transcript) if _looks_like_a_name(match)]
    sure = [match for match in found if match["bold"] or match["clock"] or match["after"]]
    chosen = sure if any(match["bold"] for match in sure) else [*_plain(transcript, found)]
    return [_Label(_name(match), match.start(), match.end()) for match in chosen]


def _plain(transcript: str, found: list[re.Match[str]]) -> Iterator[re.Match[str]]:
    """All where half of the paragraphs or lines begin with a label; else those that come back or have a time."""
    times = Counter(person_key(_name(match)) for match in found)
    paragraphs = sum(1 for part in _BLANK_LINE.split(transcript) if part.strip())
    lines = sum(1 for line in transcript.splitlines() if line.strip())
    usual = _REPEATED * len(found) >= min(paragraphs, lines)
    for match in found:
        timed = match["clock"] or match["after"]
        if timed or times[person_key(_name(match))] >= _REPEATED or usual:
            yield match


def _looks_like_a_name(match: re.Match[str]) -> bool:
    words = _name(match).split()
    if not words or _NO_NAME.fullmatch(" ".join(words).casefold()):
        return False
    if match["bold"]:
        return True
    small = any(word[0].islower() and not _MAY_BE_SMALL.fullmatch(word) for word in words)
    return len(words) <= _MAX_NAME_WORDS and words[0][0].isalpha() and not small


def _name(match: re.Match[str]) -> str:
    return _NOT_NAME.sub(" ", match["bold"] or match["plain"]).strip()


def _is_break(label: _Label) -> bool:
    return _NO_SPEAKER.fullmatch(label.name.strip(" *_").casefold()) is not None
