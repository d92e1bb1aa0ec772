"""Anthropic's messages: a prompt to a request body and an answer's body to a reply, as pure functions.

Format: Anthropic API reference, "Create a Message", as the types of its Python package 2.12 (2026-11) have it. There is
no `temperature`, `top_p` or `seed` in it any more, so what a prompt says of these is left out. Structured answers are
asked for by `output_config.format` (`output_format`, its forerunner, is deprecated there).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import orjson

from stagebook.llm.codec import Metered, Reply, Unreadable, escaped, instructed, parted, quoted, runs, said_in
from stagebook.llm.narrow_schema import narrow
from stagebook.llm.openai_chat import too_long
from stagebook.model.errors import ProviderError
from stagebook.model.exchange import Response
from stagebook.model.prompt import Message, Native, Prompt, ToolCall
from stagebook.model.usage import Usage

WIRE: Final = "anthropic"
VERSION: Final = "2023-06-01"
"""Of the API; the newest one (its documentation, "Versions")."""

MAX_TOKENS: Final = 16_384
"""Most tokens of an answer where a prompt does not say: the API wants a number. Anthropic's package refuses to wait for
answers of more than 21,333 tokens that are not streamed, as those may take longer than ten minutes."""

EFFORTS: Final = {"minimal": "low"}
"""What this API calls a reasoning effort, where it has another word."""

CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
"""Reasons to stop that mean that the answer is not whole."""


def encode(prompt: Prompt, model: str) -> tuple[bytes, ...]:
    """Write a request body.

    Args:
        prompt: What is asked.
        model: The provider's name of the model.

    Returns:
        The exact body, cut where large parts begin and end.
    """
    sampling = prompt.sampling
    head: dict[str, Any] = {"model": model, "max_tokens": sampling.max_tokens or MAX_TOKENS}
    output: dict[str, Any] = {}
    messages = prompt.messages
    if prompt.schema is not None:
        held, schema = narrow(orjson.loads(prompt.schema))
        if held:
            output["format"] = {"type": "json_schema", "schema": schema}
        else:
            messages = instructed(prompt)
    if sampling.reasoning_effort is not None:
        output["effort"] = EFFORTS.get(sampling.reasoning_effort, sampling.reasoning_effort)
    if output:
        head["output_config"] = output
    if prompt.tools:
        head["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": orjson.loads(tool.parameters)}
            for tool in prompt.tools
        ]
    system, turns = parted(messages)
    segments = [orjson.dumps(head)[:-1]]
    if system:
        segments.append(b',"system":[')
        segments.extend(_blocks(system))
        segments.append(b"]")
    segments.append(b',"messages":[')
    for index, (speaker, said) in enumerate(groupby(turns, _speaker)):
        segments.append(b'%s{"role":"%s","content":[' % (b"," if index else b"", speaker.encode()))
        segments.extend(_blocks(list(said)))
        segments.append(b"]}")
    segments.append(b"]}")
    return tuple(segments)


def _speaker(message: Message) -> str:
    """Who says a message here: a tool's result is the user's, and turns of one speaker are one."""
    return "assistant" if message.role == "assistant" else "user"


def _blocks(messages: Sequence[Message]) -> Iterator[bytes]:
    """Write the content blocks of one turn; results of tools come before anything else in theirs."""
    first = True
    for message in messages:
        for block in _of_message(message):
            if not first:
                yield b","
            first = False
            yield from block


def _of_message(message: Message) -> Iterator[Iterator[bytes]]:
    if message.native is not None and message.native.wire == WIRE:
        yield iter((message.native.content[1:-1],))
        return
    if message.call_id is not None:
        yield _result(message)
        return
    for run in runs(message.pieces):
        if not isinstance(run, list):
            opening = b'{"type":"image","source":{"type":"base64","media_type":"%s","data":"' % run.media_type.encode()
            yield iter((opening, run.base64().encode(), b'"}}'))
        elif any(piece.strip() for piece in run):  # a block of white space alone is refused
            yield _text(run)
    for call in message.calls:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": _read(call.arguments)}
        yield iter((orjson.dumps(block),))


def _text(pieces: Sequence[str]) -> Iterator[bytes]:
    yield b'{"type":"text","text":"'
    yield from escaped(pieces)
    yield b'"}'


def _result(message: Message) -> Iterator[bytes]:
    yield b'{"type":"tool_result","tool_use_id":%s,"content":"' % orjson.dumps(message.call_id)
    yield from escaped(message.pieces)
    yield b'"}'


def _read(arguments: str) -> Any:
    """Read a call's arguments; those of another provider's model may be no JSON object."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def decode(body: bytes) -> Reply:
    """Read an answer.

    Raises:
        Unreadable: It is no message.
    """
    try:
        document = orjson.loads(body)
        content, stopped = document["content"], document["stop_reason"]
        text = "".join(block["text"] for block in content if block["type"] == "text")
        calls = tuple(
            ToolCall(block["id"], block["name"], orjson.dumps(block["input"]).decode())
            for block in content
            if block["type"] == "tool_use"
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Unreadable(f"the answer is no message ({type(error).__name__}): {quoted(body)}") from error
    refusal = None
    if stopped == "refusal":
        details = document.get("stop_details") or {}
        refusal = details.get("explanation") or text or "stopped by the provider's safety system"
    native = Native(WIRE, orjson.dumps(content)) if calls else None
    return Reply(text, refusal, stopped in CUT, calls, native)


def metered(body: bytes) -> Metered | None:
    """Read usage out of an answer; None where it is not a readable document with usage.

    The API counts what it read from its cache, and what it put there, beside the input; the ledger has both inside.
    """
    try:
        document = orjson.loads(body)
        raw = document.get("usage")
        if not isinstance(raw, dict):
            return None
        read, made = int(raw.get("cache_read_input_tokens") or 0), int(raw.get("cache_creation_input_tokens") or 0)
        usage = Usage(
            input_tokens=int(raw.get("input_tokens") or 0) + read + made,
            output_tokens=int(raw.get("output_tokens") or 0),
            cache_read_input_tokens=read,
            cache_creation_input_tokens=made,
            reasoning_output_tokens=int((raw.get("output_tokens_details") or {}).get("thinking_tokens") or 0),
        )
        return Metered(usage, orjson.dumps(raw), document.get("model"), document.get("stop_reason"), None)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return None


def explain(response: Response) -> ProviderError | None:
    """Make a sharper error of an error body: "prompt is too long" is told by its text alone."""
    try:
        error = orjson.loads(response.body)["error"]
        kind, message = error.get("type"), str(error.get("message", ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if kind == "request_too_large" or (kind == "invalid_request_error" and "prompt is too long" in message):
        return too_long(message, response.status)
    return None


@dataclass(frozen=True, slots=True)
class Messages:
    """The codec of Anthropic."""

    @property
    def path(self) -> str:
        """ANTHROPIC_BASE_URL is the address without a version, as for Anthropic's own packages."""
        return "/v1/messages"

    def headers(self, key_env: str | None) -> Mapping[str, str]:
        """Version and key."""
        key = {} if key_env is None else {"x-api-key": f"env:{key_env}"}
        return {"content-type": "application/json", "anthropic-version": VERSION, **key}

    def spoken(self, request: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Read a request's messages back."""
        system = [("system", said_in(request["system"]))] if request.get("system") else []
        return [*system, *((str(one.get("role")), said_in(one.get("content"))) for one in request.get("messages", ()))]

    encode = staticmethod(encode)
    decode = staticmethod(decode)
    metered = staticmethod(metered)
    explain = staticmethod(explain)
