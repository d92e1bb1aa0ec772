"""OpenAI responses: a prompt to a request body and an answer's body to a reply, as pure functions.

Format: OpenAI API reference, "Create a model response", as the types of its Python package 3.54 (2026-11) have it.
There is no `seed` in it, so what a prompt says of it is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from stagebook.llm.codec import (
    JobFailed,
    Metered,
    Reply,
    Unreadable,
    escaped,
    has_images,
    parted,
    quoted,
    runs,
    said_in,
)
from stagebook.llm.openai_chat import bearer, explain, function_tool
from stagebook.llm.strict_schema import strict
from stagebook.model.prompt import Message, Native, Prompt, ToolCall
from stagebook.model.usage import Usage

WIRE: Final = "responses"
AT_WORK: Final = frozenset({"queued", "in_progress"})
FAILED: Final = frozenset({"failed", "cancelled"})
FILTERED: Final = "content_filter"
"""Why an answer is incomplete where it is not for its length."""


def encode(prompt: Prompt, model: str, *, background: bool = False) -> tuple[bytes, ...]:
    """Write a request body.

    Nothing is left with the provider that is not needed: `store` is true for a job, whose answer would be gone ten
    minutes after it ended otherwise (OpenAI's guide, "Background mode"), and where there are tools, as reasoning is
    sent back by its name then.

    Args:
        prompt: What is asked.
        model: The provider's name of the model.
        background: Whether a job is to be made.

    Returns:
        The exact body, cut where large parts begin and end.
    """
    sampling = prompt.sampling
    head: dict[str, Any] = {"model": model, "store": background or bool(prompt.tools)}
    if background:
        head["background"] = True
    if sampling.max_tokens is not None:
        head["max_output_tokens"] = sampling.max_tokens
    for field in ("temperature", "top_p"):
        value = getattr(sampling, field)
        if value is not None:
            head[field] = value
    if sampling.reasoning_effort is not None:
        head["reasoning"] = {"effort": sampling.reasoning_effort}
    if prompt.schema is not None:
        held, schema = strict(orjson.loads(prompt.schema))
        name = prompt.schema_name or "answer"
        head["text"] = {"format": {"type": "json_schema", "name": name, "strict": held, "schema": schema}}
    if prompt.tools:
        head["tools"] = [{"type": "function", **function_tool(tool)} for tool in prompt.tools]
    system, turns = parted(prompt.messages)
    segments = [orjson.dumps(head)[:-1]]
    if system:
        segments.append(b',"instructions":"')
        for index, message in enumerate(system):
            segments.append(rb"\n\n" if index else b"")
            segments.extend(escaped(message.pieces))
        segments.append(b'"')
    segments.append(b',"input":[')
    first = True
    for message in turns:
        for item in _items(message):
            segments.append(b"" if first else b",")
            first = False
            segments.extend(item)
    segments.append(b"]}")
    return tuple(segments)


def _items(message: Message) -> Iterator[Iterator[bytes]]:
    """Write one message as the items of the input that it is."""
    if message.native is not None and message.native.wire == WIRE:
        yield iter((message.native.content[1:-1],))
        return
    if message.call_id is not None:
        yield _result(message)
        return
    if message.pieces:
        yield _message(message)
    for call in message.calls:
        item = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        yield iter((orjson.dumps(item),))


def _message(message: Message) -> Iterator[bytes]:
    yield b'{"role":"%s","content":' % message.role.encode()
    if not has_images(message):
        yield b'"'
        yield from escaped(message.pieces)
        yield b'"}'
        return
    yield b"["
    for index, run in enumerate(runs(message.pieces)):
        if index:
            yield b","
        if isinstance(run, list):
            yield b'{"type":"input_text","text":"'
            yield from escaped(run)
            yield b'"}'
        else:
            yield b'{"type":"input_image","detail":"auto","image_url":"data:%s;base64,' % run.media_type.encode()
            yield run.base64().encode()
            yield b'"}'
    yield b"]}"


def _result(message: Message) -> Iterator[bytes]:
    yield b'{"type":"function_call_output","call_id":%s,"output":"' % orjson.dumps(message.call_id)
    yield from escaped(message.pieces)
    yield b'"}'


def decode(body: bytes) -> Reply:
    """Read an answer.

    Raises:
        Unreadable: It is no response.
        JobFailed: It says that there will be no answer.
    """
    try:
        document = orjson.loads(body)
        status, output = document["status"], document["output"]
        if status in AT_WORK:
            return Reply("", None, truncated=False, job=str(document["id"]))
        parts = [part for item in output if item["type"] == "message" for part in item["content"]]
        text = "".join(part["text"] for part in parts if part["type"] == "output_text")
        refusal = "".join(part["refusal"] for part in parts if part["type"] == "refusal")
        calls = tuple(
            ToolCall(item["call_id"], item["name"], item["arguments"])
            for item in output
            if item["type"] == "function_call"
        )
        failure = document.get("error") or {}
        reason = (document.get("incomplete_details") or {}).get("reason")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"the answer is no response ({type(error).__name__}): {quoted(body)}") from error
    if status in FAILED:
        raise JobFailed(
            f"the response {status}: {failure.get('code', 'no code')}: {failure.get('message', 'no reason')}"
        )
    if status == "incomplete" and reason == FILTERED and not refusal:
        refusal = "stopped by the provider's content filter"
    native = Native(WIRE, orjson.dumps(output)) if calls else None
    return Reply(text, refusal or None, status == "incomplete" and reason != FILTERED, calls, native)


def metered(body: bytes) -> Metered | None:
    """Read usage out of an answer; None where it is not a readable document with usage.

    A job at work has cost nothing so far: its answer will say what it did.
    """
    try:
        document = orjson.loads(body)
        raw = document.get("usage")
        if document.get("status") in AT_WORK:
            return Metered(Usage(), None, document.get("model"), document["status"], 0.0)
        if not isinstance(raw, dict):
            return None
        read_details = raw.get("input_tokens_details") or {}
        usage = Usage(
            input_tokens=int(raw.get("input_tokens") or 0),
            output_tokens=int(raw.get("output_tokens") or 0),
            cache_read_input_tokens=int(read_details.get("cached_tokens") or 0),
            cache_creation_input_tokens=int(read_details.get("cache_write_tokens") or 0),
            reasoning_output_tokens=int((raw.get("output_tokens_details") or {}).get("reasoning_tokens") or 0),
        )
        finish = (document.get("incomplete_details") or {}).get("reason") or document.get("status")
        return Metered(usage, orjson.dumps(raw), document.get("model"), finish, None)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return None


def _spoken(item: Mapping[str, Any]) -> tuple[str, str]:
    kind = item.get("type", "message")
    if kind == "function_call":
        return "assistant", f"[calls {item.get('name')} {item.get('arguments')}]"
    if kind == "function_call_output":
        return "tool", said_in(item.get("output"))
    if kind == "message":
        return str(item.get("role")), said_in(item.get("content"))
    return "assistant", f"[{kind}]"


@dataclass(frozen=True, slots=True)
class Responses:
    """The codec of OpenAI's responses."""

    background: bool = False
    """Ask for a job instead of an answer: it is created at once, and polled until it ends."""

    @property
    def path(self) -> str:
        """As in OpenAI's API; `/{id}` after it is a job."""
        return "/responses"

    def headers(self, key_env: str | None) -> Mapping[str, str]:
        """A bearer token, if there is a key."""
        return bearer(key_env)

    def encode(self, prompt: Prompt, model: str) -> tuple[bytes, ...]:
        """Write a request's body; see `encode`."""
        return encode(prompt, model, background=self.background)

    def spoken(self, request: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Read a request's messages back."""
        system = [("system", str(request["instructions"]))] if request.get("instructions") else []
        return [*system, *(_spoken(item) for item in request.get("input", ()) if isinstance(item, dict))]

    decode = staticmethod(decode)
    metered = staticmethod(metered)
    explain = staticmethod(explain)
