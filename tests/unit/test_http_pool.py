"""Posts over kept connections, against a server that says byte for byte what it is told to."""

import asyncio
import contextlib
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest
import trustme
import uvloop

from stagebook.door import http_pool
from stagebook.door.http_pool import PostPool
from stagebook.door.transport import HttpTransport, Timeouts, TransportError
from stagebook.model.exchange import Request, Response

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Reads each request whole, and lets a script answer it."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def begin(self, tls: ssl.SSLContext | None = None) -> None:
        self._serving = serving(self._serve, tls)
        self.port = await self._serving.__aenter__()
        self.url = f"http://127.0.0.1:{self.port}/v1/x?y=1"

    async def __aexit__(self, *_: object) -> None:
        await self._serving.__aexit__(None, None, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(length))
            await self._script(reader, writer, self.bodies[-1])
            await writer.drain()


@contextlib.asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    limit: int = 2**24,
) -> AsyncIterator[int]:
    """Serve on a port, and leave no connection behind."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await handle(reader, writer)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls, limit=limit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        await asyncio.sleep(0.01)  # asyncio lets go of a connection in the next turn of its loop


def says(*parts: bytes, close: bool = False) -> Script:
    """Answer every request with the same bytes, a packet each."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.005)
        if close:
            writer.close()

    return script


def sized(body: bytes, head: bytes = OK) -> bytes:
    """An answer with its length."""
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture
async def pool() -> AsyncIterator[PostPool]:
    made = pool_of(Timeouts())
    yield made
    await made.close()


def pool_of(timeouts: Timeouts) -> PostPool:
    return PostPool(timeouts, HttpTransport(timeouts))


async def post(pool: PostPool, server: Server, body: bytes = b"hello", patience: float | None = None) -> Response:
    request = Request("POST", server.url, (body[:2], body[2:]), {"x-key": "env:K"}, patience=patience)
    return await pool.send(request, {"x-key": "the key"})


async def test_a_request_is_one_that_every_server_reads(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"))) as server:
        assert (await post(pool, server)).body == b"yes"
        head, *lines = server.heads[0].decode().strip().split("\r\n")
        assert head == "POST /v1/x?y=1 HTTP/1.1"
        assert set(lines) == {
            f"Host: 127.0.0.1:{server.port}",
            "Accept: */*",
            "User-Agent: stagebook",
            "X-Key: the key",
            "Accept-Encoding: gzip, deflate",
            "Content-Length: 5",
        }
        assert server.bodies == [b"hello"]


async def test_requests_one_after_the_other_use_one_connection_and_those_at_once_one_each(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"))) as server:
        for _ in range(5):
            await post(pool, server)
        assert server.connections == 1
        await asyncio.gather(*(post(pool, server) for _ in range(8)))
        assert server.connections == 8


@pytest.mark.parametrize(
    "parts",
    [
        (sized(b"an answer"),),
        tuple(bytes([one]) for one in sized(b"an answer")),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nan a\r\n", b"5;x=y\r\nnswer\r\n0\r\nTrailer: t\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", sized(b"an answer")),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + sized(b"an answer"),),
        (sized(gzip.compress(b"an answer"), OK + b"Content-Encoding: gzip\r\n"),),
        (sized(zlib.compress(b"an answer"), OK + b"content-encoding: Deflate\r\n"),),
        (sized(zlib.compress(b"an answer")[2:-4], OK + b"Content-Encoding: deflate\r\n"),),
    ],
    ids=["whole", "byte by byte", "chunked", "after 100", "after 103", "gzip", "deflate", "raw deflate"],
)
async def test_an_answer_is_read_in_every_form(pool: PostPool, parts: tuple[bytes, ...]) -> None:
    async with Server(says(*parts)) as server:
        for _ in range(2):
            assert (await post(pool, server)).body == b"an answer"
        assert server.connections == 1


@pytest.mark.parametrize(
    "body", [b"", b"no gzip at all", gzip.compress(b"cut off" * 50)[:-9]], ids=["empty", "no gzip", "cut off"]
)
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br"], ids=["gzip", "deflate", "br"])
async def test_what_is_not_packed_as_it_says_is_kept_as_it_came(pool: PostPool, body: bytes, encoding: bytes) -> None:
    head = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Encoding: %b\r\n" % encoding
    async with Server(says(sized(body, head))) as server:
        answer = await post(pool, server)
        assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "7", body)


async def test_an_answer_without_a_length_ends_with_its_connection(pool: PostPool) -> None:
    async with Server(says(OK + b"\r\n", b"an ", b"answer", close=True)) as server:
        assert (await post(pool, server)).body == b"an answer"
        assert (await post(pool, server)).body == b"an answer"


async def test_a_server_that_closes_after_each_answer_is_asked_over_new_connections(pool: PostPool) -> None:
    async with Server(says(sized(b"yes", OK + b"Connection: close\r\n"), close=True)) as server:
        for _ in range(3):
            assert (await post(pool, server)).body == b"yes"
        assert server.connections == 3


async def test_an_answer_without_a_body_is_whole(pool: PostPool) -> None:
    async with Server(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert [(await post(pool, server)).status for _ in range(2)] == [204, 204]


async def test_only_headers_that_hold_no_credential_are_kept_of_an_answer(pool: PostPool) -> None:
    head = b"HTTP/1.1 429 Slow Down\r\nSet-Cookie: a=b\r\nRetry-After: 7\r\nX-REQUEST-ID: 9\r\n"
    async with Server(says(sized(b"", head))) as server:
        answer = await post(pool, server)
        assert (answer.status, answer.headers) == (429, {"retry-after": "7", "x-request-id": "9"})


async def test_a_body_of_several_megabytes_arrives_whole_both_ways(pool: PostPool) -> None:
    async def echo(_: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        writer.write(sized(body))

    async with Server(echo) as server:
        body = bytes(range(256)) * 20_000
        assert (await post(pool, server, body)).body == body


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"HTTP/1.1 200 O",),
        (OK + b"Content-Length: 10\r\n\r\nhalf",),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nan",),
        (b"SSH-2.0-OpenSSH_9.6\r\n",),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",),
    ],
    ids=[
        "nothing",
        "half a line",
        "half a body",
        "half a chunk",
        "no HTTP",
        "another protocol",
        "two lengths",
    ],
)
async def test_what_is_no_whole_answer_was_sent_and_may_be_paid(pool: PostPool, parts: tuple[bytes, ...]) -> None:
    async with Server(says(*parts, close=True)) as server:
        with pytest.raises(TransportError, match="broke") as broke:
            await post(pool, server)
        assert (broke.value.kind, broke.value.sent) == ("cut", True)


