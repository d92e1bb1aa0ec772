"""OpenAI chat completions: a prompt to a request body and an answer's body to a reply, as pure functions.

Format: OpenAI API reference, "Create chat completion".
"""

from dataclasses import dataclass
from typing import Any

import orjson

from stagebook.llm.providers import Structured
from stagebook.llm.strict_schema import strict
from stagebook.model.errors import ContextTooLong, ProviderError
from stagebook.model.exchange import Response
from stagebook.model.prompt import Message, Prompt
from stagebook.model.usage import Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer, read."""

    text: str
    """What it wrote."""
    refusal: str | None
    """Why it declined, if it did."""
    truncated: bool
    """Whether it ended at its token limit."""


class Unreadable(Exception):
    """A body with status 200 that is not a chat completion."""


INSTRUCTION = (
    "Answer with one JSON object and nothing else: no explanation, no code fence."
    " It must be valid under this JSON schema:\n"
)


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
        The exact body, cut where large parts begin and end: JSON escapes each character by itself, so that the escaped
        form of a text is the concatenation of the escaped forms of its pieces.
    """
    head: dict[str, Any] = {"model": model}
    sampling = prompt.sampling
    if sampling.max_tokens is not None:
        head[limit_field] = sampling.max_tokens
    for field in ("temperature", "top_p", "seed", "reasoning_effort"):
        value = getattr(sampling, field)
        if value is not None:
            head[field] = value
    messages = prompt.messages
    if prompt.schema is not None:
        if structured == "json_schema":
            held, schema = strict(orjson.loads(prompt.schema))
            name = prompt.schema_name or "answer"
            head["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": name, "strict": held, "schema": schema},
            }
        else:
            head["response_format"] = {"type": "json_object"}
            messages = (Message("system", (INSTRUCTION, prompt.schema.decode())), *messages)
    segments = [orjson.dumps(head)[:-1] + b',"messages":[']
    for index, message in enumerate(messages):
        opening = b'{"role":"%s","content":"' % message.role.encode()
        segments.append((b"," if index else b"") + opening)
        segments.extend(orjson.dumps(piece)[1:-1] for piece in message.pieces)
        segments.append(b'"}')
    segments.append(b"]}")
    return tuple(segments)


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
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        said = " ".join(body[:200].decode("utf-8", "replace").split())
        raise Unreadable(f"the answer is no chat completion ({type(error).__name__}): {said}") from error
    if isinstance(text, list):  # some servers answer in content parts
        text = "".join(part.get("text") or "" for part in text if isinstance(part, dict))
    finish = choice.get("finish_reason")
    refusal = message.get("refusal")
    if finish == "content_filter" and not refusal:
        refusal = "stopped by the provider's content filter"
    return Reply(text or "", refusal or None, finish == "length")


@dataclass(frozen=True, slots=True)
class Metered:
    """What an answer says of its own use."""

    usage: Usage
    raw: bytes | None
    """The usage object as it came, JSON."""
    model: str | None
    finish_reason: str | None
    cost_dollars: float | None
    """What the provider itself says it charged (OpenRouter's `usage.cost`)."""


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
        said = " ".join(message.split())[:300]
        return ContextTooLong(
            f"the request does not fit the model's context: {said};"
            " use a smaller window or a model with a larger context",
            status=response.status,
        )
    return None
