"""One HTTP/1.1 connection (RFC 9112): writes a request, and gives back the whole answer."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

KEPT_HEADERS: Final = frozenset(
    {
        "content-type",
        "date",
        "location",
        "retry-after",
        "retry-after-ms",
        "request-id",
        "x-request-id",
        "openai-processing-ms",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
    }
)
"""Headers of an answer that are kept: none of them can hold a credential (a cookie can)."""

ENCODINGS: Final = "gzip, deflate"
"""What an answer may be packed with."""

JOINED: Final = 1 << 16
"""Bytes of a body up to which it is copied behind its head, so that both leave in one packet."""

_KEPT: Final = {name.encode(): name for name in KEPT_HEADERS}
_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})


class Whole(NamedTuple):
    """An answer, whole and unpacked."""

    status: int
    """HTTP status."""
    headers: dict[str, str]
    """Those that are kept, names in lower case."""
    body: bytes
    """Unpacked."""


class ConnectionBroke(Exception):
    """The connection ended, or brought what is no HTTP, before an answer was whole."""


class GaveNothing(Exception):
    """No answer, or no further byte of one, came in time."""

    def __init__(self, message: str, *, silent: bool) -> None:
        """Keep which limit it was.

        Args:
            message: One line.
            silent: Whether no byte came for too long, rather than too few in all.
        """
        super().__init__(message)
        self.silent = silent


class Connection(asyncio.Protocol):
    """One connection to one server; asked one thing at a time.

    Args:
        loop: The event loop that it lives on.
        lost: Told when it has ended.
    """

    __slots__ = (
        "_begun",
        "_body",
        "_encoding",
        "_framed",
        "_headers",
        "_heard",
        "_loop",
        "_lost",
        "_parser",
        "_transport",
        "_waiter",
        "deadline",
        "idle_since",
        "patience",
        "reusable",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._lost = lost
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Whole] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._encoding = b""
        self._begun = False
        """Whether all headers are there."""
        self._framed = False
        """Whether they tell where the body ends."""
        self._heard = 0.0
        self.deadline = 0.0
        """When the answer must be whole, by the loop's clock."""
        self.patience: float | None = None
        """Seconds without a byte after which it is given up."""
        self.reusable = True
        """Whether another request may follow."""
        self.idle_since = 0.0
        """Since when nothing was asked of it, by the loop's clock."""

    def ask(self, head: bytes, body: bytes, deadline: float, patience: float | None) -> asyncio.Future[Whole]:
        """Write a request; the answer is what the future gives.

        Args:
            head: Request line and headers, with the empty line that ends them.
            body: The body, whole.
            deadline: When the answer must be whole, by the loop's clock.
            patience: Seconds without a byte after which it is given up.

        Returns:
            A future; it raises ConnectionBroke or GaveNothing. Who cancels it must `drop` the connection.
        """
        self.deadline, self.patience = deadline, patience
        if patience is not None:
            self._heard = self._loop.time()
        self._forget()
        self._waiter = waiter = self._loop.create_future()
        transport = self._transport
        if transport is None or transport.is_closing():
            waiter.set_exception(ConnectionBroke("the server closed the connection"))
        elif len(body) <= JOINED:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return waiter

    def due(self) -> float:
        """Say when it must be looked at again, by the loop's clock."""
        if self.patience is None:
            return self.deadline
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._heard = self._loop.time()  # nobody answers what is still on its way
        return min(self.deadline, self._heard + self.patience)

    def give_up(self) -> None:
        """End it because an answer took too long."""
        silent = self.patience is not None and self._heard + self.patience < self.deadline
        self._fail(GaveNothing("no answer in time", silent=silent))

    def drop(self) -> None:
        """End it at once, without a word to the server."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def open(self) -> bool:
        """Whether something can be asked; not while a body that was answered early is still on its way."""
        transport = self._transport
        return (
            self.reusable
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    # what asyncio tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.drop()  # nobody asked
            return
        if self.patience is not None:
            self._heard = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(ConnectionBroke(f"what came is no HTTP answer ({error})"))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits; an answer without a length ends with its connection (RFC 9112, 6.3)."""
        self.reusable = False
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if error is None and self._begun and not self._framed:
                self._finish(waiter)
            else:
                why = f": {error}" if error is not None else ""
                waiter.set_exception(ConnectionBroke(f"the server closed the connection{why}"))
        self._transport = None
        self._lost(self)

    # what the parser tells

    def on_message_begin(self) -> None:
        """Refuse what nobody asked for, behind an answer in the same packet."""
        if self._waiter is None or self._waiter.done():
            self.drop()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the headers that matter."""
        name = name.lower()
        kept = _KEPT.get(name)
        if kept is not None:
            self._headers[kept] = value.decode("latin-1")
        elif name in _LENGTHS:
            self._framed = True
        elif name == b"content-encoding":
            self._encoding = value.strip().lower()

    def on_headers_complete(self) -> None:
        """Take note that the body follows."""
        self._begun = True

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Tell who waits, unless this was only word that the answer is being made (a status of 1xx)."""
        if self._parser.get_status_code() < 200:  # noqa: PLR2004  interim answers, RFC 9110, 15.2
            self._forget()
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.drop()  # a second answer to one request
            return
        if not self._parser.should_keep_alive():
            self.reusable = False
        self._finish(waiter)

    def _forget(self) -> None:
        self._headers, self._body, self._encoding, self._begun, self._framed = {}, [], b"", False, False

    def _finish(self, waiter: asyncio.Future[Whole]) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        waiter.set_result(Whole(self._parser.get_status_code(), self._headers, unpacked(body, self._encoding)))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.drop()


def unpacked(body: bytes, encoding: bytes) -> bytes:
    """Unpack a body by its Content-Encoding (RFC 9110, 8.4).

    What nobody asked for, and what is not what it says, stays as it is: it came, and may be paid for.
    """
    if not body:
        return body
    with suppress(OSError, EOFError, zlib.error):
        if encoding in {b"gzip", b"x-gzip"}:
            return gzip.decompress(body)
        if encoding == b"deflate":
            with suppress(zlib.error):
                return zlib.decompress(body)
            return zlib.decompress(body, -zlib.MAX_WBITS)  # many servers leave out the wrapping
    return body
