"""Files that a user names: read whole, with one clear sentence for each way in which one cannot be used."""

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
        InputError: It is not there, is a folder, empty, too big, or not UTF-8.
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
        raise InputError(f"{what} is empty")
    return text


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: As `read_text`, or it is not JSON; the text says where.
    """
    text = read_text(path, what)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{what} is not JSON: {error.msg.split(':')[0]} at line {error.lineno}, column {error.colno}"
        ) from None
