"""What an SDK meets at the door: retries, timeouts, streams, forms, and what is never kept of it."""

import asyncio
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from aiohttp import web
from anthropic import AsyncAnthropic
from anthropic import RateLimitError as AnthropicRateLimit
from openai import APITimeoutError, AsyncOpenAI, RateLimitError
from pydantic import BaseModel

from stagebook import Door, Pipeline
from stagebook.engine.session import Site
from stagebook.model.errors import StaleWriter, UsageError
from stagebook.testing.provider_faults import Delay, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

KEY = "sk-proj-CanaryCanaryCanaryCanary9876543210"
TOKEN = "plain-canary-token-without-any-known-form"  # noqa: S105  planted to be looked for
UNHEARD_OF = "another-canary-in-a-header-of-no-known-name"
ROOM_FOR_ONE = 2_100_000_000
"""Picodollars: the call to Anthropic costs 301 million, and 1,863 million at its worst."""
NOBODY = "http://127.0.0.1:9"
"""An address at which nobody listens."""
TRIES = 4
"""Tries of the bench's retry policy."""


class Given(BaseModel):
    note: str


class Said(BaseModel):
    text: str


class World:
    """A server that streams answers, echoes what it is sent, and counts."""

    def __init__(self, url: str, arrived: list[tuple[web.BaseRequest, bytes]]) -> None:
        self.url = url
        self.arrived = arrived


EVENTS = (
    {"model": "gpt-4.1-mini", "choices": [{"index": 0, "delta": {"content": "High "}}]},
    {"model": "gpt-4.1-mini", "choices": [{"index": 0, "delta": {"content": "tide"}, "finish_reason": "stop"}]},
    {"model": "gpt-4.1-mini", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 5}},
)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    arrived: list[tuple[web.BaseRequest, bytes]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        arrived.append((request, body))
        if request.path == "/v1/chat/completions":
            response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
            await response.prepare(request)
            for event in (*EVENTS, None):
                line = b"[DONE]" if event is None else orjson.dumps({"object": "chat.completion.chunk", **event})
                await response.write(b"data: " + line + b"\n\n")
            return response
        echoed = "\n".join([str(request.rel_url), *map(str, request.headers.values())])
        return web.Response(text=echoed, headers={"x-request-id": request.headers.get("x-api-key", "none")})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield World(f"http://127.0.0.1:{runner.addresses[0][1]}", arrived)
    await runner.cleanup()


def everything_kept(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


Work = Callable[[Door], Awaitable[str]]


def one_stage(work: Work) -> Pipeline:
    pipeline = Pipeline("sdk", input=Given)

    @pipeline.stage(version="1")
    async def said(given: Given, door: Door) -> Said:
        return Said(text=await work(door))

    return pipeline


async def rows(bench: Any) -> list[tuple[Any, ...]]:
    table = await bench.ledger.query("select state, http_status, kind, provider, model, try_number from exchanges")
    return [tuple(row) for row in table.rows]


async def ask_openai(bench: Any, door: Door, **options: Any) -> str:
    client = AsyncOpenAI(base_url=bench.provider.base_url, api_key=KEY, http_client=door.httpx2_client(), **options)
    answer = await client.chat.completions.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": "When is high tide?"}]
    )
    return answer.choices[0].message.content or ""


async def ask_anthropic(url: str, door: Door, **options: Any) -> str:
    client = AsyncAnthropic(base_url=url, api_key=KEY, http_client=door.httpx2_client(), **options)
    answer = await client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "When is high tide?"}]
    )
    return answer.content[0].text if answer.content[0].type == "text" else ""


async def test_an_overloaded_provider_is_asked_again_and_each_try_is_a_row(bench: Any) -> None:
    bench.provider.use(Script(faults=(ErrorStatus(status=503, times=2),)))
    _, ended = await bench.run(one_stage(lambda door: ask_openai(bench, door)), Given(note=""))
    assert ended.finished
    assert [(status, number) for _, status, _, _, _, number in await rows(bench)] == [(503, 1), (503, 2), (200, 3)]
    assert len(bench.provider.bill.charged) == 1


@pytest.mark.parametrize("package", ["openai", "anthropic"])
async def test_a_final_error_is_the_sdks_own_and_the_sdk_does_not_try_again(bench: Any, package: str) -> None:
    bench.provider.use(Script(faults=(ErrorStatus(status=429, retry_after=0.01),)))

    async def work(door: Door) -> str:
        if package == "openai":
            with pytest.raises(RateLimitError):
                await ask_openai(bench, door)
        else:
            with pytest.raises(AnthropicRateLimit):
                await ask_anthropic(bench.provider.url, door)
        return "told"

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.finished, await bench.reasons(run)
    assert len(bench.provider.bill.entries) == TRIES


