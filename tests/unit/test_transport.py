from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from stagebook.door.transport import HttpTransport, Timeouts, TransportError, next_hop
from stagebook.model.exchange import Request


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("/there")

    async def there(request: web.Request) -> web.Response:
        return web.Response(
            text=request.headers.get("x-key", "none"), headers={"set-cookie": "a=b", "x-request-id": "7"}
        )

    async def circle(_: web.Request) -> web.Response:
        raise web.HTTPFound("/circle")

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.add_routes(
        [web.get("/moved", moved), web.get("/there", there), web.get("/circle", circle), web.post("/echo", echo)]
    )
    app.add_routes([web.post("/moved", moved)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_a_page_that_has_moved_is_followed_for_get_only(server: str) -> None:
    transport = HttpTransport()
    answer = await transport.send(Request("GET", server + "/moved", ()), {"x-key": "k"})
    assert (answer.status, answer.body) == (200, b"k")
    assert (await transport.send(Request("POST", server + "/moved", (b"x",)), {})).status == 302
    with pytest.raises(TransportError, match="more than"):
        await transport.send(Request("GET", server + "/circle", ()), {})
    await transport.close()


async def test_only_headers_that_hold_no_credential_are_kept(server: str) -> None:
    transport = HttpTransport()
    answer = await transport.send(Request("GET", server + "/there", ()), {})
    assert answer.headers["x-request-id"] == "7"
    assert "set-cookie" not in answer.headers
    await transport.close()


async def test_a_body_of_several_megabytes_arrives_whole(server: str) -> None:
    transport = HttpTransport()
    body = b"0123456789" * 300_000
    assert (await transport.send(Request("POST", server + "/echo", (body,)), {})).body == body
    await transport.close()


async def test_a_refused_connection_was_not_sent() -> None:
    transport = HttpTransport(Timeouts(total=0.3))
    with pytest.raises(TransportError) as refused:
        await transport.send(Request("GET", "http://127.0.0.1:9/", ()), {})
    assert not refused.value.sent
    await transport.close()


def test_another_host_gets_no_credential() -> None:
    headers = {"authorization": "Bearer x", "accept": "text/html"}
    assert next_hop("https://a.org/x/y", "z", headers) == ("https://a.org/x/z", headers)
    assert next_hop("https://a.org/x", "https://b.org/", headers) == ("https://b.org/", {"accept": "text/html"})
