"""A model as a stage's own function sees it: recorded turns for one step."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel

from stagebook.door.journal import Journal
from stagebook.llm.client import ModelClient, Reader
from stagebook.llm.reading import read_json
from stagebook.llm.tools import Toolbox
from stagebook.model.errors import Complaint, InputError
from stagebook.model.ports import MOST_TURNS, Question
from stagebook.model.prompt import Message, Prompt

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

TRIES = 3


class StageLlm:
    """Implements `stagebook.Llm` for one step.

    Args:
        client: Who asks.
        journal: The step that asks.
        model: Asked where a call names none.
    """

    __slots__ = ("_client", "_journal", "_model")

    def __init__(self, client: ModelClient, journal: Journal, model: str | None) -> None:
        self._client = client
        self._journal = journal
        self._model = model

    async def ask(
        self,
        text: Question,
        *,
        system: str | None = None,
        model: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        most_turns: int = MOST_TURNS,
    ) -> str:
        """Ask for plain text; see `stagebook.Llm.ask`."""

        async def read(answer: str, last: bool) -> str:  # noqa: ARG001, FBT001  a Reader's shape
            if not answer.strip():
                raise Complaint("The answer is empty.")
            return answer

        return await self._ask(Prompt(_messages(text, system)), model, read, Toolbox(tools, most_turns))

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
        """Ask for an answer of a given model; see `stagebook.Llm.ask_for`."""

        async def read(answer: str, last: bool) -> M:  # noqa: ARG001, FBT001  a Reader's shape
            value = read_json(returns, answer)
            if not isinstance(value, returns):
                raise Complaint(f"The answer is no {returns.__name__}.")
            return value

        schema = orjson.dumps(returns.model_json_schema())  # in the order of the fields: a model writes them in it
        prompt = Prompt(_messages(text, system), schema_name=returns.__name__, schema=schema)
        return await self._ask(prompt, model, read, Toolbox(tools, most_turns))

    async def _ask(self, prompt: Prompt, model: str | None, read: Reader[T], tools: Toolbox) -> T:
        named = self._named(model)
        return (await self._client.ask(prompt, named, self._journal, read, tries=TRIES, tools=tools)).value

    def _named(self, model: str | None) -> str:
        chosen = model or self._model
        if chosen is None:
            raise InputError(
                "a stage asked a model without naming one: pass model='provider:name', or run with --model"
            )
        return chosen


def _messages(text: Question, system: str | None) -> tuple[Message, ...]:
    asked = Message("user", (text,) if isinstance(text, str) else tuple(text))
    return (Message("system", (system,)), asked) if system else (asked,)
