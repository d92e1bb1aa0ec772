"""The codec of an endpoint of one's own: a prompt to the request that it is declared to take, and its answer read."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from time import time
from typing import Any, Final

import orjson

from stagebook.door.retry import RETRIED_STATUSES, asked_wait
from stagebook.llm.answer_shapes import NothingThere, at, finish_of, is_cut, refusal_of, steps_of, text_of, usage_of
from stagebook.llm.body_template import Values, escaped_json, filled_address, slots
from stagebook.llm.codec import Metered, Reply, Unreadable, has_images, instructed, parted, said_in
from stagebook.llm.endpoint import JSON, Endpoint, filling_of
from stagebook.model.errors import InputError, ProviderError, ProviderUnavailable, RateLimited, RequestRefused
from stagebook.model.exchange import Request, Response, content_hash
from stagebook.model.prompt import Message, Prompt

ENDPOINT: Final = "endpoint"
"""The provider of models that are endpoints of one's own."""
QUOTED: Final = 200
"""Characters of an answer that are quoted in a sentence."""
_USAGE: Final = (("usage",), ("tokens_used",), ("metadata", "usage"), ("metadata", "tokens_used"))
"""Where answers tell what they used."""
_MENDS: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "check the credential in its headers",
    HTTPStatus.FORBIDDEN: "check the credential in its headers",
    HTTPStatus.NOT_FOUND: "check its url",
    HTTPStatus.METHOD_NOT_ALLOWED: "check its method",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send it a shorter prompt",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "check its content-type header",
}


