"""A request to the fake provider, read once: who asks which model what, and in which form the answer is wanted."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

BYTES_PER_TOKEN: Final = 4
"""Bytes of UTF-8 counted as one token; the usual rule of thumb for English text."""
TOKENS_PER_IMAGE: Final = 1024
"""Tokens counted for each image part, whatever its size."""


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text: its UTF-8 bytes divided by `BYTES_PER_TOKEN`, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An error that is answered in place of a completion, in the shape of OpenAI's error object."""

    status: int
    """HTTP status."""
    message: str
    """What was wrong."""
    type: str = "invalid_request_error"
    """The provider's class of error."""
    code: str | None = None
    """The provider's code of the error."""
    param: str | None = None
    """The field of the request that is at fault."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that go with it, such as `Retry-After`."""

    def body(self) -> bytes:
        """The error object as JSON."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for an answer, as it arrived; in any of the formats."""

    number: int
    """Its place in the order of arrival, from 1; the number of its entry in the bill."""
    body: bytes
    """The exact bytes."""
    sha256: str
    """Hex digest of the body."""
    headers: Mapping[str, str]
    """Header names (in any case) to values."""
    model: str
    """The model asked for."""
    messages: list[dict[str, Any]]
    """The messages as sent; of another format than chat completions, as they would be in that one."""
    text: str
    """The text of all messages, one after the other, with line ends between."""
    images: int
    """How many image parts the messages have."""
    format: str
    """The `type` of the response format: `text`, `json_object` or `json_schema`."""
    schema: dict[str, Any] | None
    """The JSON schema that the answer must follow, if the request has one."""
    schema_name: str | None
    """The name given to that schema."""
    strict: bool
    """Whether the schema is to be followed strictly."""
    max_tokens: int | None
    """The most tokens that the answer may have, if the request says so."""
    tools: tuple[str, ...] = ()
    """Names of the tools that the model may call."""
    background: bool = False
    """Whether a job is asked for instead of an answer (responses only)."""

    @property
    def input_tokens(self) -> int:
        """Estimated tokens of the messages (see `count_tokens`), and `TOKENS_PER_IMAGE` for each image."""
        return count_tokens(self.text) + self.images * TOKENS_PER_IMAGE

    @property
    def schema_title(self) -> str | None:
        """The `title` inside the schema; pydantic writes the name of the model's class there."""
        title = self.schema.get("title") if self.schema else None
        return title if isinstance(title, str) else None

    @property
    def tool_turns(self) -> int:
        """How many answers of this conversation have called tools."""
        return sum(bool(message.get("tool_calls")) for message in self.messages)

    @property
    def last_text(self) -> str:
        """The text of the last message."""
        return said_in(self.messages[-1:])[0]

    def conversation(self) -> str:
        """Name the conversation that this request continues: a digest of what stands before the first answer.

        A complaint adds the model's answer and a further message, so that all turns about one prompt share this name.
        """
        opening = []
        for message in self.messages:
            if message.get("role") == "assistant":
                break
            opening.append(message)
        return hashlib.sha256(orjson.dumps([self.model, opening])).hexdigest()

    def system_texts(self) -> Iterator[str]:
        """The texts of the system and developer messages."""
        for message in self.messages:
            if message.get("role") in {"system", "developer"}:
                yield said_in([message])[0]


def read_request(number: int, body: bytes, sha256: str, headers: Mapping[str, str]) -> ChatRequest | Rejection:
    """Read a request's body.

    Args:
        number: Place in the order of arrival.
        body: The bytes as they came.
        sha256: Their hex digest.
        headers: Headers of the request.

    Returns:
        The request, or the error that the provider answers when it is none (400).
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Rejection(400, f"We could not parse the JSON body of your request: {error}.")
    if not isinstance(data, dict) or not isinstance(data.get("model"), str):
        return Rejection(400, "you must provide a model parameter")
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        return Rejection(400, "'messages' must be an array of at least one message.", param="messages")
    if data.get("stream") or data.get("n", 1) != 1:
        return Rejection(400, "the fake provider gives one whole answer: no stream=true, no n > 1", param="stream")
    shape = data.get("response_format") or {}
    named = shape.get("json_schema") or {}
    limit = data.get("max_completion_tokens") or data.get("max_tokens")
    if objection := _objection_to_tools(messages):
        return Rejection(400, objection, param="messages")
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
        schema=named.get("schema"),
        schema_name=named.get("name"),
        strict=bool(named.get("strict")),
        max_tokens=limit if isinstance(limit, int) else None,
        tools=tuple(tool["function"]["name"] for tool in data.get("tools") or ()),
    )


def _objection_to_tools(messages: list[dict[str, Any]]) -> str | None:
    """Every call is answered right after it, and nothing else is; the wording is OpenAI's."""
    open_calls: set[str] = set()
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            break
        open_calls = {call["id"] for call in message.get("tool_calls") or ()}
    if open_calls:
        return (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}"
        )
    return None


def said_in(messages: list[dict[str, Any]]) -> tuple[str, int]:
    """Join the texts of messages, and count their images."""
    texts: list[str] = []
    images = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict):
                    images += part.get("type") in {"image_url", "image", "input_image"}
                    texts += [part[name] for name in ("text", "content") if isinstance(part.get(name), str)]
    return "\n".join(texts), images