@pytest.mark.parametrize("package", ["openai", "anthropic"])
async def test_where_no_answer_comes_the_sdks_own_tries_send_nothing(bench: Any, package: str) -> None:
    async def work(door: Door) -> str:
        if package == "openai":
            client = AsyncOpenAI(base_url=NOBODY, api_key=KEY, http_client=door.httpx2_client(), max_retries=1)
            await client.models.list()
        return await ask_anthropic(NOBODY, door, max_retries=1)

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.failed
    reason = (await bench.reasons(run))["said"]
    assert "failed with APIConnectionError: Connection error." in reason
    assert f" at {__file__}:" in reason, "of all lines, the stage's own is told"
    assert f"(cannot reach {NOBODY}" in reason, "what an SDK leaves out is told by the door"
    assert f"(after {TRIES} tries)" in reason
    assert [number for *_, number in await rows(bench)] == [1, 2, 3, 4]


async def test_a_write_that_the_ledger_refused_ends_the_drive_also_behind_an_sdks_error(bench: Any) -> None:
    async def work(door: Door) -> str:
        raise OSError("Connection error.") from StaleWriter("a later driver has taken over")

    with pytest.raises(StaleWriter):
        await bench.run(one_stage(work), Given(note=""))


async def test_what_lies_behind_an_sdks_error_is_told_whatever_it_is(bench: Any) -> None:
    async def work(door: Door) -> str:
        raise OSError("Connection error.") from ValueError("no host is called so")

    run, _ = await bench.run(one_stage(work), Given(note=""))
    reason = (await bench.reasons(run))["said"]
    assert reason.startswith("said failed with OSError: Connection error. at ")
    assert reason.endswith("(ValueError('no host is called so'))")


async def test_a_budget_pauses_a_run_before_the_call_of_an_sdk_that_may_pass_it(bench: Any) -> None:
    async def work(door: Door) -> str:
        return " ".join([await ask_anthropic(bench.provider.url, door, max_retries=n) for n in range(5)])

    environment = {**bench.site.environment, "ANTHROPIC_BASE_URL": bench.provider.url}
    bench.site = Site(bench.ledger, environment, public_only=False)
    pipeline = one_stage(work)
    run, ended = await bench.run(pipeline, Given(note=""), budget=ROOM_FOR_ONE)
    assert ended.stopped == "paused"
    assert len(bench.provider.bill.entries) == 1
    assert (await bench.steps(run))["said", ""] == "running"


async def test_samples_of_one_prompt_stay_as_many_when_they_are_given_again(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(answer=["one", "two", "three"]),)))
    given: list[list[str]] = []

    async def work(door: Door) -> str:
        given.append(sorted(await asyncio.gather(*(ask_openai(bench, door) for _ in range(3)))))
        if len(given) == 1:
            raise OSError("the disk is full")
        return " ".join(given[-1])

    pipeline = one_stage(work)
    run, ended = await bench.run(pipeline, Given(note=""))
    assert ended.failed
    assert not (await bench.carry_on(run, pipeline)).failed
    assert given == [["one", "three", "two"]] * 2
    assert len(bench.provider.bill.entries) == 3


async def test_the_timeout_of_an_sdk_ends_a_try(bench: Any) -> None:
    bench.provider.use(Script(faults=(Delay(seconds=30),)))

    async def work(door: Door) -> str:
        with pytest.raises(APITimeoutError):
            await ask_openai(bench, door, timeout=0.05, max_retries=0)
        return "told"

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.finished, await bench.reasons(run)
    assert [state for state, *_ in await rows(bench)] == ["lost"] * TRIES


