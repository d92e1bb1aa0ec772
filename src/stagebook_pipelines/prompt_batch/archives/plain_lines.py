"""Plain text with a prompt on every line, and how a prompt is written there that is no plain line."""

import re
from collections.abc import Iterator

import orjson

from stagebook_pipelines.prompt_batch.archives.decoding import as_text
from stagebook_pipelines.prompt_batch.archives.lines import lines
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Record, Trouble

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
MARKED = re.compile(r"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)
"""How a web page or XML begins."""
_LIKE_JSON = ("{", "[{", "\ufeff")
_LIKE_HEADER = re.compile(r"[\w.-]+(?:\s*[,;|\t]\s*[\w.-]+)+")


def as_line(prompt: str) -> str:
    """Write a prompt as one line.

    Args:
        prompt: The prompt.

    Returns:
        The prompt itself; or, where the line would not be read as that prompt (it has line breaks, blanks around it,
        control characters, or looks like the beginning of JSON, of a table or of a web page), a JSON string.
    """
    return orjson.dumps(prompt).decode() if _no_plain_line(prompt) else prompt


def from_line(line: str) -> str:
    """Read a line: of a JSON string that `as_line` writes, its text; else the line, without blanks around it.

    What a person has put in quotes for other reasons stays in quotes.
    """
    stripped = line.strip()
    quoted = _unquoted(stripped)
    return stripped if quoted is None else quoted


def text_lines(stream: ByteStream, largest: int) -> Iterator[Record | Trouble]:
    """Read plain text, in which every line that is not blank is a prompt.

    Args:
        stream: The bytes.
        largest: Bytes that a line may have.

    Yields:
        The lines, and what is wrong with them.
    """
    index = 0
    for number, place, line in lines(stream, largest):
        if isinstance(line, Trouble):
            yield Trouble(line.message, index, place, number)
            index += 1
        elif line.strip():
            text, remark = as_text(line)
            if remark is not None:
                yield Trouble(remark, index, place, number, lost=False)
            yield Record(from_line(text), index, place, number)
            index += 1


def _no_plain_line(prompt: str) -> bool:
    return (
        prompt != prompt.strip()
        or len(prompt.splitlines()) > 1
        or prompt == "["
        or prompt.startswith(_LIKE_JSON)
        or _CONTROL.search(prompt) is not None
        or MARKED.match(prompt) is not None
        or _LIKE_HEADER.fullmatch(prompt) is not None
        or _unquoted(prompt) is not None
    )


def _unquoted(line: str) -> str | None:
    """The text of a JSON string, if it is one that could not stand as a line itself."""
    if len(line) > 1 and line[0] == line[-1] == '"':
        try:
            text = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        return text if _no_plain_line(text) else None
    return None