async def test_what_comes_unasked_is_never_taken_for_the_next_answer(pool: PostPool) -> None:
    async with Server(says(sized(b"yes") + sized(b"stray"))) as server:
        assert [(await post(pool, server)).body for _ in range(3)] == [b"yes"] * 3
    async with Server(says(sized(b"yes") + b"HTTP/1.1 2")) as server:
        assert [(await post(pool, server)).body for _ in range(3)] == [b"yes"] * 3
    async with Server(says(sized(b"yes"), sized(b"late"))) as server:
        first = await post(pool, server)
        await asyncio.sleep(0.05)
        assert [first.body, (await post(pool, server)).body] == [b"yes", b"yes"]


async def test_an_answer_that_takes_too_long_is_given_up_and_its_connection_with_it() -> None:
    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(OK)
        await asyncio.sleep(20)

    pool = pool_of(Timeouts(total=0.2))
    async with Server(never) as server:
        answers = await asyncio.gather(*(post(pool, server) for _ in range(3)), return_exceptions=True)
        assert [str(one) for one in answers] == [f"{server.url} gave no answer within 0.2 s"] * 3
        assert all(isinstance(one, TransportError) and one.sent for one in answers)
    await pool.close()


async def test_silence_is_given_up_but_slow_bytes_are_not(pool: PostPool) -> None:
    async with Server(says(*(bytes([one]) for one in sized(b"slow" * 30)))) as server:
        assert len((await post(pool, server, patience=0.3)).body) == 120

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(OK)
        await asyncio.sleep(20)

    async with Server(silent) as server:
        with pytest.raises(TransportError, match=r"no byte of an answer for 0\.2 s") as late:
            await post(pool, server, patience=0.2)
        assert late.value.kind == "timeout"


async def test_a_body_that_is_still_on_its_way_is_no_silence(pool: PostPool) -> None:
    body = bytes(30_000_000)

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = len(body)
        while left:
            left -= len(await reader.read(400_000))
            await asyncio.sleep(0.05 if left > 15_000_000 else 0)  # the rest is in the system's buffers already
        writer.write(sized(b"read"))
        await writer.drain()

    async with serving(slowly, limit=2**16) as port:
        request = Request("POST", f"http://127.0.0.1:{port}/", (body,), patience=1.0)
        assert (await pool.send(request, {})).body == b"read"


