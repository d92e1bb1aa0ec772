"""Cuts numbered sentences into windows that fit a model's context, each rendered as numbered lines."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from stagebook_pipelines.episode_content.markup import readable
from stagebook_pipelines.episode_content.sentences import Sentence
from stagebook_pipelines.episode_content.tokens import estimate_tokens

_RESERVE = 1.1  # models with a smaller vocabulary make more tokens of the same text
_NOBODY = "Unnamed"


@dataclass(frozen=True, slots=True)
class SentenceWindow:
    """Neighbouring sentences that are sent to a model together."""

    first: int
    """Number of the first sentence."""
    last: int
    """Number of the last sentence."""
    text: str
    """One line a sentence: `[12] Speaker: sentence` where a passage begins, `[13] sentence` where it goes on."""
    tokens: int
    """What the text costs at most, estimated."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    name: str
    said: str
    tokens: int
    naming: int

    def text(self, *, begins: bool) -> str:
        return f"[{self.number}] {self.name if begins else ''}{self.said}"


_Window = list[tuple[_Line, bool]]  # lines, each with whether it names its speaker


def cut_windows(transcript: str, sentences: Sequence[Sentence], budget: int) -> tuple[SentenceWindow, ...]:
    """Cuts into as few windows of `budget` tokens as possible, of about equal size.

    Every sentence is in exactly one window and whole. A passage is cut only where it is longer than a window. A single
    sentence that is longer than the budget is a window of its own.
    """
    named = any(sentence.speaker for sentence in sentences)
    passages = [
        [_line(transcript, sentence, named=named) for sentence in group]
        for _, group in groupby(sentences, key=lambda sentence: sentence.passage)
    ]
    return tuple(
        SentenceWindow(
            first=window[0][0].number,
            last=window[-1][0].number,
            text="\n".join(line.text(begins=begins) for line, begins in window),
            tokens=_size(window),
        )
        for window in _fill(passages, budget)
    )


def _line(transcript: str, sentence: Sentence, *, named: bool) -> _Line:
    said = readable(transcript[sentence.start : sentence.end])
    name = f"{sentence.speaker or _NOBODY}: " if named else ""
    return _Line(sentence.number, name, said, _tokens(f"[{sentence.number}] {said}\n"), _tokens(name))


def _tokens(text: str) -> int:
    return math.ceil(_RESERVE * estimate_tokens(text))


def _size(window: _Window) -> int:
    return sum(line.tokens + line.naming * begins for line, begins in window)


def _fill(passages: list[list[_Line]], budget: int) -> Iterator[_Window]:
    window: _Window = []
    used = 0
    sizes = [passage[0].naming + sum(line.tokens for line in passage) for passage in passages]
    left = sum(sizes)
    fair = _fair(left, budget)
    for passage, size in zip(passages, sizes, strict=True):
        # a whole passage waits for the next window where it does not fit or most of it is past this one's fair share
        if window and size <= budget and (used + size > budget or used + size / 2 > fair):
            yield window
            window, used, fair = [], 0, _fair(left, budget)
        for place, line in enumerate(passage):
            full = used + line.tokens + line.naming > budget or (size > budget and used >= fair)
            if window and full:
                yield window
                window, used, fair = [], 0, _fair(left, budget)
            begins = place == 0 or not window
            window.append((line, begins))
            used += line.tokens + line.naming * begins
            left -= line.tokens + line.naming * (place == 0)
    if window:
        yield window


def _fair(left: int, budget: int) -> float:
    """What a window should hold so that the rest is cut evenly: all of it where it fits into one."""
    return math.inf if left <= budget else left / math.ceil(left / budget)
