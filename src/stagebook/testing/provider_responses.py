"""OpenAI's responses as the fake provider speaks them, what that API refuses, and its background jobs.

Shapes and lists of fields are those of OpenAI's Python package 3.54 (`types/responses/`), the wording of errors that of
its API.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from stagebook.testing.provider_answers import Answer, arguments_of
from stagebook.testing.provider_request import ChatRequest, Rejection, said_in
from stagebook.testing.provider_strict import strict_objection

_FIELDS: Final = frozenset(
    {"model", "input", "instructions", "background", "include", "max_output_tokens", "max_tool_calls", "metadata"}
    | {"parallel_tool_calls", "previous_response_id", "prompt_cache_key", "reasoning", "service_tier", "store"}
    | {"stream", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation"}
)
_LEAST_TOKENS: Final = 16
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"input_text", "input_image", "input_file"}),
    "system": frozenset({"input_text"}),
    "developer": frozenset({"input_text"}),
    "assistant": frozenset({"output_text", "refusal"}),
}


class _Refused(Exception):
    """What is wrong with a request."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def read(number: int, body: bytes, sha256: str, headers: Mapping[str, str]) -> ChatRequest | Rejection:
    """Read a request, or say what the API refuses in it."""
    try:
        return _read(number, body, sha256, headers)
    except _Refused as refused:
        return Rejection(400, str(refused), param=refused.param, code=refused.code)


