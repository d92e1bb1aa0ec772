"""JSON as a database can hold it: no NUL characters, nothing that only Python calls JSON."""

import re
from typing import Final

import orjson

from stagebook.model.errors import WriteRefused

_NUL_ESCAPE: Final = rb"\u0000"
_ESCAPED_NUL: Final = re.compile(rb"((?<!\\)(?:\\\\)*)\\u0000")
_REPLACEMENT: Final = "�"


def clean_json(data: bytes, what: str) -> tuple[str, bool]:
    r"""Turn a JSON document into text that every database stores and every client reads.

    A NUL (`\u0000` inside a string) ends a text early in SQLite's JSON functions and is refused by PostgreSQL's
    `jsonb`, so it becomes U+FFFD. NaN and infinities are not JSON (RFC 8259, section 6) and would poison every later
    reader.

    Args:
        data: The document.
        what: Names the document in the error.

    Returns:
        The text, and whether a NUL was replaced.

    Raises:
        WriteRefused: The document is not UTF-8, or holds NaN or Infinity.
    """
    if b"NaN" in data or b"Infinity" in data:
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise WriteRefused(
                f"{what} is not JSON ({error}); NaN and infinities have no place there: "
                "write null or leave the field out"
            ) from None
    replaced = False
    if _NUL_ESCAPE in data:
        data, count = _ESCAPED_NUL.subn(rb"\g<1>" + _REPLACEMENT.encode(), data)
        replaced = count > 0
    try:
        return data.decode(), replaced
    except UnicodeDecodeError as error:
        raise WriteRefused(f"{what} is not UTF-8 ({error})") from None


def clean_text(text: str) -> str:
    """Make a text storable: NUL becomes U+FFFD, and so does half of a surrogate pair, which UTF-8 cannot carry."""
    if "\0" in text:
        text = text.replace("\0", _REPLACEMENT)
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
