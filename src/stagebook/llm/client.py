"""A model behind the door: encodes a prompt, sends it, reads the answer and sends complaints back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from stagebook.door.door import OutwardDoor, Sent
from stagebook.door.journal import Journal
from stagebook.llm import openai_chat
from stagebook.llm.prices import PriceBook
from stagebook.llm.providers import endpoint, split_model
from stagebook.model.errors import (
    AnswerError,
    AnswerInvalid,
    AnswerRefused,
    AnswerTruncated,
    Complaint,
)
from stagebook.model.exchange import Request, Response
from stagebook.model.prompt import Message, Prompt
from stagebook.model.usage import Charge

T = TypeVar("T")

CUT = "The answer was cut off at its length limit. Answer again, complete and shorter."
COMPLAINT = "That answer cannot be used:\n{reason}\n\nAnswer again, whole, with this mended."


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An accepted answer."""

    value: T
    """What the reader made of its text."""
    warnings: tuple[str, ...] = ()
    """Complaints that were let go."""


Reader = Callable[[str, bool], Awaitable[T]]
"""Makes a value of an answer's text; raises Complaint with the reason where it cannot. Told whether this is the last
try: then complaints that do not insist are let go."""


class ModelClient:
    """Asks models, each by `provider:name`.

    Args:
        door: The way out.
        environment: For addresses and keys.
        prices: What answers cost.
    """

    def __init__(self, door: OutwardDoor, environment: Mapping[str, str], prices: PriceBook | None = None) -> None:
        self._door = door
        self._environment = environment
        self._prices = prices or PriceBook()

    def check(self, model: str) -> None:
        """See that a model can be asked, before anything is run.

        Raises:
            NotFound: There is no such provider.
            MissingKey: Its key is not set.
        """
        provider, _ = split_model(model)
        endpoint(provider, self._environment)

    def request(self, prompt: Prompt, model: str) -> Request:
        """Write the request for a prompt; pure."""
        provider, name = split_model(model)
        reached = endpoint(provider, self._environment)
        segments = openai_chat.encode(
            prompt,
            name,
            structured=reached.provider.structured,
            limit_field=reached.provider.limit_field,
        )
        return Request("POST", reached.url, segments, reached.headers, "model", provider, name)

    async def ask(
        self,
        prompt: Prompt,
        model: str,
        journal: Journal,
        read: Reader[T],
        *,
        tries: int,
        salvage: Reader[T] | None = None,
    ) -> Answer[T]:
        """Ask until an answer can be used.

        A complaint is a new turn of the conversation: the model sees its answer and the reason. Answers replayed from a
        failed attempt use up no try.

        Args:
            prompt: What is asked.
            model: `provider:name`.
            journal: The step that asks.
            read: Makes a value of the answer's text.
            tries: Most answers paid for.
            salvage: Makes a value of the last answer with fewer demands, once the tries are used up; None to fail.

        Raises:
            ProviderError: No answer.
            AnswerError: No usable answer; the text holds the last reason.
        """
        used = 0
        conversation = prompt
        while True:
            sent = await self._send(conversation, model, journal)
            used += not sent.free
            reply, reason, failure = self._look(sent.response)
            text = reply.text if reply is not None else ""
            if reason is None:
                try:
                    value = await read(text, used >= tries)
                except Complaint as complaint:
                    reason, failure = str(complaint), AnswerInvalid
                else:
                    await self._door.parsed(sent.response)
                    return Answer(value)
            await self._door.parsed(sent.response, reason)
            if failure is AnswerRefused:
                raise AnswerRefused(f"{model} declined: {reason}")
            if used >= tries:
                if salvage is not None and reply is not None:
                    try:
                        return Answer(await salvage(text, True), (f"accepted leniently: {reason}",))
                    except Complaint as complaint:
                        reason = str(complaint)
                raise failure(f"{model} gave no usable answer in {tries} {'try' if tries == 1 else 'tries'}: {reason}")
            if reply is not None:
                turn = Message("assistant", (text or "(empty)",)), Message("user", (COMPLAINT.format(reason=reason),))
                conversation = replace(conversation, messages=(*conversation.messages, *turn))

    async def _send(self, prompt: Prompt, model: str, journal: Journal) -> Sent:
        request = self.request(prompt, model)

        def meter(response: Response) -> Charge | None:
            found = openai_chat.metered(response.body)
            return self._prices.charge(request.provider or "", request.model or "", found) if found else None

        return await self._door.send(request, journal, meter=meter, explain=openai_chat.explain)

    @staticmethod
    def _look(response: Response) -> tuple[openai_chat.Reply | None, str | None, type[AnswerError]]:
        """Read an answer's envelope: the reply, and why it cannot be used, if so."""
        try:
            reply = openai_chat.decode(response.body)
        except openai_chat.Unreadable as error:
            return None, str(error), AnswerInvalid
        if reply.refusal:
            return reply, reply.refusal, AnswerRefused
        if reply.truncated:
            return reply, CUT, AnswerTruncated
        return reply, None, AnswerInvalid
