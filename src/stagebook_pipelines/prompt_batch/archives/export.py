"""Prompts written to a file: whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

import orjson

from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
from stagebook_pipelines.prompt_batch.archives.plain_lines import as_line

Form = Literal["jsonl", "txt"]
"""One object a line; or one prompt a line, as a JSON string where it is no plain line."""


def destination(form: Form | None, path: str | Path | None) -> tuple[Path, Form] | None:
    """Say where an export goes, and in which form.

    Args:
        form: The form, if it was said.
        path: The file, if it was said.

    Returns:
        The file and its form, the one told from the other; None where nothing was asked for.

    Raises:
        ValueError: The form is unknown, or the file's ending says none.
    """
    if form is None and path is None:
        return None
    if form is None:
        ending = Path(path or "").suffix.lstrip(".").lower()
        form = "jsonl" if ending in {"jsonl", "ndjson"} else cast("Form", ending)
    if form not in {"jsonl", "txt"}:
        raise ValueError(
            f"Prompts are exported as jsonl or txt, not as {form!r}; say export= or end the file's name so"
        )
    return Path(path) if path is not None else Path(f"prompts.{form}"), form


@contextmanager
def exported(path: Path, form: Form) -> Iterator["Export"]:
    """Write prompts to a file that takes its name when all of them are written and on disk.

    Args:
        path: The file; an older one of that name is replaced, at the end.
        form: Its form.

    Yields:
        What writes them.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        unfinished = Path(file.name)
        try:
            yield Export(cast("BinaryIO", file.file), form)
            file.flush()
            os.fsync(file.fileno())
            unfinished.chmod(0o666 & ~_mask())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def _mask() -> int:
    """The bits that new files of this process do not get; asking sets them, so they are put back at once."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class Export:
    """Writes prompts to an open file.

    Args:
        file: The file.
        form: Its form.
    """

    def __init__(self, file: BinaryIO, form: Form) -> None:
        self._file = file
        self._form = form

    def write(self, prompt: ExtractedPrompt) -> None:
        """Write one prompt."""
        if self._form == "jsonl":
            told = {name: value for name, value in vars(prompt).items() if value is not None and value != []}
            self._file.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        else:
            self._file.write(as_line(prompt.text).encode() + b"\n")
