"""The formats that the fake provider speaks: how a request is read and an answer or an error is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from stagebook.testing import provider_anthropic, provider_responses
from stagebook.testing.provider_answers import Answer
from stagebook.testing.provider_request import ChatRequest, Rejection, read_request


@dataclass(frozen=True, slots=True)
class Format:
    """One format."""

    read: Callable[[int, bytes, str, Mapping[str, str]], ChatRequest | Rejection]
    """Reads a request: number, body, digest of the body, headers."""
    answer: Callable[[Answer, ChatRequest, float], bytes]
    """Writes an answer given at a moment in Unix seconds."""
    error: Callable[[Rejection], bytes]
    """Writes an error."""
    key: Callable[[Mapping[str, str]], str | None]
    """Finds the key among a request's headers."""
    request_id: str = "x-request-id"
    """The header that names a request."""


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key if scheme == "Bearer" else None


CHAT: Final = Format(read_request, Answer.completion, Rejection.body, _bearer)
RESPONSES: Final = Format(provider_responses.read, provider_responses.write, Rejection.body, _bearer)
MESSAGES: Final = Format(
    provider_anthropic.read,
    provider_anthropic.write,
    provider_anthropic.write_error,
    lambda headers: headers.get("x-api-key"),
    "request-id",
)
