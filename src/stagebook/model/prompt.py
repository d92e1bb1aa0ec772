"""A rendered prompt, before any provider's format."""

from dataclasses import dataclass
from typing import Literal

from stagebook.model.image import Image

Role = Literal["system", "user", "assistant", "tool"]

Piece = str | Image
"""Part of a message: text, or a picture."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that a model may call."""

    name: str
    description: str
    """What it does and when to call it, for the model."""
    parameters: bytes
    """JSON schema of its arguments, an object."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish that a tool be called."""

    id: str
    """The provider's name for this call: its result is sent back under it."""
    name: str
    arguments: str
    """JSON, as the model wrote it: it may be wrong."""


@dataclass(frozen=True, slots=True)
class Native:
    """A model's turn in its provider's own form.

    Models that reason want their turn back as they gave it, with what we do not read (signed or encrypted reasoning).
    """

    wire: str
    """Name of the format; another one is sent the turn's text and calls instead."""
    content: bytes
    """JSON."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    """Who speaks."""
    pieces: tuple[Piece, ...]
    """The text, in the pieces that rendering gave it (literal, value, ...): large ones are stored once for all."""
    calls: tuple[ToolCall, ...] = ()
    """What an assistant's turn wants called."""
    call_id: str | None = None
    """The call that a tool's message answers."""
    native: Native | None = None
    """An assistant's turn as it came."""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model is to write; None leaves it to the provider, and so does a format that has no such field."""

    max_tokens: int | None = None
    """Most tokens of the answer."""
    temperature: float | None = None
    """0 (steady) to 2 (loose)."""
    top_p: float | None = None
    """Nucleus sampling."""
    seed: int | None = None
    """For providers that take one."""
    reasoning_effort: str | None = None
    """`minimal`, `low`, `medium`, `high`, for models that reason."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked of a model: the same for every provider."""

    messages: tuple[Message, ...]
    """The conversation so far, oldest first."""
    sampling: Sampling = Sampling()
    """How to write."""
    schema_name: str | None = None
    """Name of the answer's model; None asks for plain text."""
    schema: bytes | None = None
    """JSON schema of the answer, canonical JSON; None asks for plain text."""
    tools: tuple[ToolSpec, ...] = ()
    """What the model may call before it answers."""