class PlainEndpoint:
    """The codec of one endpoint.

    Args:
        name: What it is called, after `endpoint:`.
        declared: What it is.
    """

    path = ""
    """Its address is whole."""

    def __init__(self, name: str, declared: Endpoint) -> None:
        self._name = name
        self._declared = declared
        self._filling = filling_of(declared)
        self._used = slots(declared.url) | (self._filling.names if self._filling is not None else frozenset())
        self._in_address = bool(slots(declared.url))
        self._answer = None if declared.answer is None else steps_of(declared.answer)
        self._usage = _USAGE if declared.tokens is None else (steps_of(declared.tokens),)
        self._headers = self.headers(None)
        self._told_apart = orjson.dumps(self._headers, option=orjson.OPT_SORT_KEYS)
        """A header may be all that tells two models apart, and so may an address; secrets are references in both."""

    def request(self, prompt: Prompt) -> Request:
        """Write the whole request for a prompt.

        Raises:
            InputError: The prompt has pictures or tools, for which an endpoint has no place.
        """
        values = self._values(prompt)
        segments = self._filling.filled(values) if self._filling is not None else ()
        declared = self._declared
        url = filled_address(declared.url, values) if self._in_address else declared.url
        return Request(
            declared.method,
            url,
            segments,
            self._headers,
            "model",
            ENDPOINT,
            self._name,
            hashed=content_hash(b"".join(segments)),
            timeout=declared.timeout,
            read_as=f"{declared.method} {url}\n{declared.answer}\n".encode() + self._told_apart,
        )

    def headers(self, key_env: str | None) -> Mapping[str, str]:  # noqa: ARG002  its keys are in its own headers
        """Those that are declared, and how the body is written."""
        given = {name.lower(): value for name, value in self._declared.headers.items()}
        return given if self._filling is None else {"content-type": JSON, **given}

    def encode(self, prompt: Prompt, model: str) -> tuple[bytes, ...]:  # noqa: ARG002  it is the endpoint's own
        """Write a request's body."""
        return self.request(prompt).segments

    def decode(self, body: bytes) -> Reply:
        """Read an answer: at the place that is declared, else where APIs in wide use have their text.

        Raises:
            Unreadable: There is none.
        """
        if not body.strip():
            raise Unreadable(f"{self} answered with an empty body; check its url, its method and its body")
        if self._answer == ():
            return Reply(body.decode("utf-8", "replace"), None, truncated=False)
        document = self._document(body)
        if self._answer is None:
            text = text_of(document)
            if text is None:
                raise Unreadable(
                    f"{self} answered without a text in any known place: {_quoted(body)};"
                    " say where it is, as in answer: data.items[0].text"
                )
        else:
            text = self._declared_text(document, body)
        return Reply(text, refusal_of(document), is_cut(finish_of(document)))

    def metered(self, body: bytes) -> Metered | None:
        """Read what an answer used; None where it does not say."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        for place in self._usage:
            try:
                told = at(document, place)
            except NothingThere:
                continue
            usage = usage_of(told)
            if usage is not None:
                model = document.get("model") if isinstance(document, dict) else None
                named = model if isinstance(model, str) else self._declared.model
                return Metered(usage, orjson.dumps(told), named, finish_of(document), None)
        return None

    def explain(self, response: Response) -> ProviderError | None:
        """Say what an answer that is none means for an endpoint of one's own."""
        status, said = response.status, _quoted(response.body)
        asked = asked_wait(response.headers, time())
        if 300 <= status < 400:  # noqa: PLR2004  redirections, RFC 9110
            to = response.headers.get("location", "nowhere").partition("?")[0][:QUOTED]  # a query may hold a key
            return RequestRefused(
                f"{self} answered {status} and leads to {to}; give that address as its url", status=status
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return RateLimited(f"{self} answered 429: {said}", status=status, retry_after=asked)
        if status in RETRIED_STATUSES:
            return ProviderUnavailable(f"{self} answered {status}: {said}", status=status, retry_after=asked)
        mend = _MENDS.get(status, "check what it takes as its body")
        return RequestRefused(f"{self} answered {status}: {said}; {mend}", status=status)

    def spoken(self, request: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Read what was asked back out of a JSON body; each text in it where there is no conversation."""
        for value in request.values():
            if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
                return [(str(one["role"]), said_in(one.get("content"))) for one in value]
        texts = [(name, value) for name, value in request.items() if isinstance(value, str)]
        return texts or [("request", orjson.dumps(request).decode())]

    def __str__(self) -> str:
        return f"{ENDPOINT}:{self._name}"

    def _values(self, prompt: Prompt) -> Values:
        if prompt.tools:
            raise InputError(f"{self} cannot be given tools; ask a provider that takes them")
        if any(has_images(message) for message in prompt.messages):
            raise InputError(f"{self} is sent text, and the prompt has a picture; ask a provider that takes pictures")
        system, turns = parted(instructed(prompt))
        told = tuple(piece for message in system for piece in (*_pieces(message), "\n\n"))[:-1]
        apart = "system" in self._used
        return Values(
            {
                "prompt": _as_text(() if apart else told, turns),
                "system": told,
                "model": (self._declared.model or self._name,),
            },
            tuple(_as_list(turns if apart else (*system, *turns))) if "messages" in self._used else (),
        )

    def _document(self, body: bytes) -> Any:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            beginning = body.lstrip()[:1]
            if beginning == b"<":
                raise Unreadable(
                    f"{self} answered with a page of HTML: {_quoted(body)}; check its url and its credential"
                ) from error
            if beginning in {b"{", b"["} or self._answer is not None:
                raise Unreadable(f"{self} answered with what is not JSON: {_quoted(body)}; check its url") from error
            return body.decode("utf-8", "replace")

    def _declared_text(self, document: Any, body: bytes) -> str:
        try:
            found = at(document, self._answer or ())
        except NothingThere:
            found = None
        if found is None:
            raise Unreadable(
                f"{self} answered without anything at {self._declared.answer}: {_quoted(body)};"
                " set answer to where its text is"
            )
        text = text_of(found)
        return orjson.dumps(found).decode() if text is None else text


def _pieces(message: Message) -> tuple[str, ...]:
    return tuple(piece for piece in message.pieces if isinstance(piece, str))


def _as_text(system: tuple[str, ...], turns: Sequence[Message]) -> tuple[str, ...]:
    """Write a conversation as one text: a single question as it stands, several turns with who speaks."""
    if len(turns) == 1:
        pieces = _pieces(turns[0])
    else:
        pieces = tuple(
            piece
            for index, turn in enumerate(turns)
            for piece in ("\n\n" if index else "", f"{turn.role.title()}:\n", *_pieces(turn))
        )
    return (*system, "\n\n", *pieces) if system else pieces


def _as_list(messages: Sequence[Message]) -> Sequence[bytes]:
    """Write a conversation as a JSON list of objects with role and content."""
    segments = [b"["]
    for index, message in enumerate(messages):
        segments.append(b'%b{"role":"%b","content":"' % (b"," if index else b"", message.role.encode()))
        segments.extend(escaped_json(piece) for piece in _pieces(message))
        segments.append(b'"}')
    segments.append(b"]")
    return segments


def _quoted(body: bytes) -> str:
    """Quote the beginning of a body in one line, without what a terminal would act on."""
    text = body[: 4 * QUOTED].decode("utf-8", "replace")
    shown = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return repr(shown[:QUOTED]) if shown else "nothing"
