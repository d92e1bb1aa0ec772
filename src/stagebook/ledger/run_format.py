"""A run as one JSON document: what its parts are called, and how bytes and JSON stand in it.

```
{"format": "stagebook-run", "version": 1,
 "run": {...}, "definition": {...}, "prompts": [...],
 "steps": [{..., "attempts": [...]}], "outputs": [...], "exchanges": [{..., "request": {...}, "response": {...}}],
 "claims": [...], "scores": [...], "marks": [...], "events": [...]}
```

Times are microseconds since 1970, money is picodollars, hashes are BLAKE2b-128 in hexadecimal. Rows name one another by
their place in the document, from 0, since numbers of a ledger mean nothing in another. What belongs to the machine on
which the run was driven (process ids, host names) is left out.
"""

import base64
from typing import Any, Final, TypeAlias

import orjson

FORMAT: Final = "stagebook-run"
VERSION: Final = 1

RUN: Final = ("run_id", "pipeline", "source", "wish", "fence", "forked_at", "created_at", "created_via")
STEP: Final = (
    *("stage", "item", "status", "failed_attempt", "reason"),
    *("started_at", "begun_at", "ended_at", "worked"),
)
ATTEMPT: Final = ("number", "fence", "status", "started_at", "ended_at", "error_type", "reason")
OUTPUT: Final = ("stage", "item", "version", "size", "nul_replaced", "made_by", "at")
EXCHANGE: Final = (
    *("attempt", "occurrence", "try_number", "kind", "state", "fence", "provider", "model", "model_returned", "cost"),
    *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    *("reasoning_output_tokens", "prepared_at", "sent_at", "received_at", "parsed_at", "http_status", "finish_reason"),
    *("price_version", "price_source", "complaint", "error"),
)
CLAIM: Final = ("position", "text", "at")
SCORE: Final = ("name", "value", "label", "made_by", "note", "at")
MARK: Final = ("name", "kind", "error", "at")
EVENT: Final = ("at", "kind")
"""Columns that stand in the document as they stand in their tables."""

Json: TypeAlias = Any  # what a document holds
_TEXT: Final = "$text"


def json_kept(text: str | None) -> Json:
    """Give stored JSON as a part of the document; where writing it again would change a byte, as its text."""
    if text is None:
        return None
    value = orjson.loads(text)
    plain = value is not None and not (isinstance(value, dict) and _TEXT in value)
    if plain and orjson.dumps(value) == text.encode():
        return value
    return {_TEXT: text}


def json_text(value: Json) -> str | None:
    """Give back what `json_kept` was given."""
    if value is None:
        return None
    if isinstance(value, dict) and _TEXT in value:
        return str(value[_TEXT])
    return orjson.dumps(value).decode()


def bytes_kept(data: bytes | None) -> Json:
    """Give bytes as a part of the document: as text where they are UTF-8."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def kept_bytes(value: Json) -> bytes | None:
    """Give back what `bytes_kept` was given."""
    if value is None:
        return None
    return base64.b64decode(value["base64"], validate=True) if isinstance(value, dict) else str(value).encode()


def is_count(value: dict[str, Json]) -> bool:
    """Whether what a step read is told by stages and a count, because it was too much to be named one by one."""
    named = value.get("stages", value.get("stage"))
    return len(value) == 2 and isinstance(value.get("count"), int) and isinstance(named, list | str)  # noqa: PLR2004  the stages and their count


def in_other_ledgers(document: Json) -> Json:
    """Leave out of a document what depends on the ledger that it came from: other runs, and who was there first."""
    run = {key: value for key, value in document["run"].items() if key != "parent"}
    definition = {key: value for key, value in document["definition"].items() if key != "at"}
    prompts = [prompt["hash"] for prompt in document["prompts"]]
    steps = [{key: value for key, value in step.items() if key != "reused_from"} for step in document["steps"]]
    return document | {"run": run, "definition": definition, "prompts": prompts, "steps": steps}
