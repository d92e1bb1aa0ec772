"""A response as the row that is stored."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from stagebook_pipelines.prompt_batch.results import Response

KEY: Final = "record_key"
"""The column, or the field of `metadata`, that tells by what a result is known."""
KEY_BYTES: Final = 16
COLUMNS: Final = (
    "prompt",
    "response",
    "model",
    "success",
    "error",
    "timestamp",
    "duration_ms",
    "tokens_used",
    "metadata",
    "experiment_name",
    "tags",
)
"""Of every table of results, in this order."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL characters and lone surrogates, which no database's text can hold."""
_REPLACEMENT: Final = "\ufffd"


class Record(NamedTuple):
    """One row."""

    prompt: str
    response: str | None
    model: str | None
    success: bool
    error: str | None
    timestamp: str
    """ISO 8601 with its zone."""
    duration_ms: int | None
    tokens_used: int | None
    metadata: str
    """JSON object."""
    key: str
    """Hexadecimal; the same result has the same, whoever stores it again."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What all rows that are stored together share."""

    experiment_name: str | None = None
    """The experiment that they belong to."""
    model_name: str | None = None
    """Who answered, where a response does not say."""
    tags: tuple[str, ...] = ()
    """Labels to find them by."""
    metadata: Mapping[str, Any] | None = None
    """Put into every row's metadata; what a response says of itself is stronger."""


class Made(NamedTuple):
    """A record, and what had to be replaced in it."""

    record: Record
    replaced: tuple[str, ...]
    """Fields in which characters that no database takes became U+FFFD."""
    named: bool
    """Whether the response itself said by what it is known."""


class Result(NamedTuple):
    """What a row is made of: a response, flat."""

    prompt: str
    response: str | None
    model: str | None
    success: bool
    error: str | None
    timestamp: datetime | None
    duration_ms: int | None
    tokens_used: int | None
    facts: Mapping[str, Any]
    """Whatever else is known of it."""
    known_by: str | None = None
    """Its key, where there is one."""
    asked_how: str = ""
    """A hash of how it was asked, where that is more than the model's name."""


def result_of(response: Response, experiment: str | None = None) -> Result:
    """Take a response apart; `record_key` in its metadata says by what it is known within its experiment."""
    metadata = response.metadata
    facts = dict(metadata.model_extra or {})
    named = facts.pop(KEY, None)
    return Result(
        response.prompt,
        response.response,
        response.model,
        response.success,
        response.error,
        response.timestamp,
        metadata.duration_ms,
        metadata.tokens_used,
        facts,
        None if named is None else str(named) if experiment is None else key_of(KEY, experiment, str(named)),
    )


def make_record(result: Result, heading: Heading, occurrence: int, now: datetime) -> Made:
    """Make a row.

    Args:
        result: What it is made of. Where it has no key, that follows from all of it.
        heading: What its rows share.
        occurrence: How many that are the very same went before it.
        now: The time of those that tell none.

    Raises:
        ValueError: Its metadata is nothing that JSON can hold.
    """
    replaced: list[str] = []

    def clean(name: str, text: str | None) -> str | None:
        """Replace what cannot be stored, and take note of it."""
        if text is None or _storable(text):
            return text
        replaced.append(name)
        return _UNSTORABLE.sub(_REPLACEMENT, text)

    prompt = clean("prompt", result.prompt) or ""
    answer = clean("response", result.response)
    model = clean("model", result.model or heading.model_name)
    error = clean("error", result.error)
    when = result.timestamp or now
    at = (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).isoformat()
    if result.known_by is not None:
        key = _UNSTORABLE.sub(_REPLACEMENT, result.known_by)
    else:
        told = at if result.timestamp is not None else None
        key = key_of(heading.experiment_name, model, prompt, answer, error, told, f"{result.success} {occurrence}")
    facts = {
        **(heading.metadata or {}),
        "duration_ms": result.duration_ms,
        "tokens_used": result.tokens_used,
        **result.facts,
    }
    if replaced:
        facts["replaced_characters"] = list(replaced)
    record = Record(
        prompt,
        answer,
        model,
        result.success,
        error,
        at,
        result.duration_ms,
        result.tokens_used,
        _json(facts, replaced),
        key,
    )
    return Made(record, tuple(replaced), result.known_by is not None)


def key_of(*parts: str | None) -> str:
    """Hash what a result is known by; None is something else than an empty text, and no two lists of parts are one."""
    encoded = [b"" if part is None else part.encode("utf-8", "replace") for part in parts]
    sizes = ["-" if part is None else str(len(data)) for part, data in zip(parts, encoded, strict=True)]
    hasher = blake2b(",".join(sizes).encode() + b"\0", digest_size=KEY_BYTES)
    for data in encoded:
        hasher.update(data)
    return hasher.hexdigest()


def _storable(text: str) -> bool:
    """Whether nothing in a text has to be replaced; the usual answer, quickly."""
    if "\0" in text:
        return False
    return text.isascii() or _UNSTORABLE.search(text) is None


def _json(facts: dict[str, Any], replaced: list[str]) -> str:
    """Write metadata as JSON that every database takes."""
    try:
        text = orjson.dumps(facts, default=str).decode()
    except TypeError as error:
        if "surrogates" not in str(error):
            raise ValueError(f"metadata: {error}") from None
        text = ""
    if text and "\\u0000" not in text:
        return text
    replaced.append("metadata")
    return orjson.dumps(_cleaned(facts), default=str).decode()


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub(_REPLACEMENT, value)
    if isinstance(value, Mapping):
        return {_cleaned(str(name)): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value
