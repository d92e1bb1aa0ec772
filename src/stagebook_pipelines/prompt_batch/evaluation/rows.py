"""Responses as they come: models, rows of a table, lines of a file."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from pydantic import BaseModel

from stagebook_pipelines.prompt_batch.evaluation.plain_text import mended

ResponseRow = Mapping[str, Any] | BaseModel
"""A response: `prompt`, `response`, `success`, `error`; where it has them, `key` or `id`, `experiment_name`, and a list
`references`."""

_NO: Final = frozenset({"", "0", "f", "false", "n", "no"})


class Row(NamedTuple):
    """One response, read."""

    key: str
    prompt: str
    answer: str | None
    """None where the call failed."""
    experiment: str | None
    references: tuple[str, ...] = ()
    """Right answers that the response brings itself; they count instead of those of its prompt."""


def read_row(given: ResponseRow) -> Row:
    """Read a response; of a table of CSV or SQLite, `success` may be text or a number.

    Raises:
        ValueError: It has no prompt, or is none of the shapes.
    """
    if isinstance(given, ValueError):  # a line that is no JSON: it says which
        raise given
    if not isinstance(given, Mapping | BaseModel):
        raise ValueError(f"a response is a mapping or a model, not {type(given).__name__}")  # noqa: TRY004  told like the others
    prompt = _field(given, "prompt")
    if not isinstance(prompt, str):
        raise ValueError("a response has no text in its field prompt")  # noqa: TRY004  as above
    answer = _field(given, "response")
    failed = not isinstance(answer, str) or not _succeeded(given)
    experiment = _field(given, "experiment_name")
    right = _field(given, "references")
    return Row(
        key=mended(str(_key(given, prompt))),
        prompt=mended(prompt),
        answer=None if failed else mended(str(answer)),
        experiment=mended(experiment) if isinstance(experiment, str) and experiment else None,
        references=tuple(mended(one) for one in right if isinstance(one, str)) if isinstance(right, list) else (),
    )


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Read a file of JSON lines, one by one, with their numbers; empty ones are passed over.

    A line that is no JSON is given as the `ValueError` that says so.

    Raises:
        ValueError: There is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                bare = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
                if not bare:
                    continue
                try:
                    yield number, orjson.loads(bare)
                except orjson.JSONDecodeError as error:
                    yield number, ValueError(f"{path}, line {number}: no JSON: {error}")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error


def _key(given: ResponseRow, prompt: str) -> Any:
    for name in ("key", "id"):
        value = _field(given, name)
        if value is not None and value != "":
            return value
    return blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _succeeded(given: ResponseRow) -> bool:
    told = _field(given, "success")
    if told is None:
        return not _field(given, "error")
    return told.strip().lower() not in _NO if isinstance(told, str) else bool(told)


def _field(given: ResponseRow, name: str) -> Any:
    return given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
