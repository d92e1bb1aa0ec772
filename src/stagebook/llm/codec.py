"""What a provider's format is to the rest of the house: pure functions from a prompt to bytes and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from stagebook.model.errors import ProviderError
from stagebook.model.exchange import Response
from stagebook.model.image import Image
from stagebook.model.prompt import Message, Native, Piece, Prompt, ToolCall
from stagebook.model.usage import Usage


class Reply(NamedTuple):
    """A model's answer, read."""

    text: str
    """What it wrote."""
    refusal: str | None
    """Why it declined, if it did."""
    truncated: bool
    """Whether it ended at its token limit."""
    calls: tuple[ToolCall, ...] = ()
    """Tools that it wants called before it answers."""
    native: Native | None = None
    """The turn as it came, where there are calls."""
    job: str | None = None
    """Handle of a job that is still at work: the answer is to be fetched by it."""


class Unreadable(Exception):
    """A body with status 200 that is no answer."""


class JobFailed(Unreadable):
    """A body with status 200 that says that the provider could not answer."""


class Metered(NamedTuple):
    """What an answer says of its own use."""

    usage: Usage
    raw: bytes | None
    """The usage object as it came, JSON."""
    model: str | None
    finish_reason: str | None
    cost_dollars: float | None
    """What the provider itself says it charged (OpenRouter's `usage.cost`)."""


class Codec(Protocol):
    """One wire format. Everything is a pure function; what differs between providers of a format is in the object."""

    @property
    def path(self) -> str:
        """What follows the provider's address: `/chat/completions`."""
        ...

    def headers(self, key_env: str | None) -> Mapping[str, str]:
        """Write the headers of a request.

        Args:
            key_env: Variable that holds the key, written as a reference; None where there is none.
        """
        ...

    def encode(self, prompt: Prompt, model: str) -> tuple[bytes, ...]:
        """Write a request's body, cut where large parts begin and end."""
        ...

    def decode(self, body: bytes) -> Reply:
        """Read an answer.

        Raises:
            Unreadable: It is none in this format.
        """
        ...

    def metered(self, body: bytes) -> Metered | None:
        """Read what an answer used; None where it does not say. Never raises."""
        ...

    def explain(self, response: Response) -> ProviderError | None:
        """Make a sharper error of an error body; None where its status says it all."""
        ...

    def spoken(self, request: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Read a request's messages back: (role, text)."""
        ...


INSTRUCTION = (
    "Answer with one JSON object and nothing else: no explanation, no code fence."
    " It must be valid under this JSON schema:\n"
)
"""Stands before the schema where a provider does not hold answers to one."""


def instructed(prompt: Prompt) -> tuple[Message, ...]:
    """Give a prompt's messages with its schema as an instruction."""
    if prompt.schema is None:
        return prompt.messages
    return (Message("system", (INSTRUCTION, prompt.schema.decode())), *prompt.messages)


def escaped(pieces: Iterable[Piece]) -> Iterable[bytes]:
    """Write text as the inside of a JSON string, piece by piece.

    JSON escapes each character by itself: the escaped form of a text is the concatenation of those of its pieces.
    """
    return (orjson.dumps(piece)[1:-1] for piece in pieces if isinstance(piece, str))


def runs(pieces: Iterable[Piece]) -> list[Image | list[str]]:
    """Part a message's pieces at its pictures: texts in between stay together."""
    found: list[Image | list[str]] = []
    for piece in pieces:
        if isinstance(piece, Image):
            found.append(piece)
        elif found and isinstance(found[-1], list):
            found[-1].append(piece)
        else:
            found.append([piece])
    return found


def parted(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Part the system's messages from the conversation; one without any turn has the system's as the user's."""
    system = [one for one in messages if one.role == "system"]
    turns = [one for one in messages if one.role != "system"]
    return (system, turns) if turns else ([], [Message("user", one.pieces) for one in system])


def has_images(message: Message) -> bool:
    """Whether a message shows a picture."""
    return any(isinstance(piece, Image) for piece in message.pieces)


def quoted(body: bytes) -> str:
    """Quote the beginning of a body in one line."""
    return " ".join(body[:200].decode("utf-8", "replace").split())


def said_in(content: object) -> str:
    """Read the text of a message's content, also where it is given in parts; a picture is named."""
    if isinstance(content, str) or content is None:
        return content or ""
    if not isinstance(content, list):
        return str(content)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in {"text", "input_text", "output_text"}:
            texts.append(str(part.get("text", "")))
        elif kind in {"image", "image_url", "input_image"}:
            texts.append("[image]")
        elif kind == "tool_use":
            texts.append(f"[calls {part.get('name')} {orjson.dumps(part.get('input')).decode()}]")
        elif kind == "tool_result":
            texts.append(said_in(part.get("content")))
    return "".join(texts)
