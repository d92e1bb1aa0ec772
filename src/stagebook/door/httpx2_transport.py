"""The way out for SDKs: a transport of httpx2 whose every request is an exchange of the step that makes it."""

import re
import time
from collections.abc import Mapping
from typing import Any

import httpx2

from stagebook.door.door import OutwardDoor
from stagebook.door.httpx2_chunks import chunks
from stagebook.door.httpx2_headers import Disclosed, disclose
from stagebook.door.journal import Journal
from stagebook.door.recognised import Recognise
from stagebook.door.retry import asked_wait
from stagebook.door.secrets import blot, redact
from stagebook.door.transport import Transport, TransportError
from stagebook.model.errors import ProviderError, ProviderTimeout, SecretInInput, StagebookError, UsageError
from stagebook.model.exchange import Request, Response, content_hash

OWN_RETRY = "x-stainless-retry-count"
"""How the openai and anthropic packages number their own retries, from 0."""

BYPASSES = frozenset({"app", "cert", "http1", "http2", "limits", "mounts", "proxy", "transport", "verify"})
"""Options of a client that would lead around the record, or say how to connect, which is the door's own matter."""

CERTAIN = 16
"""Characters from which a key found in a body is no accident: a local server's may be a word."""

_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?')


def client(door: OutwardDoor, journal: Journal, recognise: Recognise, options: Mapping[str, Any]) -> httpx2.AsyncClient:
    """Make a client for any SDK built on httpx2; see `stagebook.Door.httpx2_client`.

    Raises:
        UsageError: An option would lead around the record.
    """
    refused = sorted(BYPASSES & options.keys())
    if refused:
        raise UsageError(
            f"door.httpx2_client() takes no {', '.join(refused)}: the door connects by itself, so that everything is"
            " recorded; leave it out"
        )
    chosen = {"follow_redirects": True, **options}  # as the SDKs' own clients do
    return httpx2.AsyncClient(transport=RecordedTransport(door, journal, recognise), **chosen)


class RecordedTransport(httpx2.AsyncBaseTransport):
    """Sends what an SDK asks for through the door: prepared, sent, received, and answered from the ledger on resume.

    Retrying is the door's. An error that it could not mend is given to the SDK with the header that tells it not to try
    again; where there was no answer at all, an SDK that tries again is told the same at once, with nothing sent.

    Args:
        door: The way out.
        journal: The step that sends.
        recognise: Says what a request is.
    """

    def __init__(self, door: OutwardDoor, journal: Journal, recognise: Recognise) -> None:
        self._door = door
        self._journal = journal
        self._recognise = recognise
        self._given_up: dict[bytes, StagebookError] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, or answer from the ledger.

        Raises:
            httpx2.TransportError: No answer after every try.
        """
        body, headers = _steady(await request.aread(), dict(request.headers))
        disclosed = disclose(str(request.url), headers, self._door.environment)
        if any(len(secret) >= CERTAIN and secret.encode() in body for secret in disclosed.secrets):
            raise SecretInInput(
                f"the body of a request to {disclosed.kept_url} holds the key that is in its headers, and bodies are"
                " kept as they are; take it out of what the stage sends"
            )
        known = self._recognise(disclosed.url, body)
        recorded = Request(
            request.method,
            disclosed.kept_url,
            chunks(body),
            disclosed.kept_headers,
            "model" if known else "http",
            known.provider if known else request.url.netloc.decode("ascii", "replace"),
            known.model if known else None,
            _patience(request),
        )
        digest = recorded.digest()
        given_up = self._given_up.get(digest)
        if given_up is not None and headers.get(OWN_RETRY, "0") != "0":
            raise _as_httpx2(given_up, request) from given_up
        way = _AsWritten(self._door.way(None), disclosed)
        try:
            sent = await self._door.send(
                recorded, self._journal, meter=known.meter if known else None, explain=_LastAnswer, transport=way
            )
        except _LastAnswer as error:
            return _answer(error.response, request)
        except StagebookError as error:
            self._given_up[digest] = error
            raise _as_httpx2(error, request) from error
        return _answer(sent.response, request)


class _AsWritten:
    """Sends a request as the SDK wrote it, keys and all, and blots them out of what comes back."""

    def __init__(self, way: Transport, disclosed: Disclosed) -> None:
        self._way = way
        self._disclosed = disclosed

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:  # noqa: ARG002  a Transport's shape
        """Send with the headers that the SDK wrote instead of those that are kept."""
        written = self._disclosed
        try:
            answer = await self._way.send(request._replace(url=written.url), written.headers)
        except TransportError as error:
            raise TransportError(error.kind, redact(str(error), written.secrets)) from None
        kept = {name: redact(value, written.secrets) for name, value in answer.headers.items()}
        return Response(answer.status, kept, blot(answer.body, written.secrets))

    async def close(self) -> None:
        """Nothing is held: the door closes its own transports."""


class _LastAnswer(ProviderError):
    """Carries an answer that is not 2xx out of the door: an SDK makes its own error of it."""

    def __init__(self, response: Response) -> None:
        asked = asked_wait(response.headers, time.time())
        super().__init__(f"answered {response.status}", status=response.status, retry_after=asked)
        self.response = response


def _answer(response: Response, request: httpx2.Request) -> httpx2.Response:
    headers = dict(response.headers)
    if response.status >= 400:  # noqa: PLR2004  an error, RFC 9110
        headers["x-should-retry"] = "false"  # heeded by the openai and anthropic packages
    return httpx2.Response(response.status, headers=headers, content=response.body, request=request)


def _as_httpx2(error: StagebookError, request: httpx2.Request) -> httpx2.TransportError:
    """Name a failure as an SDK expects it; its cause is our own, which the engine finds again."""
    named = httpx2.ReadTimeout if isinstance(error, ProviderTimeout) else httpx2.NetworkError
    return named(str(error), request=request)


def _patience(request: httpx2.Request) -> float | None:
    """How long the SDK waits for an answer's next byte."""
    given = request.extensions.get("timeout")
    read = given.get("read") if isinstance(given, dict) else None
    return float(read) if isinstance(read, int | float) else None


def _steady(body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """Make a form with files the same bytes each time: its boundary is drawn at random, and is made of its content.

    Returns:
        The body, and the headers that fit it.
    """
    kind = headers.get("content-type", "")
    found = _BOUNDARY.search(kind) if kind.startswith("multipart/") else None
    if found is None:
        return body, headers
    drawn = found[1].encode()
    made = content_hash(body.replace(drawn, b"")).hex()
    return body.replace(drawn, made.encode()), {**headers, "content-type": kind.replace(found[1], made)}
