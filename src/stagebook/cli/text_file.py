"""Files that a user names: read whole, with one clear sentence for each way in which one cannot be used."""

import json
from pathlib import Path
from typing import Any, Final

import orjson

from stagebook.model.errors import InputError

MOST_BYTES: Final = 20 * 1024 * 1024
"""Largest input file. A long book is about 5 MB of text; what is larger was hardly meant."""


def read_text(path: Path, what: str) -> str:
    """Read a text file exactly as it is, but for a byte order mark.

    Args:
        path: The file; a pipe will do.
        what: Names it in errors: `the input talk.txt`.

    Raises:
        InputError: It is not there, is a folder, empty, too big, not UTF-8, or holds NULs.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{what} is not there: no file {str(path)!r} in {Path.cwd()}") from None
    except IsADirectoryError:
        raise InputError(f"{what} is a folder; name a file in it") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise InputError(f"{what} is larger than {MOST_BYTES // 1024**2} MB, the most that an input may have; split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is not UTF-8 text (byte {error.start} is {data[error.start]:#04x}); "
            "convert it, for example with: iconv -f WINDOWS-1252 -t UTF-8"
        ) from None
    if not text.strip():
        raise InputError(f"{what} is empty; write something into it, or name another file")
    if "\0" in text:
        raise InputError(f"{what} is not text: character {text.index(chr(0))} is a NUL; save it as plain text in UTF-8")
    return text


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: As `read_text`, or it is not JSON (the text says where), or an object has a key twice.
    """
    text = read_text(path, what)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{what} is not JSON: {error.msg.split(':')[0]} at line {error.lineno}, column {error.colno}; "
            "correct it there"
        ) from None
    refuse_twice(text, what)
    return found


def refuse_twice(text: str, what: str) -> None:
    """Refuse an object with one key twice: parsers differ in which value they take, and the other is lost unsaid.

    Args:
        text: JSON.
        what: Names it in errors.

    Raises:
        InputError: There is one.
    """

    def once(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InputError(f"{what} has the key {key!r} twice in one object; keep one of them")
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise InputError(f"{what} is nested too deeply; write it with fewer objects inside each other") from None
