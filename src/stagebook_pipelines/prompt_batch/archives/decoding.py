"""The bytes of one record become what they say, also where they are not quite JSON."""

import json
import re
from typing import Any

import orjson

_TRAILING_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+")|,(?=\s*[}\]])', re.DOTALL)
_DEEPEST = 1024
"""How deep orjson goes; a conversation of any known shape is not a tenth as deep."""


class Unreadable(Exception):
    """The bytes of a record say nothing that can be read; the text says why."""


def decoded(raw: bytes) -> tuple[Any, str | None]:
    """Read one JSON value.

    Strict UTF-8 and JSON are read by orjson. What it refuses is read once more with more patience: numbers such as NaN,
    raw line breaks in strings, lone surrogates, commas before a closing bracket, bytes of Windows-1252.

    Args:
        raw: The value's bytes.

    Returns:
        What it says, and a remark where patience was needed.

    Raises:
        Unreadable: It cannot be told what it says.
    """
    try:
        return orjson.loads(raw), None
    except orjson.JSONDecodeError as problem:
        why = problem.msg
    text, remark = as_text(raw)
    try:
        value = _patiently(text)
    except RecursionError:
        raise Unreadable(f"is nested deeper than {_DEEPEST:,} levels") from None
    except ValueError:
        raise Unreadable(f"is not JSON ({why})") from None
    return value, remark or f"is not strict JSON ({why}), and was read nevertheless"


def _patiently(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError:
        return json.loads(_TRAILING_COMMA.sub(lambda found: found[1] or "", text), strict=False)


def as_text(raw: bytes) -> tuple[str, str | None]:
    """Decode UTF-8; bytes that are not are taken for Windows-1252 (a superset of Latin-1), or replaced.

    Args:
        raw: The bytes.

    Returns:
        The text, and a remark where it is not UTF-8. Bytes that hold some UTF-8 beyond ASCII and some that is none are
        UTF-8 that was damaged: what is damaged is replaced by U+FFFD.
    """
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        damaged = raw.decode(errors="replace")
    if any(letter > "\x7f" and letter != "\ufffd" for letter in damaged):
        return damaged, "holds bytes that are not UTF-8; they were replaced by U+FFFD"
    return raw.decode("cp1252", errors="replace"), "is not UTF-8; it was read as Windows-1252"


def whole(text: str) -> str:
    """Replace lone surrogates, which no file and no request can hold, by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
