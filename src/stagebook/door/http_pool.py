"""The shortest way to a model: HTTP/1.1 posts over connections that are kept.

A post by aiohttp costs nearly four times the processor time of one by these connections, most of it for what a post to
an API never uses (docs/decisions/0043). Whatever is not a post goes by aiohttp.
"""

import asyncio
import socket
import ssl
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from stagebook.door.http_connection import ENCODINGS, Connection, ConnectionBroke, GaveNothing
from stagebook.door.transport import Timeouts, Transport, TransportError
from stagebook.model.exchange import Request, Response

KEEP_SECONDS: Final = 60.0
"""How long a connection that nobody uses is kept."""
RESOLVED_SECONDS: Final = 10.0
"""How long a host's addresses are believed."""
ROUTES_MOST: Final = 256
"""Addresses whose heads are remembered."""
FAMILY_SECONDS: Final = 0.25
"""How long one family of addresses may take before the other is tried beside it (RFC 8305)."""
_FRAMING: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Headers that say where a request ends and what carries it: written here, from what is sent."""
_BREAKS: Final = frozenset("\r\n\0")
_IN_ADDRESSES: Final = "%/:?#[]@!$&'()*+,;=~"
"""Reserved characters (RFC 3986, 2.2), and the sign of what is quoted already."""


class Origin(NamedTuple):
    """What a connection leads to."""

    secure: bool
    host: str
    port: int


class _Route(NamedTuple):
    """What posts to one address have in common."""

    origin: Origin
    headers: Mapping[str, str]
    head: bytes
    """Request line and headers but for the length."""


class PostPool:
    """Sends posts over kept connections, as many as are asked for at once; everything else by another transport.

    Args:
        timeouts: Limits of one try.
        others: The way of whatever is not a post; closed with this.
    """

    def __init__(self, timeouts: Timeouts, others: Transport) -> None:
        self._timeouts = timeouts
        self._others = others
        self._idle: dict[Origin, dict[Connection, None]] = defaultdict(dict)
        """In the order in which they were let go."""
        self._asked: set[Connection] = set()
        self._routes: dict[str, _Route] = {}
        self._resolved: dict[Origin, tuple[float, asyncio.Task[list[AddrInfoType]]]] = {}
        """Until when they are believed, by the loop's clock, and the addresses."""
        self._tls: ssl.SSLContext | None = None
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = 0.0
        """When, by the loop's clock: uvloop's handle does not say where that is at once."""

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Send a post, and wait for the whole answer; redirects are answers."""
        if request.method != "POST":
            return await self._others.send(request, headers)
        route = self._routes.get(request.url)
        if route is None or route.headers != headers:
            if len(self._routes) >= ROUTES_MOST:
                self._routes.clear()
            route = self._routes[request.url] = _route(request.url, headers)
        loop = asyncio.get_running_loop()
        total = request.timeout or self._timeouts.total
        deadline = loop.time() + total
        connection = self._kept(route.origin, loop) or await self._connect(request.url, route.origin, deadline, loop)
        body = request.body
        self._asked.add(connection)
        try:
            asked = connection.ask(b"%b%d\r\n\r\n" % (route.head, len(body)), body, deadline, request.patience)
            self._watch(connection, loop)
            whole = await asked
        except GaveNothing as error:
            limit = f"within {total:g} s"
            silence = f"no byte of an answer for {request.patience or 0:g} s"
            what = f"gave {silence}" if error.silent else f"gave no answer {limit}"
            raise TransportError("timeout", f"{request.url} {what}") from error
        except ConnectionBroke as error:
            raise TransportError("cut", f"the connection to {request.url} broke: {error}") from error
        except BaseException:
            connection.drop()
            raise
        finally:
            self._asked.discard(connection)
        self._keep(route.origin, connection, loop)
        return Response(whole.status, whole.headers, whole.body)

    async def close(self) -> None:
        """Let go of every connection."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for connection in [*self._asked, *(one for idle in self._idle.values() for one in idle)]:
            connection.drop()
        for _, asked in self._resolved.values():
            asked.cancel()
        self._idle.clear()
        self._resolved.clear()
        await self._others.close()

    def _kept(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> Connection | None:
        """Take the connection that was used last, if one is open."""
        idle = self._idle[origin]
        while idle:
            connection, _ = idle.popitem()
            if connection.open and loop.time() - connection.idle_since < KEEP_SECONDS:
                return connection
            connection.drop()
        return None

    def _keep(self, origin: Origin, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Keep a connection for the next request, or let it go."""
        if connection.open:
            connection.idle_since = loop.time()
            self._idle[origin][connection] = None
        else:
            connection.drop()

    async def _connect(self, url: str, origin: Origin, deadline: float, loop: asyncio.AbstractEventLoop) -> Connection:
        """Open a connection.

        Raises:
            TransportError: It cannot be opened, or not in time.
        """
        until = min(deadline, loop.time() + self._timeouts.connect)
        try:
            async with asyncio.timeout_at(until):
                found = await self._addresses(origin, loop)
                way = await start_connection(found, happy_eyeballs_delay=FAMILY_SECONDS, loop=loop)
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, lambda lost: self._idle[origin].pop(lost, None)),
                    sock=way,
                    ssl=self._context() if origin.secure else None,
                    server_hostname=origin.host if origin.secure else None,
                )
        except TimeoutError as error:
            raise TransportError("refused", f"cannot reach {url}: no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise TransportError("refused", f"cannot reach {url}: {error}") from error
        if not connection.open:  # before anything was written
            raise TransportError("refused", f"cannot reach {url}: the server closed the connection at once")
        return connection

    async def _addresses(self, origin: Origin, loop: asyncio.AbstractEventLoop) -> list[AddrInfoType]:
        """Resolve a host, once for all who ask at about the same time."""
        until, asked = self._resolved.get(origin, (0.0, None))
        if asked is None or loop.time() >= until:
            asked = loop.create_task(_resolve(origin, loop))
            self._resolved[origin] = loop.time() + RESOLVED_SECONDS, asked
        try:
            return await asyncio.shield(asked)
        except OSError:
            self._resolved.pop(origin, None)
            raise

    def _context(self) -> ssl.SSLContext:
        """Make the settings of TLS, once: reading the certificates takes 20 ms."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _watch(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """See that somebody looks when a request is due: one alarm for all of them, not one each."""
        due = connection.due()
        if self._alarm is not None:
            if self._alarm_at <= due:
                return
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = loop.call_at(due, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what is due."""
        self._alarm = None
        now = loop.time()
        for connection in list(self._asked):
            if connection.due() <= now:
                connection.give_up()
            else:
                self._watch(connection, loop)


async def _resolve(origin: Origin, loop: asyncio.AbstractEventLoop) -> list[AddrInfoType]:
    return list(await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM))


def _route(url: str, headers: Mapping[str, str]) -> _Route:
    """Write the head of every post to an address.

    Raises:
        TransportError: It is no address of the web, or a header would become two.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        ascii_host = (parts.hostname or "").encode("idna").decode() if not url.isascii() else parts.hostname or ""
    except ValueError as error:  # a UnicodeError is one
        raise TransportError("refused", f"cannot reach {url!r}: {error}") from error
    secure, host = parts.scheme == "https", parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        raise TransportError("refused", f"cannot reach {url}: an address begins with http:// or https:// and a host")
    named = f"[{host}]" if ":" in host else ascii_host
    lines = {
        "Host": named if port is None else f"{named}:{port}",
        "Accept": "*/*",
        "User-Agent": "stagebook",
        **{name.title(): value for name, value in headers.items() if name.lower() not in _FRAMING},
        "Accept-Encoding": ENCODINGS,
    }
    for name, value in lines.items():
        if _BREAKS.intersection(name) or _BREAKS.intersection(value):
            raise TransportError("forbidden", f"the header {name.split()[0]} of a request to {url} has a line break")
    target = quote(parts.path or "/", safe=_IN_ADDRESSES) + (
        f"?{quote(parts.query, safe=_IN_ADDRESSES)}" if parts.query else ""
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    origin = Origin(secure, ascii_host, port or (443 if secure else 80))
    try:
        written = f"POST {target} HTTP/1.1\r\n{head}Content-Length: ".encode()
    except UnicodeError as error:
        raise TransportError("forbidden", f"a header of a request to {url} is no text") from error
    return _Route(origin, dict(headers), written)
