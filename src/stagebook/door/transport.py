"""How bytes leave this process. A transport knows nothing of ledgers, retries or prompts."""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urljoin, urlsplit

import aiohttp

from stagebook.door.guard import PrivateAddress, PublicResolver, refuse_private
from stagebook.door.http_connection import KEPT_HEADERS
from stagebook.model.exchange import Request, Response

MOVED = frozenset({301, 302, 303, 307, 308})
"""Statuses that name another address (RFC 9110, 15.4)."""

MOST_HOPS = 6
"""Addresses that one fetch may go through."""

LARGEST_PLAIN_BODY = 1024 * 1024
"""Bytes from which aiohttp wants a file instead (it warns that writing them at once holds up the loop)."""


class TransportError(Exception):
    """No whole answer came. Not part of the public tree: the door turns it into a ProviderError."""

    def __init__(self, kind: Literal["forbidden", "refused", "timeout", "cut"], message: str) -> None:
        """Keep why.

        Args:
            kind: `forbidden`: it may not be sent; `refused`: it never left; `timeout`: no answer in time; `cut`: the
                connection broke.
            message: One line, without credentials.
        """
        super().__init__(message)
        self.kind = kind

    @property
    def sent(self) -> bool:
        """Whether the other side may have seen (and charged) the request."""
        return self.kind in {"timeout", "cut"}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one try may take."""

    total: float = 600.0
    """From the connection's first byte to the answer's last. Long answers of reasoning models take minutes."""
    connect: float = 10.0
    """Until connected."""


class Transport(Protocol):
    """Sends one request and gives back the whole answer."""

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Send.

        Args:
            request: What to send; its own headers are the recorded ones.
            headers: The same with their secrets resolved.

        Raises:
            TransportError: No whole answer came.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; idempotent."""
        ...


class HttpTransport:
    """HTTP by aiohttp: one pooled session, made at first use, closed with the door.

    Args:
        timeouts: Limits of one try.
        public_only: Refuse addresses that are not public (for scraped links). Off for model providers, whose address
            the user set, a server on this machine among them.
    """

    def __init__(self, timeouts: Timeouts | None = None, *, public_only: bool = False) -> None:
        self._timeouts = timeouts or Timeouts()
        self._public_only = public_only
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, resolver=PublicResolver() if self._public_only else None, keepalive_timeout=60
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Send over HTTP; only what GET asked for is followed when it has moved, every hop looked at anew."""
        session = self._open()
        url, given = request.url, dict(headers)
        total, connect = request.timeout or self._timeouts.total, self._timeouts.connect
        limit = aiohttp.ClientTimeout(total=total, connect=connect, sock_read=request.patience)
        try:
            for _ in range(MOST_HOPS):
                if self._public_only:
                    refuse_private(url)
                async with session.request(
                    request.method,
                    url,
                    data=_body(request),
                    headers=given,
                    allow_redirects=False,
                    timeout=limit,
                ) as answer:
                    body = await answer.read()
                    kept = {k.lower(): v for k, v in answer.headers.items() if k.lower() in KEPT_HEADERS}
                    moved = answer.headers.get("location") if answer.status in MOVED else None
                    if moved is None or request.method != "GET":
                        return Response(answer.status, kept, body)
                url, given = next_hop(url, moved, given)
            raise TransportError("cut", f"{request.url} was redirected more than {MOST_HOPS} times")
        except PrivateAddress as error:
            raise TransportError("forbidden", str(error)) from error
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise TransportError("refused", f"cannot reach {request.url}: {error}") from error
        except aiohttp.SocketTimeoutError as error:
            message = f"{request.url} gave no byte of an answer for {request.patience or 0:g} s"
            raise TransportError("timeout", message) from error
        except TimeoutError as error:
            message = f"{request.url} gave no answer within {total:g} s"
            raise TransportError("timeout", message) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            message = f"the connection to {request.url} broke: {type(error).__name__}: {error}"
            raise TransportError("cut", message) from error

    async def close(self) -> None:
        """Close the pool; aiohttp needs one turn of the loop to let TLS connections go."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)
            self._session = None


def next_hop(url: str, moved: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Say where to go on and with which headers: another host gets none of those that may hold a credential."""
    target = urljoin(url, moved)
    if urlsplit(target).netloc == urlsplit(url).netloc:
        return target, dict(headers)
    return target, {name: value for name, value in headers.items() if name.lower() in {"accept", "user-agent"}}


def _body(request: Request) -> bytes | io.BytesIO | None:
    body = request.body
    if len(body) > LARGEST_PLAIN_BODY:
        return io.BytesIO(body)
    return body or None
