"""Anthropic's messages as the fake provider speaks them, and what that API refuses.

Shapes and lists of fields are those of Anthropic's Python package 2.12 (`types/message_create_params.py`), the wording
of errors that of its API.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, get_args

import orjson

from stagebook.model.image import MediaType
from stagebook.testing.provider_answers import Answer, arguments_of
from stagebook.testing.provider_request import ChatRequest, Rejection, said_in

_FIELDS: Final = frozenset(
    {"model", "max_tokens", "messages", "cache_control", "container", "diagnostics", "inference_geo", "metadata"}
    | {"output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice"}
    | {"tools"}
)
_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_NOT_HELD: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
)
_NOT_HELD_EITHER: Final = ("pattern", "maxItems", "minProperties", "maxProperties", "oneOf", "not", "uniqueItems")
_ERRORS: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOPPED: Final = {"stop": "end_turn", "length": "max_tokens"}


class _Refused(Exception):
    """What is wrong with a request."""


def read(number: int, body: bytes, sha256: str, headers: Mapping[str, str]) -> ChatRequest | Rejection:
    """Read a request, or say what the API refuses in it."""
    try:
        return _read(number, body, sha256, headers)
    except _Refused as refused:
        return Rejection(400, str(refused))


def _read(number: int, body: bytes, sha256: str, headers: Mapping[str, str]) -> ChatRequest:
    if not headers.get("anthropic-version"):
        raise _Refused("anthropic-version: header is required")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Refused(f"The request body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise _Refused("The request body is not a JSON object")
    for field in sorted(data.keys() - _FIELDS):
        raise _Refused(f"{field}: Extra inputs are not permitted")
    for field in ("model", "max_tokens", "messages"):
        if field not in data:
            raise _Refused(f"{field}: Field required")
    if not isinstance(data["max_tokens"], int) or data["max_tokens"] < 1:
        raise _Refused("max_tokens: Input should be greater than or equal to 1")
    if data.get("stream"):
        raise _Refused("the fake provider gives one whole answer: no stream=true")
    messages = [*_system(data.get("system")), *_messages(data["messages"])]
    output = data.get("output_config") or {}
    if output.get("effort") not in {None, *_EFFORTS}:
        raise _Refused(f"output_config.effort: Input should be one of {', '.join(sorted(_EFFORTS))}")
    schema = (output.get("format") or {}).get("schema")
    if schema is not None:
        _check_schema(schema)
    text, images = said_in(messages)
    return ChatRequest(
        number=number,
        body=body,
        sha256=sha256,
        headers=headers,
        model=str(data["model"]),
        messages=messages,
        text=text,
        images=images,
        format="text" if schema is None else "json_schema",
        schema=schema,
        schema_name=None,
        strict=False,
        max_tokens=data["max_tokens"],
        tools=tuple(_tools(data.get("tools") or ())),
    )


def _system(system: object) -> list[dict[str, Any]]:
    if not system:
        return []
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    if not isinstance(blocks, list):
        raise _Refused("system: Input should be a valid list")
    for block in blocks:
        _check_block(block, "system", {"text"})
    return [{"role": "system", "content": [block]} for block in blocks]


def _messages(given: object) -> list[dict[str, Any]]:
    """Check messages, and write them as chat completions has them."""
    if not isinstance(given, list) or not given:
        raise _Refused("messages: at least one message is required")
    made = []
    for place, message in enumerate(given):
        where = f"messages.{place}"
        role = message.get("role")
        if role not in {"user", "assistant"}:
            raise _Refused(
                f'{where}: Unexpected role "{role}". The Messages API accepts a top-level `system` parameter, '
                'not "system" as an input message role.'
            )
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            raise _Refused(f"{where}: all messages must have non-empty content")
        allowed = {"text", "image", "tool_result"} if role == "user" else {"text", "tool_use", "thinking"}
        for block in blocks:
            _check_block(block, where, allowed)
        calls = [block for block in blocks if block["type"] == "tool_use"]
        made.append({"role": role, "content": blocks, **({"tool_calls": calls} if calls else {})})
    if made[0]["role"] != "user":
        raise _Refused('messages: first message must use the "user" role')
    for (place, before), message in zip(enumerate(made), [*made[1:], {"content": []}], strict=True):
        _check_results(place, before, message)
    for before, after in pairwise(made):
        _check_answered(before, after)
    return made


def _check_results(place: int, message: dict[str, Any], after: dict[str, Any]) -> None:
    wanted = [call["id"] for call in message.get("tool_calls", ())]
    given = {block.get("tool_use_id") for block in after["content"] if block["type"] == "tool_result"}
    missing = [one for one in wanted if one not in given]
    if missing:
        raise _Refused(
            f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {missing[0]}"
        )


def _check_answered(before: dict[str, Any], after: dict[str, Any]) -> None:
    known = {call["id"] for call in before.get("tool_calls", ())}
    for block in after["content"]:
        if block["type"] == "tool_result" and block.get("tool_use_id") not in known:
            raise _Refused(f"unexpected `tool_use_id` found in `tool_result` blocks: {block.get('tool_use_id')}")


def _check_block(block: Any, where: str, allowed: set[str]) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in allowed:
        raise _Refused(f"{where}: Input tag {kind!r} does not match any of the expected tags: {sorted(allowed)}")
    if kind == "text" and not str(block.get("text", "")).strip():
        raise _Refused(f"{where}: text content blocks must contain non-whitespace text")
    if kind == "image":
        _check_image(block.get("source") or {}, where)
    if kind == "tool_use" and not isinstance(block.get("input"), dict):
        raise _Refused(f"{where}: tool_use.input: Input should be a valid dictionary")
    if kind == "thinking" and block.get("signature") != _signature(str(block.get("thinking"))):
        raise _Refused(f"{where}: Invalid `signature` in `thinking` block")


def _check_image(source: Mapping[str, Any], where: str) -> None:
    if source.get("type") != "base64":
        raise _Refused(f"{where}: the fake provider has pictures in base64 only")
    if source.get("media_type") not in get_args(MediaType):
        raise _Refused(f"{where}: image.source.base64.media_type: Input should be one of {get_args(MediaType)}")
    try:
        base64.b64decode(source.get("data", ""), validate=True)
    except binascii.Error as error:
        raise _Refused(f"{where}: image.source.base64: invalid base64 data") from error


def _tools(tools: Any) -> Iterator[str]:
    for place, tool in enumerate(tools):
        if not tool.get("name") or (tool.get("input_schema") or {}).get("type") != "object":
            raise _Refused(f"tools.{place}.custom.input_schema.type: Field required")
        yield tool["name"]


def _check_schema(schema: Any) -> None:
    """Refuse what structured outputs do not hold (Anthropic's documentation, "JSON Schema limitations")."""
    if isinstance(schema, list):
        for part in schema:
            _check_schema(part)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        raise _Refused(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for keyword in (*_NOT_HELD, *_NOT_HELD_EITHER):
        if keyword in schema:
            raise _Refused(f"output_config.format.schema: For '{kind}' type, property '{keyword}' is not supported")
    for keyword in ("properties", "$defs"):
        for part in schema.get(keyword, {}).values():
            _check_schema(part)
    for keyword in ("items", "anyOf", "allOf"):
        _check_schema(schema.get(keyword))


def write(answer: Answer, request: ChatRequest, created: float) -> bytes:  # noqa: ARG001  a message tells no time
    """Write an answer. With reasoning it begins with a thinking block, whose signature is checked if it comes back."""
    usage = answer.usage
    content: list[dict[str, Any]] = []
    if usage.reasoning_output_tokens:
        thought = f"Thought about {request.sha256[:8]}."
        content.append({"type": "thinking", "thinking": thought, "signature": _signature(thought)})
    if answer.content:
        content.append({"type": "text", "text": answer.content})
    for key, call in answer.calls:
        content.append({"type": "tool_use", "id": key, "name": call.name, "input": orjson.loads(arguments_of(call))})
    stopped = "tool_use" if answer.calls else _STOPPED[answer.finish_reason]
    details = None
    if answer.refusal is not None:
        stopped, details = "refusal", {"type": "refusal", "category": None, "explanation": answer.refusal}
    return orjson.dumps(
        {
            "id": f"msg_{request.number}_{request.sha256[:16]}",
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": [] if answer.empty else content,
            "stop_reason": stopped,
            "stop_sequence": None,
            "stop_details": details,
            "usage": {
                "input_tokens": usage.input_tokens - usage.cache_read_input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": usage.cache_read_input_tokens,
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"thinking_tokens": usage.reasoning_output_tokens},
                "service_tier": "standard",
            },
        }
    )


def write_error(rejection: Rejection) -> bytes:
    """Write an error in Anthropic's shape."""
    kind = _ERRORS.get(rejection.status, "api_error")
    error = {"type": kind, "message": rejection.message}
    return orjson.dumps({"type": "error", "error": error, "request_id": None})


def _signature(thought: str) -> str:
    return base64.b64encode(thought.encode()[::-1]).decode()
