"""OpenAI chat completions: a prompt to a request body and an answer's body to a reply, as pure functions.

Format: OpenAI API reference, "Create chat completion".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import orjson

from stagebook.llm.codec import Metered, Reply, Unreadable, escaped, has_images, instructed, quoted, runs, said_in
from stagebook.llm.strict_schema import strict
from stagebook.model.errors import ContextTooLong, ProviderError
from stagebook.model.exchange import Response
from stagebook.model.prompt import Message, Prompt, Sampling, ToolCall, ToolSpec
from stagebook.model.usage import Usage

Structured = Literal["json_schema", "json_object"]
_BEGINNINGS: Final[Mapping[str, bytes]] = {
    role: b'{"role":"%s","content":"' % role.encode() for role in ("system", "user", "assistant")
}
"""Of messages that are text and nothing else."""


def bearer(key_env: str | None) -> Mapping[str, str]:
    """Headers of OpenAI's API (RFC 6750 for the key)."""
    key = {} if key_env is None else {"authorization": f"Bearer env:{key_env}"}
    return {"content-type": "application/json", **key}


def encode(
    prompt: Prompt, model: str, *, structured: Structured = "json_schema", limit_field: str = "max_tokens"
) -> tuple[bytes, ...]:
    """Write a request body.

    The parts that are the same in every request of a stage (model, schema, parameters) come first, then the messages.

    Args:
        prompt: What is asked.
        model: The provider's name of the model.
        structured: Whether the provider takes a schema.
        limit_field: What the provider calls the limit of an answer's tokens.

    Returns:
        The exact body, cut where large parts begin and end.
    """
    inline = prompt.schema is not None and structured != "json_schema"
    schema = None if inline else prompt.schema
    head = _head(model, prompt.sampling, limit_field, prompt.schema_name or "answer", schema, inline, prompt.tools)
    segments = [head]
    for index, message in enumerate(instructed(prompt) if inline else prompt.messages):
        if index:
            segments.append(b",")
        if message.role in _BEGINNINGS and not (message.calls or has_images(message)):  # nearly every one
            segments.append(_BEGINNINGS[message.role])
            segments.extend(escaped(message.pieces))
            segments.append(b'"}')
        else:
            segments.extend(_written(message))
    segments.append(b"]}")
    return tuple(segments)


@lru_cache(maxsize=256)
def _head(
    model: str,
    sampling: Sampling,
    limit_field: str,
    name: str,
    schema: bytes | None,
    inline: bool,  # noqa: FBT001  all of them are told apart by their place alone, as a cache does
    tools: tuple[ToolSpec, ...],
) -> bytes:
    """Write what is the same in every request of a stage, up to where its messages begin."""
    head: dict[str, Any] = {"model": model}
    if sampling.max_tokens is not None:
        head[limit_field] = sampling.max_tokens
    for field in ("temperature", "top_p", "seed", "reasoning_effort"):
        value = getattr(sampling, field)
        if value is not None:
            head[field] = value
    if inline:
        head["response_format"] = {"type": "json_object"}
    elif schema is not None:
        held, rewritten = strict(orjson.loads(schema))
        head["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": name, "strict": held, "schema": rewritten},
        }
    if tools:
        head["tools"] = [{"type": "function", "function": function_tool(tool)} for tool in tools]
    return orjson.dumps(head)[:-1] + b',"messages":['


def function_tool(tool: ToolSpec) -> dict[str, Any]:
    """Describe a tool as OpenAI's formats take it."""
    held, schema = strict(orjson.loads(tool.parameters))
    return {"name": tool.name, "description": tool.description, "parameters": schema, "strict": held}


def _written(message: Message) -> Iterator[bytes]:
    """Write one message."""
    yield b'{"role":"%s"' % message.role.encode()
    if message.call_id is not None:
        yield b',"tool_call_id":%s' % orjson.dumps(message.call_id)
    if message.calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
        yield b',"tool_calls":%s' % orjson.dumps(calls)
    if not has_images(message):
        yield b',"content":"'
        yield from escaped(message.pieces)
        yield b'"}'
        return
    yield b',"content":['
    for index, run in enumerate(runs(message.pieces)):
        if index:
            yield b","
        if isinstance(run, list):
            yield b'{"type":"text","text":"'
            yield from escaped(run)
            yield b'"}'
        else:
            yield b'{"type":"image_url","image_url":{"url":"data:%s;base64,' % run.media_type.encode()
            yield run.base64().encode()
            yield b'"}}'
    yield b"]}"