async def test_a_stream_is_kept_whole_metered_and_given_again(bench: Any, world: World) -> None:
    bench.site = Site(bench.ledger, {**bench.site.environment, "OPENAI_BASE_URL": f"{world.url}/v1"}, public_only=False)
    pieces: list[list[str]] = []

    async def work(door: Door) -> str:
        client = AsyncOpenAI(base_url=f"{world.url}/v1", api_key=KEY, http_client=door.httpx2_client())
        stream = await client.chat.completions.create(
            model="gpt-4.1-mini",
            messages=[{"role": "user", "content": "When?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        pieces.append([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        if len(pieces) == 1:
            raise OSError("the disk is full")
        return "".join(pieces[-1])

    pipeline = one_stage(work)
    run, ended = await bench.run(pipeline, Given(note=""))
    assert not ended.finished or ended.failed
    again = await bench.carry_on(run, pipeline)
    assert again.finished
    assert not again.failed
    assert pieces == [["High ", "tide"]] * 2
    assert len(world.arrived) == 1
    table = await bench.ledger.query("select input_tokens, output_tokens, cost, model from exchanges")
    assert [tuple(row) for row in table.rows] == [(12, 5, 12 * 400_000 + 5 * 1_600_000, "gpt-4.1-mini")]


async def test_the_same_form_with_a_file_is_the_same_request_each_time(bench: Any, world: World) -> None:
    async def work(door: Door) -> str:
        async with door.httpx2_client() as client:
            for _ in range(2):
                await client.post(f"{world.url}/files", data={"purpose": "x"}, files={"file": ("a.txt", b"tides")})
        return "sent"

    _, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.finished
    (first, one), (second, other) = world.arrived
    assert one == other
    assert b"tides" in one
    assert first.headers["content-type"] == second.headers["content-type"]
    table = await bench.ledger.query("select distinct request_hash from exchanges")
    assert len(table.rows) == 1


async def test_no_key_of_an_sdk_is_kept_wherever_it_stands(bench: Any, world: World, tmp_path: Path) -> None:
    async def work(door: Door) -> str:
        client = door.httpx2_client(auth=("user", TOKEN))
        headers = {"x-api-key": KEY, "x-unheard-of": UNHEARD_OF, "cookie": f"id={TOKEN}", "user-agent": "env:HOME"}
        echoed = await client.get(f"{world.url}/echo?api_key={TOKEN}&page_token=two&q=env:HOME", headers=headers)
        return str(echoed.status_code)

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.finished, await bench.reasons(run)
    [(request, _)] = world.arrived
    assert request.headers["x-api-key"] == KEY, "the server did get the keys"
    assert request.query["api_key"] == TOKEN
    assert request.query["q"] == "env:HOME"
    table = await bench.ledger.query("select url, request_headers, response_headers, response, id from exchanges")
    [(url, asked, told, response, number)] = table.rows
    assert str(url).endswith("/echo?api_key=[secret]&page_token=two&q=env%3AHOME")
    body = await bench.ledger.payload(response)
    assert b"[secret]" in body
    kept = everything_kept(tmp_path)
    for secret in (KEY, TOKEN, UNHEARD_OF, b64encode(f"user:{TOKEN}".encode()).decode()):
        assert secret not in f"{url}{asked}{told}{body!r}"
        assert secret.encode() not in kept
    assert await bench.ledger.request_body(number) == b""


async def test_a_body_that_holds_its_own_key_is_refused_before_it_is_kept(bench: Any, world: World) -> None:
    async def work(door: Door) -> str:
        client = door.httpx2_client(headers={"x-api-key": KEY})
        await client.post(f"{world.url}/echo", json={"login": KEY})
        return "sent"

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.failed
    assert "holds the key that is in its headers" in (await bench.reasons(run))["said"]
    assert world.arrived == []
    assert await rows(bench) == []


async def test_an_option_that_leads_around_the_record_is_refused(bench: Any) -> None:
    async def work(door: Door) -> str:
        with pytest.raises(UsageError, match="takes no proxy, transport"):
            door.httpx2_client(proxy="http://127.0.0.1:1", transport=httpx2.AsyncHTTPTransport())
        return "refused"

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.finished, await bench.reasons(run)


async def test_without_the_extra_the_mend_is_told(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.delitem(sys.modules, "stagebook.door.httpx2_transport", raising=False)

    async def work(door: Door) -> str:
        with pytest.raises(UsageError, match=r"needs the package httpx2.*pip install 'stagebook\[sdk\]'"):
            door.httpx2_client()
        return "told"

    run, ended = await bench.run(one_stage(work), Given(note=""))
    assert ended.finished, await bench.reasons(run)


async def test_vectors_asked_for_by_an_sdk_are_priced_and_fit_a_budget(bench: Any) -> None:
    async def embed(door: Door) -> str:
        client = AsyncOpenAI(base_url=bench.provider.base_url, api_key=KEY, http_client=door.httpx2_client())
        made = await client.embeddings.create(model="text-embedding-3-small", input=["high tide", "low tide"])
        return str(len(made.data))

    run, _ = await bench.run(one_stage(embed), Given(note="x"), budget=10**12)
    assert await rows(bench) == [("received", 200, "model", "openai", "text-embedding-3-small", 1)]
    tokens = (await bench.ledger.query("SELECT input_tokens, output_tokens FROM exchanges")).rows[0]
    assert tokens == (bench.provider.bill.charged[0].input_tokens, 0)
    assert await bench.cost(run) == tokens[0] * 20_000, "0.02 dollars a million tokens"
