"""The two ways out that a stage can take by type: the door (recorded HTTP) and a model (recorded turns)."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from stagebook.model.exchange import Response

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
