"""The fake provider over real HTTP: its answers, its bill, its limits."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import aiohttp
import orjson
import pytest
from pydantic import BaseModel, Field

from stagebook.testing.provider import PRICES, FakeProvider
from stagebook.testing.provider_bill import Bill, Ending, TokenPrice
from stagebook.testing.provider_faults import Cut, Delay, ErrorStatus
from stagebook.testing.provider_limit import RateLimit, SlidingWindow
from stagebook.testing.provider_request import ChatRequest, Rejection, count_tokens, read_request
from stagebook.testing.provider_script import Rule, Script


class Label(BaseModel):
    kind: Literal["cover", "chapter"]
    confidence: float = Field(ge=0, le=1)
    note: str | None


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def prompt(text: str, *, model: str = "gpt-4.1-mini", **more: Any) -> bytes:
    return orjson.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more})


def wants(model: type[BaseModel], *, strict: bool = False) -> dict[str, object]:
    schema = {"name": model.__name__.lower(), "schema": model.model_json_schema(), "strict": strict}
    return {"type": "json_schema", "json_schema": schema}


async def ask(
    session: aiohttp.ClientSession, provider: FakeProvider, body: bytes, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    data = io.BytesIO(body)  # aiohttp warns of bytes above 1 MiB
    async with session.post(f"{provider.base_url}/chat/completions", data=data, headers=headers) as response:
        answer: dict[str, Any] = orjson.loads(await response.read())
        return {"status": response.status, "headers": response.headers, **answer}


async def say(session: aiohttp.ClientSession, provider: FakeProvider, body: bytes) -> str:
    answer = await ask(session, provider, body)
    content: str = answer["choices"][0]["message"]["content"]
    return content


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def test_an_answer_has_the_shape_of_a_chat_completion(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        answer = await ask(session, provider, prompt("What is on page 4?"))
        entry = provider.bill.entries[0]
    assert answer["status"] == 200
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4.1-mini"
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["refusal"] is None
    assert answer["usage"] == {
        "prompt_tokens": entry.input_tokens,
        "completion_tokens": entry.output_tokens,
        "total_tokens": entry.input_tokens + entry.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


async def test_the_same_request_gets_the_same_content_from_another_provider_of_the_same_seed(
    session: aiohttp.ClientSession,
) -> None:
    bodies = [prompt("tell me"), prompt("label", response_format=wants(Label))]
    said = []
    for seed in (3, 3, 4):
        async with FakeProvider(seed=seed) as provider:
            said.append([await say(session, provider, body) for body in bodies])
    assert said[0] == said[1]
    assert said[0][0] != said[2][0]
    assert said[0][1] != said[2][1]


async def test_two_requests_get_different_texts(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        said = {await say(session, provider, prompt(f"page {number}")) for number in range(50)}
    assert len(said) == 50


async def test_a_json_schema_is_answered_with_a_valid_instance(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        for number in range(20):
            content = await say(session, provider, prompt(f"page {number}", response_format=wants(Label)))
            Label.model_validate_json(content)


async def test_a_json_object_follows_a_schema_in_the_system_message_and_is_empty_without_one(
    session: aiohttp.ClientSession,
) -> None:
    schema = json.dumps(Label.model_json_schema(), indent=2)
    told = {
        "role": "system",
        "content": f'Answer as JSON, not as {{"this": 1}}, but by this schema:\n{schema}\nNothing else.',
    }
    asked = {"role": "user", "content": "page 1"}
    shape = {"type": "json_object"}
    async with FakeProvider() as provider:
        with_schema = orjson.dumps({"model": "m", "messages": [told, asked], "response_format": shape})
        without = orjson.dumps({"model": "m", "messages": [asked], "response_format": shape})
        Label.model_validate_json(await say(session, provider, with_schema))
        assert await say(session, provider, without) == "{}"


async def test_a_strict_schema_that_openai_refuses_is_refused(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        answer = await ask(session, provider, prompt("page 1", response_format=wants(Label, strict=True)))
        assert answer["status"] == 400
        assert "additionalProperties" in str(answer["error"])
        assert provider.bill.total() == 0


async def test_a_schema_that_cannot_be_answered_is_told_and_costs_nothing(session: aiohttp.ClientSession) -> None:
    class Coded(BaseModel):
        code: str = Field(pattern="^[A-Z]{3}$")

    async with FakeProvider() as provider:
        answer = await ask(session, provider, prompt("code", response_format=wants(Coded)))
        assert answer["status"] == 400
        assert "'pattern' at #/code" in str(answer["error"])
        assert provider.bill.charged == []


async def test_an_answer_longer_than_max_tokens_ends_with_length(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(Script(rules=(Rule(answer="word " * 200),))) as provider:
        answer = await ask(session, provider, prompt("go on", max_completion_tokens=7))
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "length"
        assert count_tokens(choice["message"]["content"]) <= 7
        assert provider.bill.entries[0].output_tokens <= 7


async def test_the_first_rule_whose_conditions_all_hold_decides(session: aiohttp.ClientSession) -> None:
    rules = (
        Rule(contains=("page", "cover"), model="gpt-4.1", answer="both"),
        Rule(contains="page", matches=r"(?P<number>\d+)", template="page {{ match['number'] }} of {{ model }}"),
        Rule(schema_name="Label", fields={"kind": "chapter"}),
        Rule(schema_name="plain", answer={"kind": "cover"}),
        Rule(contains="letters", answer=lambda request: request.last_text[::-1]),
    )
    async with FakeProvider(Script(rules=rules)) as provider:
        assert await say(session, provider, prompt("cover page", model="gpt-4.1")) == "both"
        assert await say(session, provider, prompt("cover page 12")) == "page 12 of gpt-4.1-mini"
        label = await say(session, provider, prompt("label it", response_format=wants(Label)))
        assert Label.model_validate_json(label).kind == "chapter"
        plain = {"type": "json_schema", "json_schema": {"name": "plain", "schema": {"type": "object"}}}
        assert await say(session, provider, prompt("x", response_format=plain)) == '{"kind":"cover"}'
        assert await say(session, provider, prompt("letters")) == "srettel"
        assert (await say(session, provider, prompt("none of these"))).startswith("Note ")


async def test_answers_come_one_after_the_other_and_the_last_stays(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(Script(rules=(Rule(answer=["bad", "good"]),))) as provider:
        assert [await say(session, provider, prompt(text)) for text in "abc"] == ["bad", "good", "good"]


async def test_each_conversation_gets_the_first_answer_first(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(Script(rules=(Rule(answer=["bad", "good"], counted="conversation"),))) as provider:
        for text in ("page 1", "page 2"):
            opening = {"role": "user", "content": text}
            turns = [{"role": "assistant", "content": "bad"}, {"role": "user", "content": "a boundary has a position"}]
            first = orjson.dumps({"model": "m", "messages": [opening]})
            second = orjson.dumps({"model": "m", "messages": [opening, *turns]})
            assert await say(session, provider, first) == "bad"
            assert await say(session, provider, second) == "good"


async def test_an_answer_that_an_error_took_away_is_not_counted(session: aiohttp.ClientSession) -> None:
    rule = Rule(answer=["first", "second"], faults=(ErrorStatus(status=500, times=1),))
    async with FakeProvider(Script(rules=(rule,))) as provider:
        assert (await ask(session, provider, prompt("x")))["status"] == 500
        assert await say(session, provider, prompt("x")) == "first"


async def test_a_function_that_raises_is_told_to_the_client_and_not_charged(session: aiohttp.ClientSession) -> None:
    def broken(_request: ChatRequest) -> str:
        raise KeyError("page")

    async with FakeProvider(Script(rules=(Rule(answer=broken),))) as provider:
        answer = await ask(session, provider, prompt("x"))
        assert answer["status"] == 400
        assert "KeyError: 'page'" in str(answer["error"])
        assert provider.bill.charged == []


async def test_the_bill_has_the_digest_headers_and_price_of_every_request(session: aiohttp.ClientSession) -> None:
    body = prompt("x" * 1000)
    headers = {"Idempotency-Key": "k-1", "X-Stagebook-Run": "r-1", "Authorization": "Bearer sk-secret"}
    rule = Rule(answer="y" * 400, cached_tokens=100, reasoning_tokens=30)
    async with FakeProvider(Script(rules=(rule,))) as provider:
        await ask(session, provider, body, headers)
        entry = provider.bill.entries[0]
    assert entry.number == 1
    assert entry.sha256 == hashlib.sha256(body).hexdigest()
    assert entry.headers == {"idempotency-key": "k-1", "x-stagebook-run": "r-1"}
    assert (entry.input_tokens, entry.cached_tokens) == (250, 100)
    assert (entry.output_tokens, entry.reasoning_tokens) == (130, 30)
    assert entry.cost == 150 * 400_000 + 100 * 100_000 + 130 * 1_600_000  # $0.40, $0.10 and $1.60 a million tokens
    assert entry.charged
    assert entry.ended is Ending.ANSWERED
    assert entry.ended_at is not None
    assert entry.ended_at >= entry.arrived_at


async def test_each_model_has_its_price_and_an_unknown_one_that_of_mini(session: aiohttp.ClientSession) -> None:
    prices = {"dear": TokenPrice.per_million("10", "1", "100")}
    async with FakeProvider(Script(rules=(Rule(answer="abcd"),)), prices=prices) as provider:
        await ask(session, provider, prompt("abcd", model="dear"))
        await ask(session, provider, prompt("abcd", model="else"))
        assert [entry.cost for entry in provider.bill.entries] == [110_000_000, 2_000_000]
        assert provider.bill.total() == 112_000_000
    assert PRICES["gpt-4.1-mini"].input == 400_000


async def test_a_body_sent_twice_is_charged_twice_and_found_by_its_digest(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        for text in ("a", "b", "a"):
            await ask(session, provider, prompt(text))
        twice = hashlib.sha256(prompt("a")).hexdigest()
        assert {sha256: len(entries) for sha256, entries in provider.bill.charged_again().items()} == {twice: 2}
        assert len(provider.bill.by_body()) == 2


async def test_a_client_that_goes_away_has_paid_for_an_answer_it_never_got(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(Script(faults=(Delay(seconds=3600),))) as provider:
        patience = aiohttp.ClientTimeout(total=0.05)
        with pytest.raises(TimeoutError):
            await session.post(f"{provider.base_url}/chat/completions", data=prompt("x"), timeout=patience)
        await until(lambda: not provider.bill.in_flight())
        entry = provider.bill.entries[0]
        assert entry.ended is Ending.CLIENT_GONE
        assert entry.charged
        assert entry.cost == provider.bill.total() > 0
        assert provider.bill.unanswered() == [entry]


async def test_what_was_in_flight_at_a_moment_can_be_asked_afterwards(session: aiohttp.ClientSession) -> None:
    script = Script(rules=(Rule(contains="slow", faults=(Delay(seconds=3600),)),))
    async with FakeProvider(script) as provider:
        await ask(session, provider, prompt("quick"))
        waiting = asyncio.create_task(ask(session, provider, prompt("slow")))
        await until(provider.bill.in_flight)
        slow = provider.bill.in_flight()[0]
        moment = slow.arrived_at
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: not provider.bill.in_flight())
        assert provider.bill.in_flight(at=moment) == [slow]
        assert provider.bill.in_flight(at=provider.bill.entries[0].arrived_at - 1) == []
        assert provider.bill.summary(at=moment)["in_flight"] == 1


async def test_a_request_whose_body_never_ends_is_not_in_the_bill() -> None:
    async with FakeProvider() as provider:
        port = int(provider.url.rsplit(":", 1)[1])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with aiohttp.ClientSession() as session:
            await ask(session, provider, prompt("whole"))
        assert [entry.sha256 for entry in provider.bill.entries] == [hashlib.sha256(prompt("whole")).hexdigest()]


async def test_an_answer_is_not_fully_written_while_its_reader_does_not_read() -> None:
    async with FakeProvider(Script(rules=(Rule(answer="x" * 30_000_000),))) as provider:
        port = int(provider.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        body = prompt("everything")
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await reader.readuntil(b"\r\n")
        assert [entry.status for entry in provider.bill.in_flight()] == [200]
        writer.transport.abort()
        await until(lambda: not provider.bill.in_flight())
        assert provider.bill.entries[0].ended is Ending.CLIENT_GONE
        assert provider.bill.unanswered() == provider.bill.entries


async def test_a_stopping_provider_cuts_what_is_in_flight(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(Script(faults=(Delay(seconds=3600),))) as provider:
        waiting = asyncio.create_task(ask(session, provider, prompt("x")))
        await until(provider.bill.in_flight)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await waiting
    assert provider.bill.entries[0].ended is Ending.CUT


async def test_the_bill_is_read_and_reset_over_http(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(Script(faults=(Cut(nth=(2,)),))) as provider:
        await ask(session, provider, prompt("a"))
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(session, provider, prompt("b"))
        async with session.get(f"{provider.url}/bill") as response:
            read = Bill.from_json(await response.read())
        assert read.entries == provider.bill.entries
        async with session.get(f"{provider.url}/bill/summary") as response:
            summary = await response.json()
        assert summary == provider.bill.summary()
        assert (summary["requests"], summary["answered"], summary["cut"], summary["charged"]) == (2, 1, 1, 1)
        await session.post(f"{provider.url}/bill/reset")
        assert provider.bill.entries == []


async def test_a_summary_at_no_number_is_refused(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider, session.get(f"{provider.url}/bill/summary?at=noon") as response:
        assert response.status == 400


async def test_a_new_script_over_http_starts_its_counts_anew(session: aiohttp.ClientSession) -> None:
    script = Script(rules=(Rule(answer=["one", "two"]),))
    async with FakeProvider(script) as provider:
        assert await say(session, provider, prompt("x")) == "one"
        await session.post(f"{provider.url}/script", data=script.model_dump_json())
        assert await say(session, provider, prompt("x")) == "one"
        async with session.post(f"{provider.url}/script", data=b'{"rules": [{"answr": "x"}]}') as response:
            assert response.status == 400
            assert "rules.0.answr" in await response.text()
        assert await say(session, provider, prompt("x")) == "two"


async def test_the_requests_can_be_looked_at_with_their_headers(session: aiohttp.ClientSession) -> None:
    async with FakeProvider() as provider:
        await ask(session, provider, prompt("look"), {"Authorization": "Bearer k"})
        request = provider.requests[-1]
    assert request.last_text == "look"
    assert request.headers["authorization"] == "Bearer k"


async def test_another_key_than_the_one_it_takes_is_refused(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(api_key="sk-right") as provider:
        wrong = await ask(session, provider, prompt("x"), {"Authorization": "Bearer sk-wrong"})
        right = await ask(session, provider, prompt("x"), {"Authorization": "Bearer sk-right"})
        assert [wrong["status"], right["status"]] == [401, 200]
        assert [entry.charged for entry in provider.bill.entries] == [False, True]


async def test_an_unknown_model_and_too_large_a_body_are_refused(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(models=["gpt-4.1"], max_body_bytes=2_000_000) as provider:
        assert (await ask(session, provider, prompt("x", model="gpt-9")))["status"] == 404
        assert (await ask(session, provider, prompt("x" * 2_000_000, model="gpt-4.1")))["status"] == 413
        assert (await ask(session, provider, prompt("x" * 1_900_000, model="gpt-4.1")))["status"] == 200
        async with session.get(f"{provider.base_url}/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["gpt-4.1"]
        assert [entry.ended for entry in provider.bill.entries] == [Ending.REJECTED, Ending.REJECTED, Ending.ANSWERED]


@pytest.mark.parametrize(
    "body",
    [
        b"{not json",
        b"[]",
        orjson.dumps({"model": "m", "messages": []}),
        orjson.dumps({"messages": [{"role": "user", "content": "x"}]}),
        prompt("x", stream=True),
        prompt("x", n=3),
    ],
)
async def test_what_is_no_request_for_one_answer_is_refused(session: aiohttp.ClientSession, body: bytes) -> None:
    async with FakeProvider() as provider:
        answer = await ask(session, provider, body)
        assert answer["status"] == 400
        assert answer["error"]["message"]
        assert provider.bill.total() == 0


async def test_text_parts_and_images_are_counted(session: aiohttp.ClientSession) -> None:
    parts = [
        {"type": "text", "text": "abcdefgh"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]
    async with FakeProvider() as provider:
        await ask(session, provider, orjson.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}))
        assert provider.bill.entries[0].input_tokens == 2 + 1024


async def test_more_than_the_limit_is_answered_429_with_the_time_to_wait(session: aiohttp.ClientSession) -> None:
    async with FakeProvider(rate_limit=RateLimit(requests=2, window=3600)) as provider:
        answers = [await ask(session, provider, prompt(str(number))) for number in range(3)]
    assert [answer["status"] for answer in answers] == [200, 200, 429]
    headers = answers[2]["headers"]
    assert 3500 < int(headers["Retry-After"]) <= 3600
    assert int(headers["retry-after-ms"]) <= 3_600_000
    assert [answer["headers"]["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert [entry.charged for entry in provider.bill.entries] == [True, True, False]


def asked(tokens: int, **more: Any) -> ChatRequest:
    request = read_request(1, prompt("abcd" * tokens, **more), "", {})
    assert isinstance(request, ChatRequest)
    return request


def test_no_window_of_its_length_has_more_requests_than_the_limit() -> None:
    window = SlidingWindow(RateLimit(requests=2, window=10))
    assert window.admit(asked(1), now=0) is None
    assert window.admit(asked(1), now=8) is None
    refused = window.admit(asked(1), now=9)
    assert isinstance(refused, Rejection)
    assert refused.headers == {"Retry-After": "1", "retry-after-ms": "1000"}
    assert window.admit(asked(1), now=10) is None
    assert window.admit(asked(1), now=17) is not None
    assert window.admit(asked(1), now=18) is None


def test_tokens_of_the_input_and_the_longest_answer_count_against_the_limit() -> None:
    window = SlidingWindow(RateLimit(tokens=100, window=10))
    assert window.admit(asked(30, max_completion_tokens=20), now=0) is None
    assert window.admit(asked(40), now=4) is None
    refused = window.admit(asked(60), now=5)
    assert isinstance(refused, Rejection)
    assert refused.headers == {"Retry-After": "5", "retry-after-ms": "5000"}
    assert window.admit(asked(60), now=10) is None


def test_a_request_larger_than_the_limit_is_not_told_to_come_back() -> None:
    refused = SlidingWindow(RateLimit(tokens=100)).admit(asked(101), now=0)
    assert isinstance(refused, Rejection)
    assert refused.status == 429
    assert refused.headers == {}
