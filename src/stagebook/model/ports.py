"""What a stage can take by type: the door (recorded HTTP), a model (recorded turns), and a way to warn."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from stagebook.model.exchange import Response
from stagebook.model.image import Image

if TYPE_CHECKING:
    import httpx2

M = TypeVar("M", bound=BaseModel)

Question = str | Sequence[str | Image]
"""What is asked from inside a stage: text, or texts and pictures in turn."""

MOST_TURNS: Final = 10
"""Answers that may call tools where a question does not say: a model that goes round in circles is stopped."""


@runtime_checkable
class Door(Protocol):
    """Recorded HTTP: what was sent and what came back is durable, and a resumed stage is answered from the ledger."""

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Fetch an address.

        Raises:
            ProviderError: No usable answer after every retry.
        """
        ...

    async def post(
        self, url: str, *, json: object, headers: Mapping[str, str] | None = None, named: bool = False
    ) -> Response:
        """Send a JSON document.

        Args:
            url: Where to; may hold `env:NAME`, or be one.
            json: The document.
            headers: Sent with it; secrets as references, as in `Bearer env:MY_KEY`.
            named: The address is one that the owner of the run named, as in its input, and not one that was found in a
                page or in an answer: then it may be one of this machine or of a private network.

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
class Warn(Protocol):
    """What a stage's function says without failing: each sentence is kept as a warning of its step."""

    def __call__(self, text: str) -> None:
        """Warn; from any thread.

        Args:
            text: One sentence: what is wrong, and where.
        """
        ...


@runtime_checkable
class Llm(Protocol):
    """Recorded model calls from inside a stage's own function."""

    async def ask(
        self,
        text: Question,
        *,
        system: str | None = None,
        model: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        most_turns: int = MOST_TURNS,
    ) -> str:
        """Ask for plain text.

        Args:
            text: What is asked; pictures may stand between texts, in a list.
            system: What the model is told before.
            model: `provider:name`, or several with `|` between; the stage's own where none is named.
            tools: Functions that the model may call, ordinary or async, each parameter annotated. Each call is recorded
                and given again on resume.
            most_turns: Answers that may call tools.

        Raises:
            ProviderError: No answer after every retry.
            AnswerError: The answer cannot be used, or the model would not stop calling tools.
            InputError: A function cannot be a tool.
        """
        ...

    async def ask_for(
        self,
        returns: type[M],
        text: Question,
        *,
        system: str | None = None,
        model: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        most_turns: int = MOST_TURNS,
    ) -> M:
        """Ask for an answer of a given model, validated; arguments and errors are those of `ask`."""
        ...
