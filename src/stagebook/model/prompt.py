"""A rendered prompt, before any provider's format."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    """Who speaks."""
    pieces: tuple[str, ...]
    """The text, in the pieces that rendering gave it (literal, value, ...): large ones are stored once for all."""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model is to write; None leaves it to the provider."""

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