async def test_a_connection_whose_request_was_answered_before_it_was_read_is_not_used_again(pool: PostPool) -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sized(b"too large", b"HTTP/1.1 413 Too Large\r\n"))
        await writer.drain()
        await asyncio.sleep(20)

    async with serving(early) as port:
        for body in (bytes(30_000_000), b"small"):
            request = Request("POST", f"http://127.0.0.1:{port}/", (body,))
            assert (await asyncio.wait_for(pool.send(request, {}), 10)).status == 413


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_limits_of_fractions_of_a_millisecond_are_kept(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(OK)
        await reader.read()

    async def many() -> None:
        pool = pool_of(Timeouts())
        async with Server(never) as server:
            asked = (post(pool, server, patience=0.01 + number / 10_000) for number in range(60))
            answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {getattr(answer, "kind", repr(answer)) for answer in answers} == {"timeout"}
        await pool.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(many())


async def test_a_cancelled_request_leaves_no_connection_that_could_bring_its_answer_to_another(pool: PostPool) -> None:
    asked = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        asked.set()
        await asyncio.sleep(0.05)
        writer.write(sized(body))

    async with Server(slow) as server:
        first = asyncio.create_task(post(pool, server, b"first"))
        await asked.wait()
        first.cancel()
        assert (await post(pool, server, b"second")).body == b"second"
        assert server.connections == 2


async def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"), close=True)) as server:
        await post(pool, server)
        await asyncio.sleep(0.05)
        assert (await post(pool, server)).body == b"yes"


async def test_a_connection_that_rested_too_long_is_not_used_again(
    pool: PostPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pool, "KEEP_SECONDS", 0.0)
    async with Server(says(sized(b"yes"))) as server:
        for _ in range(3):
            await post(pool, server)
        assert server.connections == 3


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9/v1", "cannot reach"),
        ("http://no-such-host.invalid/v1", "cannot reach"),
        ("ftp://example.org/v1", "begins with http"),
        ("http://[::1/v1", "Invalid IPv6"),
        ("http://127.0.0.1:99999999/v1", "[Pp]ort"),
        (f"http://{'ä' * 80}.org/v1", "label"),
    ],
)
async def test_what_cannot_be_reached_was_not_sent(pool: PostPool, url: str, why: str) -> None:
    with pytest.raises(TransportError, match=why) as refused:
        await pool.send(Request("POST", url, (b"x",)), {})
    assert not refused.value.sent


async def test_a_header_cannot_become_two(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"))) as server:
        for headers in ({"x-key": "a\r\nx-evil: b"}, {"x-key\r\nx-evil": "b"}):
            with pytest.raises(TransportError, match="line break") as refused:
                await pool.send(Request("POST", server.url, (b"x",)), headers)
            assert refused.value.kind == "forbidden"
            assert "evil" not in str(refused.value)
        assert server.heads == []


async def test_headers_that_say_where_a_request_ends_are_not_taken_from_others(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"))) as server:
        given = {"Content-Length": "1", "Transfer-Encoding": "chunked", "host": "evil.org", "connection": "close"}
        for _ in range(2):
            await pool.send(Request("POST", server.url, (b"whole",)), given)
        assert server.bodies == [b"whole"] * 2
        assert not any(b"chunked" in head or b"evil" in head for head in server.heads)
        assert server.connections == 1


async def test_another_key_for_the_same_address_is_another_head(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"))) as server:
        for key in ("one", "two"):
            await pool.send(Request("POST", server.url, (b"x",)), {"authorization": key})
        assert [b"Authorization: one" in head for head in server.heads] == [True, False]
        assert b"Authorization: two" in server.heads[1]


async def test_an_address_with_letters_of_other_scripts_is_quoted(pool: PostPool) -> None:
    async with Server(says(sized(b"yes"))) as server:
        await pool.send(Request("POST", f"http://127.0.0.1:{server.port}/modèle a%20b", (b"x",)), {})
        assert server.heads[0].startswith(b"POST /mod%C3%A8le%20a%20b HTTP/1.1\r\n")


async def test_a_certificate_is_believed_only_from_an_authority_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Server(says(sized(b"yes")))
    await server.begin(context)
    server.url = server.url.replace("http:", "https:")
    stranger = pool_of(Timeouts())
    with pytest.raises(TransportError, match="certificate") as refused:
        await post(stranger, server)
    assert not refused.value.sent
    await stranger.close()
    known = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(known))
    monkeypatch.setenv("SSL_CERT_FILE", str(known))
    pool = pool_of(Timeouts())
    assert [(await post(pool, server)).body for _ in range(2)] == [b"yes", b"yes"]
    await pool.close()
    await server.__aexit__()


async def test_closing_the_pool_lets_go_of_what_is_under_way() -> None:
    async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter, ___: bytes) -> None:
        await asyncio.sleep(20)

    pool = pool_of(Timeouts())
    async with Server(never) as server:
        asked = asyncio.create_task(post(pool, server))
        await asyncio.sleep(0.1)
        await pool.close()
        with pytest.raises(TransportError, match="broke"):
            await asked
