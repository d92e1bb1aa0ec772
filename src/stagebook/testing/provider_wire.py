"""Puts answers on the wire, whole or as a fault wants them, and notes in the bill when the last byte was written."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from time import time
from typing import Final

from aiohttp import web

from stagebook.testing.provider_bill import BillEntry, Ending
from stagebook.testing.provider_faults import AnyFault, Drip, ErrorStatus, HalfBody, MalformedJson
from stagebook.testing.provider_request import ChatRequest, Rejection

JSON: Final = "application/json"
_FLUSH_PAUSE: Final = 0.001
_OK: Final = HTTPStatus.OK.value
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_USUAL: Final[Mapping[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request is not one that this model can take."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you have no access to it."),
    413: ("invalid_request_error", "request_too_large", "The request is larger than the server takes."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached, please try again later."),
    503: ("server_error", "overloaded", "The model is overloaded, please try again later."),
}
_USUAL_5XX: Final = ("server_error", None, "The server had an error while it processed the request.")
_BAD_GATEWAY: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def scripted_error(fault: ErrorStatus, request: ChatRequest) -> Rejection:
    """The error that a fault asks for, with the headers of the request in its text if it echoes them."""
    kind, code, message = _USUAL.get(fault.status, _USUAL_5XX)
    message = fault.message or message
    if fault.echo_headers:
        echoed = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        message = f"{message} The request came with these headers:\n{echoed}"
    headers = fault.headers(time())
    return Rejection(fault.status, message, type=kind, code=fault.code or code, headers=headers)


class _Written(web.StreamResponse):
    """Stands for an answer whose bytes are on the connection already, so that aiohttp writes none of its own."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays

    async def prepare(self, _request: web.BaseRequest) -> None:
        """Write no headers."""

    async def write_eof(self, _data: bytes = b"") -> None:
        """Write no body."""


class Wire:
    """The connection on which one request came, with its entry in the bill.

    Bytes are handed to the connection as they are: faults need lengths that lie and bodies that break off, and a whole
    answer costs about 20 microseconds less than through `web.Response`, which the benches feel.
    """

    def __init__(self, http: web.BaseRequest, entry: BillEntry, error_body: Callable[[Rejection], bytes]) -> None:
        """Write to the connection of one request.

        Args:
            http: The request, read to its end.
            entry: Its entry in the bill; it is ended here when the last byte is written or the connection closed.
            error_body: Writes an error in the format of the request.
        """
        self._http = http
        self._error_body = error_body
        self._entry = entry

    async def reject(self, rejection: Rejection, headers: Mapping[str, str]) -> web.StreamResponse:
        """Write an error."""
        body, kind = self._error_body(rejection), JSON
        if rejection.status == HTTPStatus.BAD_GATEWAY:
            body, kind = _BAD_GATEWAY, "text/html"  # a gateway in front of the API answers in its own format
        self._entry.status = rejection.status
        head = self._head(rejection.status, kind, len(body), {**headers, **rejection.headers})
        return await self._send((head + body,), Ending.REJECTED)

    async def answer(self, body: bytes, fault: AnyFault | None, headers: Mapping[str, str]) -> web.StreamResponse:
        """Write an answer with status 200, in the way that a fault wants."""
        self._entry.status = _OK
        if isinstance(fault, MalformedJson):
            body = body[: len(body) * 2 // 3]
        head = self._head(_OK, JSON, len(body), headers)
        if isinstance(fault, HalfBody):
            return await self._send((head + body[: len(body) // 2],), Ending.CUT)
        if isinstance(fault, Drip):
            size = -(-len(body) // fault.pieces)
            rest = [body[start : start + size] for start in range(size, len(body), size)]
            return await self._send(
                (head + body[:size], *rest), Ending.ANSWERED, pause=fault.seconds / max(len(rest), 1)
            )
        return await self._send((head + body,), Ending.ANSWERED)

    def cut(self) -> web.StreamResponse:
        """Close the connection without a byte."""
        self._entry.end(Ending.CUT)
        if self._http.transport is not None:
            self._http.transport.abort()
        return _CLOSED

    async def _send(self, pieces: Sequence[bytes], ending: Ending, *, pause: float = 0.0) -> web.StreamResponse:
        try:
            for index, piece in enumerate(pieces):
                if index and pause:
                    await asyncio.sleep(pause)
                self._open_transport().write(piece)
            while self._open_transport().get_write_buffer_size():  # noqa: ASYNC110  a transport tells of its buffer only when asked
                await asyncio.sleep(_FLUSH_PAUSE)
        except ConnectionError:
            ending = Ending.CLIENT_GONE
        self._entry.end(ending)
        if ending is Ending.ANSWERED or ending is Ending.REJECTED:
            return _KEPT if self._http.keep_alive else _CLOSED
        if self._http.transport is not None:
            self._http.transport.close()
        return _CLOSED

    def _open_transport(self) -> asyncio.Transport:
        transport = self._http.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client closed the connection before the answer was written")
        return transport

    def _head(self, status: int, kind: str, length: int, headers: Mapping[str, str]) -> bytes:
        more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        close = "" if self._http.keep_alive else "Connection: close\r\n"
        return (
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {length}\r\n{more}{close}\r\n"
        ).encode("latin-1")


_KEPT: Final = _Written(keep_alive=True)
_CLOSED: Final = _Written(keep_alive=False)
