"""A model as a stage's own function sees it: recorded turns for one step."""

from typing import TypeVar

import orjson
from pydantic import BaseModel

from stagebook.door.journal import Journal
from stagebook.llm.client import ModelClient
from stagebook.llm.reading import read_json
from stagebook.model.errors import Complaint, InputError
from stagebook.model.prompt import Message, Prompt

M = TypeVar("M", bound=BaseModel)

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

    async def ask(self, text: str, *, system: str | None = None, model: str | None = None) -> str:
        """Ask for plain text; see `stagebook.Llm.ask`."""

        async def read(answer: str, last: bool) -> str:  # noqa: ARG001, FBT001  a Reader's shape
            if not answer.strip():
                raise Complaint("The answer is empty.")
            return answer

        prompt = Prompt(_messages(text, system))
        return (await self._client.ask(prompt, self._named(model), self._journal, read, tries=TRIES)).value

    async def ask_for(self, returns: type[M], text: str, *, system: str | None = None, model: str | None = None) -> M:
        """Ask for an answer of a given model; see `stagebook.Llm.ask_for`."""

        async def read(answer: str, last: bool) -> M:  # noqa: ARG001, FBT001  a Reader's shape
            value = read_json(returns, answer)
            if not isinstance(value, returns):
                raise Complaint(f"The answer is no {returns.__name__}.")
            return value

        schema = orjson.dumps(returns.model_json_schema())  # in the order of the fields: a model writes them in it
        prompt = Prompt(_messages(text, system), schema_name=returns.__name__, schema=schema)
        return (await self._client.ask(prompt, self._named(model), self._journal, read, tries=TRIES)).value

    def _named(self, model: str | None) -> str:
        chosen = model or self._model
        if chosen is None:
            raise InputError(
                "a stage asked a model without naming one: pass model='provider:name', or run with --model"
            )
        return chosen


def _messages(text: str, system: str | None) -> tuple[Message, ...]:
    asked = Message("user", (text,))
    return (Message("system", (system,)), asked) if system else (asked,)
