r"""What stands in a transcript beside speech: time marks, sound notes, escapes and character references."""

import html
import re

TIME_MARK = r"\\?[\[(]\s*(?:\d{1,2}:)?\d{1,3}:\d{2}(?:[.,]\d{1,3})?\s*\\?[\])]"
r"""Matches `[04:13]`, `\[01:05:56.21\]` and `(12:40)`."""

NOTE = (
    rf"(?:{TIME_MARK}|\\?\[[^\[\]\n]{{0,80}}\]"
    r"|\((?i:laughs?|laughing|laughter|chuckles?|sighs?|pauses?|music|applause|crosstalk|inaudible|unintelligible)\))"
)
r"""Matches a time mark, anything short in square brackets (`\[laughter\]`, `[unintelligible 01:23]`) and `(laughs)`."""

_TIME = re.compile(rf"(?:{TIME_MARK})|^\s*(?:\d{{1,2}}:)?\d{{1,3}}:\d{{2}}\b", re.MULTILINE)
_NOTE = re.compile(NOTE)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!>~|])")
_CLOCK_PART = re.compile(r"\d+")
_SECONDS_IN_A_MINUTE = 60


def readable(text: str) -> str:
    r"""`text` on one line, as a person would read it: no notes, `\[` as `[`, `&#39;` as `'`, white space folded."""
    return " ".join(_ESCAPE.sub(r"\1", html.unescape(_NOTE.sub(" ", text))).split())


def last_time_mark(text: str) -> tuple[float, int] | None:
    """The minutes that the last time mark tells and the offset where it ends, or None without one."""
    marks = list(_TIME.finditer(text))
    if not marks:
        return None
    clock = [int(part) for part in _CLOCK_PART.findall(re.split(r"[.,]", marks[-1].group())[0])]
    seconds = 0
    for part in clock:
        seconds = seconds * _SECONDS_IN_A_MINUTE + part
    return seconds / _SECONDS_IN_A_MINUTE, marks[-1].end()
