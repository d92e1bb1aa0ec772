"""Words, counted the same way everywhere: a character of a script without spaces is a word of its own."""

import re

_NO_SPACES = r"\u0e00-\u0fff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_SPAN = re.compile(rf"[{_NO_SPACES}]|[^\s{_NO_SPACES}]{{1,60}}")
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W_{_NO_SPACES}]+(?:['\u2019.&-][^\W_{_NO_SPACES}]+)*")


def word_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where the words of `text[start:end]` stand, with the marks that hang on them, as offsets in `text`."""
    return [match.span() for match in _SPAN.finditer(text, start, end)]


def count_words(text: str) -> int:
    """How many words `text` has: `don't` and `well-known` are one each, a dash alone is none."""
    return sum(1 for _ in _WORD.finditer(text))
