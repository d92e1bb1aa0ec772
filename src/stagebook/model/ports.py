"""The two ways out that a stage can take by type: the door (recorded HTTP) and a model (recorded turns)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from stagebook.model.exchange import Response

if TYPE_CHECKING:
    import httpx2

M = TypeVar("M", bound=BaseModel)


@runtime_checkable
class Door(Protocol):
    """Recorded HTTP: what was sent and what came back is durable, and a resumed stage is answered from the ledger."""

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Fetch an address.

        Raises:
            ProviderError: No usable answer after every retry.
        """
        ...

    async def post(self, url: str, *, json: object, headers: Mapping[str, str] | None = None) -> Response:
        """Send a JSON document.

        Raises:
            ProviderError: No usable answer after every retry.
        """
        ...

    def httpx2_client(self, **options: Any) -> "httpx2.AsyncClient":
        """Make an HTTP client for any SDK built on httpx2 (openai, anthropic, pydantic-ai): all it sends is recorded.

        A resumed stage is answered from the ledger, so that no finished call is paid for twice. A streamed answer
        reaches the SDK once it is whole.

        Args:
            options: As for `httpx2.AsyncClient`, but for those that say how to connect.

        Raises:
            UsageError: The extra `stagebook[sdk]` is not installed, or an option would lead around the record.
        """
        ...


@runtime_checkable
class Llm(Protocol):
    """Recorded model calls from inside a stage's own function."""

    async def ask(self, text: str, *, system: str | None = None, model: str | None = None) -> str:
        """Ask for plain text.

        Raises:
            ProviderError: No answer after every retry.
            AnswerError: The answer cannot be used.
        """
        ...

    async def ask_for(self, returns: type[M], text: str, *, system: str | None = None, model: str | None = None) -> M:
        """Ask for an answer of a given model, validated.

        Raises:
            ProviderError: No answer after every retry.
            AnswerError: The answer cannot be used.
        """
        ...
