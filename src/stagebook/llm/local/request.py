"""What the local model reads of an OpenAI chat completions request, and how it refuses one."""

from collections.abc import Mapping
from typing import Any

import orjson

from stagebook.llm.local.json_grammar import Form, UnusableSchema, json_form
from stagebook.llm.local.text_grammar import text_form

PASSED_ON = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "stop")
"""Fields that mean the same to llama.cpp's server."""

NOT_DONE = ("tools", "functions", "stream", "logprobs", "audio")
"""Fields that would change an answer's shape, and are refused rather than overlooked."""


class Refused(Exception):
    """A request that cannot be answered.

    Args:
        message: What is wrong with it.
        code: OpenAI's, where it has one for this.
        param: The field at fault.
    """

    def __init__(self, message: str, code: str, param: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def document(self) -> bytes:
        """Write OpenAI's error document."""
        error = {
            "message": str(self),
            "type": "server_error" if self.code == "server_error" else "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }
        return orjson.dumps({"error": error})


class ChatRequest:
    """One request, read.

    Args:
        body: An OpenAI chat completions request.

    Raises:
        Refused: It is none, or asks for what a local model does not do.
    """

    def __init__(self, body: bytes) -> None:
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(f"the body is not JSON: {error}", "invalid_json", None) from error
        if not isinstance(fields, dict):
            raise Refused("the body is no JSON object", "invalid_json", None)
        for field in NOT_DONE:
            if fields.get(field):
                raise Refused(f"a local model does not take {field!r}", "unsupported_parameter", field)
        if fields.get("n", 1) != 1:
            raise Refused("a local model gives one answer", "unsupported_value", "n")
        self.messages = _messages(fields.get("messages"))
        limit = fields.get("max_completion_tokens", fields.get("max_tokens"))
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise Refused("the limit of an answer's tokens is 1 or more", "invalid_value", "max_tokens")
        self.max_tokens: int | None = limit
        self.sampling = {field: fields[field] for field in PASSED_ON if fields.get(field) is not None}
        wanted = fields.get("response_format") or {}
        self._format: Mapping[str, Any] = wanted if isinstance(wanted, dict) else {}

    @property
    def is_json(self) -> bool:
        """Whether the answer is to be JSON."""
        return self._format.get("type") in {"json_schema", "json_object"}

    def form(self, tokens: int) -> Form:
        """Make the grammar of the answer.

        Args:
            tokens: What the answer may take.

        Raises:
            Refused: The schema cannot be held.
        """
        kind = self._format.get("type", "text")
        try:
            match kind:
                case "text":
                    return text_form(self._format.get("schema") or {}, tokens)
                case "json_schema":
                    return json_form(self._format["json_schema"]["schema"], tokens)
                case "json_object":
                    return json_form({"type": "object"}, tokens)
        except UnusableSchema as error:
            raise Refused(str(error), "invalid_json_schema", "response_format") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"the schema cannot be read: {type(error).__name__}: {error}"
            raise Refused(message, "invalid_json_schema", "response_format") from error
        raise Refused(f"a local model does not write {kind!r}", "unsupported_value", "response_format")


def is_json(text: str) -> bool:
    """Say whether a text is JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _messages(given: object) -> list[Mapping[str, str]]:
    if not isinstance(given, list) or not given:
        raise Refused("a request needs messages", "invalid_value", "messages")
    messages: list[Mapping[str, str]] = []
    for one in given:
        if not isinstance(one, dict) or one.get("role") not in {"system", "developer", "user", "assistant"}:
            raise Refused("a message has a role: system, user or assistant", "invalid_value", "messages")
        content = one.get("content")
        if isinstance(content, list):
            if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
                raise Refused("a local model reads text only", "unsupported_value", "messages")
            content = "".join(str(part.get("text", "")) for part in content)
        if not isinstance(content, str):
            raise Refused("a message has content", "invalid_value", "messages")
        role = "system" if one["role"] == "developer" else str(one["role"])
        messages.append({"role": role, "content": content})
    return messages
