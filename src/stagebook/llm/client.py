"""A model behind the door: encodes a prompt, sends it, reads the answer and sends complaints back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from stagebook.door.door import OutwardDoor, Sent
from stagebook.door.journal import Journal
from stagebook.door.recognised import Recognised
from stagebook.llm.batches import Batches
from stagebook.llm.codec import Codec, JobFailed, Reply, Unreadable
from stagebook.llm.endpoint import Endpoint
from stagebook.llm.fallback import Line
from stagebook.llm.jobs import finished
from stagebook.llm.plain_endpoint import ENDPOINT, PlainEndpoint
from stagebook.llm.prices import PriceBook
from stagebook.llm.providers import LOCAL, Reached, alternatives, reach, reach_own, split_model
from stagebook.llm.sdk_requests import SdkRequests
from stagebook.llm.tools import Toolbox
from stagebook.llm.weights import find_weights
from stagebook.model.errors import (
    AnswerInvalid,
    AnswerRefused,
    AnswerTruncated,
    Complaint,
    ProviderUnavailable,
    StagebookError,
)
from stagebook.model.exchange import Request, Response, content_hash
from stagebook.model.prompt import Message, Prompt
from stagebook.model.usage import Charge

T = TypeVar("T")

NO_TOOLS = Toolbox()
CUT = "The answer was cut off at its length limit. Answer again, complete and shorter."
COMPLAINT = "That answer cannot be used:\n{reason}\n\nAnswer again, whole, with this mended."

LENIENTLY = "accepted leniently: "
"""Begins the warning on an answer that was accepted though it was complained about."""


class Answer(NamedTuple, Generic[T]):
    """An accepted answer."""

    value: T
    """What the reader made of its text."""
    warnings: tuple[str, ...] = ()
    """Complaints that were let go."""


Reader = Callable[[str, bool], Awaitable[T]]
"""Makes a value of an answer's text; raises Complaint with the reason where it cannot. Told whether this is the last
try: then complaints that do not insist are let go."""


class ModelClient:
    """Asks models, each by `provider:name`; several with `|` between are asked in that order, the next where one fails.

    Args:
        door: The way out.
        environment: For addresses and keys.
        prices: What answers cost.
        endpoints: Endpoints of one's own, by name.
        batches: By which those who can wait are answered at half price.
    """

    def __init__(
        self,
        door: OutwardDoor,
        environment: Mapping[str, str],
        prices: PriceBook | None = None,
        endpoints: Mapping[str, Endpoint] | None = None,
        batches: Batches | None = None,
    ) -> None:
        self._door = door
        self._environment = environment
        self._prices = prices or PriceBook()
        self._batches = batches
        self._sdk_requests: SdkRequests | None = None
        self._own = endpoints or {}
        self._found: dict[str, tuple[Reached, str]] = {}
        """By model, as they were found first."""

    def check(self, model: str) -> None:
        """See that a model, and each that would stand in for it, can be asked, before anything is run.

        Raises:
            NotFound: There is no such provider, endpoint or local model.
            InputError: Its provider's address is none.
            MissingKey: Its key is not set.
            ModelNotInstalled: The weights of a local model are not here.
        """
        for one in alternatives(model):
            reached, name = self._reached(one)
            if reached.provider.name == LOCAL:
                find_weights(name, self._environment)

    def request(self, prompt: Prompt, model: str) -> Request:
        """Write the request for a prompt, to the first of the models; pure but for the files of pictures."""
        reached, name = self._reached(alternatives(model)[0])
        codec = reached.provider.codec
        if isinstance(codec, PlainEndpoint):
            return codec.request(prompt)
        segments = codec.encode(prompt, name)
        hashed = content_hash(b"".join(segments))
        return Request(
            "POST", reached.url, segments, reached.headers, "model", reached.provider.name, name, hashed=hashed
        )

    def recognise(self, url: str, body: bytes) -> Recognised | None:
        """Tell what a request of an SDK asks; see `SdkRequests.recognise`."""
        if self._sdk_requests is None:
            self._sdk_requests = SdkRequests(self._environment, self._prices)
        return self._sdk_requests.recognise(url, body)

    async def ask(
        self,
        prompt: Prompt,
        model: str,
        journal: Journal,
        read: Reader[T],
        *,
        tries: int,
        salvage: Reader[T] | None = None,
        tools: Toolbox | None = None,
        written: Request | None = None,
        patient: bool = False,
    ) -> Answer[T]:
        """Ask until an answer can be used.

        A complaint is a new turn of the conversation: the model sees its answer and the reason. Answers replayed from a
        failed attempt use up no try, and neither do answers that call tools.

        Args:
            prompt: What is asked.
            model: `provider:name`, or several with `|` between.
            journal: The step that asks.
            read: Makes a value of the answer's text.
            tries: Most answers paid for.
            salvage: Makes a value of the last answer with fewer demands, once the tries are used up; None to fail.
            tools: What the prompt's tools are.
            written: The prompt's request to the first model, where it was written already.
            patient: Whether the answer may come by a provider's batch, where the drive has any.

        Raises:
            ProviderError: No answer, from none of the models.
            AnswerError: No usable answer; the text holds the last reason.
        """
        used = turns = 0
        line, tools = Line(alternatives(model)), tools or NO_TOOLS
        conversation = prompt if tools is NO_TOOLS else replace(prompt, tools=tools.specs)
        while True:
            asked = await self._send(conversation, line, journal, written, patient=patient)
            written = None
            sent, reply, reason, failure = asked.sent, asked.reply, asked.reason, asked.failure
            if reply is not None and reply.calls and reason is None:
                self._door.parsed(sent.response, journal)
                turns += 1
                if turns > tools.most_turns:
                    raise AnswerInvalid(f"{line.model} still calls tools after {tools.most_turns} turns")
                wish = Message("assistant", (reply.text,) if reply.text else (), reply.calls, native=reply.native)
                results = await tools.answer(reply.calls, self._door, journal)
                conversation = replace(conversation, messages=(*conversation.messages, wish, *results))
                continue
            used += not sent.free
            text = reply.text if reply is not None else ""
            if reason is None:
                try:
                    value = await read(text, used >= tries)
                except Complaint as complaint:
                    reason, failure = str(complaint), AnswerInvalid
                else:
                    self._door.parsed(sent.response, journal)
                    return Answer(value, line.warnings)
            self._door.parsed(sent.response, journal, reason)
            if failure is AnswerRefused:
                raise AnswerRefused(f"{line.model} declined: {reason}")
            if used >= tries:
                if salvage is not None and reply is not None:
                    try:
                        return Answer(await salvage(text, True), (*line.warnings, f"{LENIENTLY}{reason}"))
                    except Complaint as complaint:
                        reason = str(complaint)
                counted = f"{tries} {'try' if tries == 1 else 'tries'}"
                raise failure(f"{line.model} gave no usable answer in {counted}: {reason}")
            if reply is not None:
                turn = Message("assistant", (text or "(empty)",)), Message("user", (COMPLAINT.format(reason=reason),))
                conversation = replace(conversation, messages=(*conversation.messages, *turn))

    async def _send(
        self, prompt: Prompt, line: Line, journal: Journal, written: Request | None, *, patient: bool
    ) -> "_Asked":
        """Send a prompt to the model whose turn it is, and to the next where its provider fails."""
        first = line.model
        line.recall(lambda model: journal.foresees(self.request(prompt, model).digest()))
        while True:
            try:
                request = written if written is not None and line.model is first else self.request(prompt, line.model)
                asked = await self._send_to(request, line.model, journal, patient=patient)
            except line.passed_over as error:
                if not line.advance(error):
                    raise
            else:
                failed = asked.failure is ProviderUnavailable
                if not (failed and line.advance(ProviderUnavailable(asked.reason or ""))):
                    return asked

    async def _send_to(self, request: Request, model: str, journal: Journal, *, patient: bool) -> "_Asked":
        reached, name = self._reached(model)
        codec = reached.provider.codec

        def meter(response: Response) -> Charge | None:
            found = codec.metered(response.body)
            return self._prices.charge(reached.provider.price_list, name, found) if found else None

        batch = self._batches.way(reached, name) if patient and self._batches is not None else None
        sent = await self._door.send(request, journal, meter=meter, explain=codec.explain, batch=batch)
        asked = _looked(sent, codec)
        if asked.reply is None or asked.reply.job is None:
            return asked
        try:
            answer = await finished(request, asked.reply.job, codec, self._door, journal, meter)
        except JobFailed as error:
            return _Asked(sent, None, str(error), ProviderUnavailable)
        return _looked(Sent(answer, free=sent.free), codec)

    def _reached(self, model: str) -> tuple[Reached, str]:
        found = self._found.get(model)
        if found is None:
            provider, name = split_model(model)
            own = provider == ENDPOINT
            reached = reach_own(name, self._own, self._environment) if own else reach(provider, self._environment)
            found = self._found[model] = reached, name
        return found


class _Asked(NamedTuple):
    """What came of one sending."""

    sent: Sent
    reply: Reply | None
    """The answer, read; None where it is none."""
    reason: str | None = None
    """Why it cannot be used, if so."""
    failure: type[StagebookError] = AnswerInvalid
    """What to raise with the reason, once the tries are used up."""


def _looked(sent: Sent, codec: Codec) -> _Asked:
    """Read an answer's envelope."""
    try:
        reply = codec.decode(sent.response.body)
    except JobFailed as error:
        return _Asked(sent, None, str(error), ProviderUnavailable)
    except Unreadable as error:
        return _Asked(sent, None, str(error))
    if reply.refusal:
        return _Asked(sent, reply, reply.refusal, AnswerRefused)
    if reply.truncated:
        return _Asked(sent, reply, CUT, AnswerTruncated)
    return _Asked(sent, reply)