def _read(number: int, body: bytes, sha256: str, headers: Mapping[str, str]) -> ChatRequest:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Refused(f"We could not parse the JSON body of your request: {error}.") from error
    if not isinstance(data, dict) or not isinstance(data.get("model"), str):
        raise _Refused("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    for field in sorted(data.keys() - _FIELDS):
        raise _Refused(f"Unknown parameter: '{field}'.", field, "unknown_parameter")
    limit = data.get("max_output_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < _LEAST_TOKENS):
        raise _Refused(
            "Invalid 'max_output_tokens': integer below minimum value. "
            f"Expected a value >= {_LEAST_TOKENS}, but got {limit} instead.",
            "max_output_tokens",
            "integer_below_min_value",
        )
    if data.get("stream"):
        raise _Refused("the fake provider gives one whole answer: no stream=true", "stream")
    instructions = [{"role": "system", "content": data["instructions"]}] if data.get("instructions") else []
    messages = [*instructions, *_messages(data.get("input"))]
    shape = (data.get("text") or {}).get("format") or {}
    if shape.get("type") == "json_schema" and not shape.get("name"):
        raise _Refused("Missing required parameter: 'text.format.name'.", "text.format.name")
    text, images = said_in(messages)
    return ChatRequest(
        number=number,
        body=body,
        sha256=sha256,
        headers=headers,
        model=data["model"],
        messages=messages,
        text=text,
        images=images,
        format=shape.get("type", "text"),
        schema=shape.get("schema"),
        schema_name=shape.get("name"),
        strict=bool(shape.get("strict")),
        max_tokens=limit,
        tools=tuple(_tools(data.get("tools") or ())),
        background=bool(data.get("background")),
    )


def _messages(given: object) -> list[dict[str, Any]]:
    """Check the input's items, and write them as chat completions has its messages."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise _Refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    made: list[dict[str, Any]] = []
    calls: dict[str, bool] = {}
    for place, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "function_call":
            calls[item["call_id"]] = False
            if made and made[-1].get("tool_calls"):
                made[-1]["tool_calls"].append(item)
            else:
                made.append({"role": "assistant", "content": None, "tool_calls": [item]})
        elif kind == "function_call_output":
            if item.get("call_id") not in calls:
                raise _Refused(
                    f"No tool call found for function call output with call_id {item.get('call_id')}.", "input"
                )
            calls[item["call_id"]] = True
            made.append({"role": "tool", "content": item.get("output")})
        elif kind == "message":
            _check_message(item, place)
            made.append({"role": item["role"], "content": item["content"]})
        elif kind != "reasoning":
            raise _Refused(f"Invalid value: '{kind}'.", f"input[{place}]", "invalid_value")
    for key, answered in calls.items():
        if not answered:
            raise _Refused(f"No tool output found for function call {key}.", "input")
    return made


def _check_message(item: Mapping[str, Any], place: int) -> None:
    allowed = _PARTS.get(str(item.get("role")))
    if allowed is None:
        raise _Refused(f"Invalid value: '{item.get('role')}'.", f"input[{place}].role", "invalid_value")
    if isinstance(item.get("content"), str):
        return
    for index, part in enumerate(item.get("content") or ()):
        where = f"input[{place}].content[{index}]"
        if part.get("type") not in allowed:
            raise _Refused(
                f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(sorted(allowed))}.",
                where,
                "invalid_value",
            )
        if part["type"] == "input_image" and not str(part.get("image_url", "")).startswith(("data:image/", "https://")):
            raise _Refused("Invalid 'image_url'. Expected a base64-encoded data URL or a URL.", f"{where}.image_url")


def _tools(tools: Any) -> Iterator[str]:
    for place, tool in enumerate(tools):
        if tool.get("type") != "function" or not tool.get("name") or "parameters" not in tool:
            raise _Refused(f"Missing required parameter: 'tools[{place}].name'.", f"tools[{place}]")
        if tool.get("strict") and (objection := strict_objection(tool["parameters"])):
            raise _Refused(f"Invalid schema for function '{tool['name']}': {objection}", f"tools[{place}].parameters")
        yield tool["name"]


def write(answer: Answer, request: ChatRequest, created: float) -> bytes:
    """Write an answer, or the job that gives it."""
    return orjson.dumps(document(answer, request, created))


def document(answer: Answer, request: ChatRequest, created: float) -> dict[str, Any]:
    """The response object of a finished answer."""
    usage = answer.usage
    key = f"{request.number}_{request.sha256[:16]}"
    output: list[dict[str, Any]] = []
    if usage.reasoning_output_tokens:
        output.append({"type": "reasoning", "id": f"rs_{key}", "summary": [], "encrypted_content": "bm9uZQ=="})
    part: dict[str, Any] = {"type": "output_text", "text": answer.content, "annotations": []}
    if answer.refusal is not None:
        part = {"type": "refusal", "refusal": answer.refusal}
    if answer.content is not None or answer.refusal is not None:
        state = "incomplete" if answer.finish_reason == "length" else "completed"
        output.append({"type": "message", "id": f"msg_{key}", "role": "assistant", "status": state, "content": [part]})
    for call_id, call in answer.calls:
        arguments = arguments_of(call)
        output.append(
            {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": call.name}
            | {"arguments": arguments, "status": "completed"}
        )
    status, details, error = "completed", None, None
    if answer.failed:
        status, error = (
            "failed",
            {"code": "server_error", "message": "An error occurred while processing your request."},
        )
    elif answer.finish_reason == "length":
        status, details = "incomplete", {"reason": "max_output_tokens"}
    counted = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_input_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": int(created),
        "status": status,
        "background": request.background,
        "error": error,
        "incomplete_details": details,
        "model": request.model,
        "output": [] if answer.empty else output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": orjson.loads(request.body).get("tools", []),
        "usage": None if answer.failed else counted,
    }


@dataclass(frozen=True, slots=True)
class Job:
    """A response that is made in the background."""

    finished: Mapping[str, Any]
    """The response object once it is done."""
    ready_at: float
    """When that is, in Unix seconds."""

    def at(self, moment: float) -> bytes:
        """The response object at a moment in Unix seconds."""
        if moment >= self.ready_at:
            return orjson.dumps(self.finished)
        return self.at_work("in_progress")

    def at_work(self, status: str) -> bytes:
        """The response object before it is done."""
        return orjson.dumps({**self.finished, "status": status, "output": [], "usage": None, "error": None})
