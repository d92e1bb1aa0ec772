"""Where the text of an answer is, and what it used, in the shapes that APIs in wide use have."""

import re
from collections.abc import Mapping
from typing import Any, Final

from stagebook.model.errors import InputError
from stagebook.model.usage import Usage

Steps = tuple[str | int, ...]
"""A way into a document: names of fields and places in lists."""

_DOTTED: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_WRAPPERS: Final = ("response", "content", "text", "choices", "completion", "output_text", "output", "message")
"""Fields in which the text is looked for, in this order: `choices` is that of OpenAI's chat completions, `content` that
of Anthropic's messages if it is a list, `output` that of OpenAI's responses, `message` that of Ollama's chat."""
_TEXT_BLOCKS: Final = frozenset({"text", "output_text", "message", None})
"""Kinds of the blocks of an answer that are shown, not reasoning, calls or searches."""
_DEEPEST: Final = 6
"""Wrappers inside each other: the responses shape has four."""
_CUT: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
"""Reasons for an end that mean that the answer's limit was reached."""


class NothingThere(Exception):
    """A document has nothing at the place where it was looked."""


def steps_of(place: str) -> Steps:
    """Read a place: a JSON pointer (RFC 6901) if it begins with a slash, otherwise `a.b[0].c`; empty for the whole.

    Raises:
        InputError: It is neither.
    """
    if not place:
        return ()
    if place.startswith("/"):
        return tuple(_step(one.replace("~1", "/").replace("~0", "~")) for one in place[1:].split("/"))
    if not re.fullmatch(r"(?:\[\d+\]|[^.\[\]]+)(?:\.[^.\[\]]+|\[\d+\])*", place):
        raise InputError(f"{place!r} is no place in an answer; write it as data.items[0].text or as /data/items/0/text")
    return tuple(_step(name or index) for name, index in _DOTTED.findall(place))


def at(document: object, steps: Steps) -> Any:
    """Go to a place in a document.

    Raises:
        NothingThere: There is none.
    """
    for step in steps:
        if isinstance(document, dict) and str(step) in document:
            document = document[str(step)]
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            raise NothingThere(str(step))
    return document


def text_of(document: object, depth: int = 0) -> str | None:
    """Find the text of an answer; None where it has none in a known shape."""
    if isinstance(document, str):
        return document
    if depth > _DEEPEST:
        return None
    if isinstance(document, list):
        return _of_blocks(document, depth)
    if not isinstance(document, dict):
        return None
    for name in _WRAPPERS:
        value = document.get(name)
        if name == "choices":
            value = value[0] if isinstance(value, list) and value else None
        elif name == "message" and isinstance(value, str):  # of an error, mostly
            continue
        found = text_of(value, depth + 1)
        if found is not None:
            return found
    return None


def refusal_of(document: object) -> str | None:
    """Find why the model declined, where the answer says so in a known shape."""
    for steps in (("choices", 0, "message", "refusal"), ("refusal",)):
        try:
            said = at(document, steps)
        except NothingThere:
            continue
        if isinstance(said, str) and said:
            return said
    return None


def finish_of(document: object) -> str | None:
    """Find why the model stopped, where the answer says so in a known shape."""
    for steps in (
        ("choices", 0, "finish_reason"),
        ("stop_reason",),
        ("finish_reason",),
        ("done_reason",),
        ("incomplete_details", "reason"),
    ):
        try:
            said = at(document, steps)
        except NothingThere:
            continue
        if isinstance(said, str):
            return said
    return None


def is_cut(finish: str | None) -> bool:
    """Whether an answer ended at its limit."""
    return finish in _CUT


def usage_of(told: object) -> Usage | None:
    """Read what an answer used.

    Args:
        told: The counts, under the names of OpenAI's or Anthropic's formats; or one number, all tokens together, which
            counts as read.

    Returns:
        None where it is neither. A count of 0 is 0.
    """
    if _is_count(told):
        return Usage(input_tokens=int(told))  # type: ignore[call-overload]  # it was looked at
    if not isinstance(told, Mapping):
        return None
    read = _first(told, "prompt_tokens", "input_tokens")
    written = _first(told, "completion_tokens", "output_tokens")
    if read is None and written is None:
        whole = _first(told, "total_tokens", "tokens_used")
        return None if whole is None else Usage(input_tokens=whole)
    cached = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    reasoned = told.get("completion_tokens_details") or told.get("output_tokens_details")
    from_cache = _first(told, "cache_read_input_tokens") or 0  # Anthropic counts them beside the input
    into_cache = _first(told, "cache_creation_input_tokens") or 0
    inside = _first(cached, "cached_tokens") if isinstance(cached, Mapping) else None
    return Usage(
        input_tokens=(read or 0) + from_cache + into_cache,
        output_tokens=written or 0,
        cache_read_input_tokens=from_cache or inside or 0,
        cache_creation_input_tokens=into_cache,
        reasoning_output_tokens=(_first(reasoned, "reasoning_tokens") or 0) if isinstance(reasoned, Mapping) else 0,
    )


def _of_blocks(blocks: list[Any], depth: int) -> str | None:
    """Join the texts of an answer's blocks."""
    texts = []
    for block in blocks:
        if isinstance(block, dict) and block.get("type") not in _TEXT_BLOCKS:
            continue
        text = text_of(block, depth + 1)
        if text is not None:
            texts.append(text)
    return "".join(texts) if texts else None


def _first(told: Mapping[str, Any], *names: str) -> int | None:
    return next((int(told[name]) for name in names if _is_count(told.get(name))), None)


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _step(text: str) -> str | int:
    return int(text) if text.isascii() and text.isdigit() else text