def decode(body: bytes) -> Reply:
    """Read an answer.

    Raises:
        Unreadable: It is no chat completion.
    """
    try:
        document = orjson.loads(body)
        choice = document["choices"][0]
        message = choice["message"]
        text = message.get("content")
        given = message.get("tool_calls") or ()
        calls = tuple(ToolCall(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in given)
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unreadable(f"the answer is no chat completion ({type(error).__name__}): {quoted(body)}") from error
    if isinstance(text, list):  # some servers answer in content parts
        text = "".join(part.get("text") or "" for part in text if isinstance(part, dict))
    finish = choice.get("finish_reason")
    refusal = message.get("refusal")
    if finish == "content_filter" and not refusal:
        refusal = "stopped by the provider's content filter"
    return Reply(text or "", refusal or None, finish == "length", calls)


def metered(body: bytes) -> Metered | None:
    """Read usage out of an answer; None where it is not a readable document with usage."""
    try:
        document = orjson.loads(body)
        raw = document.get("usage")
        if not isinstance(raw, dict):
            return None
        read_details = raw.get("prompt_tokens_details") or {}
        written_details = raw.get("completion_tokens_details") or {}
        usage = Usage(
            input_tokens=int(raw.get("prompt_tokens") or 0),
            output_tokens=int(raw.get("completion_tokens") or 0),
            cache_read_input_tokens=int(read_details.get("cached_tokens") or 0),
            cache_creation_input_tokens=int(read_details.get("cache_write_tokens") or 0),
            reasoning_output_tokens=int(written_details.get("reasoning_tokens") or 0),
        )
        choices = document.get("choices") or [{}]
        cost = raw.get("cost")
        return Metered(
            usage,
            orjson.dumps(raw),
            document.get("model"),
            choices[0].get("finish_reason"),
            float(cost) if isinstance(cost, int | float) else None,
        )
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError, IndexError, KeyError):
        return None


def explain(response: Response) -> ProviderError | None:
    """Make a sharper error of an error body, where its code says something that the status does not."""
    try:
        error = orjson.loads(response.body)["error"]
        code, message = error.get("code"), str(error.get("message", ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    if code == "context_length_exceeded":
        return too_long(message, response.status)
    return None


def too_long(message: str, status: int) -> ContextTooLong:
    """Make the error of a request that does not fit, with the provider's own figures."""
    said = " ".join(message.split())[:300]
    return ContextTooLong(
        f"the request does not fit the model's context: {said}; use a smaller window or a model with a larger context",
        status=status,
    )


def _spoken(message: Mapping[str, Any]) -> str:
    calls = [one.get("function", {}) for one in message.get("tool_calls") or ()]
    wanted = "".join(f"[calls {one.get('name')} {one.get('arguments')}]" for one in calls)
    return said_in(message.get("content")) + wanted


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The codec of providers that speak chat completions."""

    structured: Structured = "json_schema"
    """`json_schema`: answers are held to a schema; `json_object`: only to JSON, the schema is in the instruction."""
    limit_field: str = "max_tokens"
    """What the provider calls the limit of an answer's tokens."""

    @property
    def path(self) -> str:
        """As in OpenAI's API."""
        return "/chat/completions"

    def headers(self, key_env: str | None) -> Mapping[str, str]:
        """A bearer token, if there is a key."""
        return bearer(key_env)

    def encode(self, prompt: Prompt, model: str) -> tuple[bytes, ...]:
        """Write a request's body; see `encode`."""
        return encode(prompt, model, structured=self.structured, limit_field=self.limit_field)

    def spoken(self, request: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Read a request's messages back."""
        return [(str(one.get("role")), _spoken(one)) for one in request.get("messages", ())]

    decode = staticmethod(decode)
    metered = staticmethod(metered)
    explain = staticmethod(explain)
