"""Each scripted fault of the fake provider, as a client meets it over real HTTP, and what the bill says about it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import aiohttp
import orjson
import pytest
from pydantic import ValidationError

from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_bill import Ending
from stagebook.testing.provider_faults import (
    AnyFault,
    Cut,
    Delay,
    Drip,
    EmptyChoices,
    ErrorStatus,
    HalfBody,
    MalformedJson,
    Refusal,
    Truncated,
    WrongSchema,
)
from stagebook.testing.provider_script import Rule, Script


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def prompt(text: str, **more: object) -> bytes:
    return orjson.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": text}], **more})


def failing(fault: AnyFault, answer: str = "a word or two") -> FakeProvider:
    return FakeProvider(Script(rules=(Rule(answer=answer),), faults=(fault,)))


async def ask(
    session: aiohttp.ClientSession, provider: FakeProvider, body: bytes, headers: dict[str, str] | None = None
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with session.post(f"{provider.base_url}/chat/completions", data=body, headers=headers) as response:
        return response, await response.read()


async def choice(session: aiohttp.ClientSession, provider: FakeProvider, body: bytes) -> dict[str, Any]:
    _, answer = await ask(session, provider, body)
    first: dict[str, Any] = orjson.loads(answer)["choices"][0]
    return first


async def statuses(session: aiohttp.ClientSession, provider: FakeProvider, texts: str) -> list[int]:
    return [(await ask(session, provider, prompt(text)))[0].status for text in texts]


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 503, 529])
async def test_an_error_status_comes_with_an_error_object_and_costs_nothing(
    session: aiohttp.ClientSession, status: int
) -> None:
    async with failing(ErrorStatus(status=status)) as provider:
        response, body = await ask(session, provider, prompt("x"))
        entry = provider.bill.entries[0]
    assert response.status == status
    assert response.content_type == "application/json"
    assert set(orjson.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert (entry.ended, entry.status, entry.fault, entry.charged) == (Ending.REJECTED, status, "status", False)


async def test_a_bad_gateway_answers_in_html_as_gateways_do(session: aiohttp.ClientSession) -> None:
    async with failing(ErrorStatus(status=502)) as provider:
        response, body = await ask(session, provider, prompt("x"))
    assert response.status == 502
    assert response.content_type == "text/html"
    assert body.startswith(b"<html>")


async def test_an_error_may_have_its_own_code_and_text(session: aiohttp.ClientSession) -> None:
    async with failing(ErrorStatus(status=400, code="context_length_exceeded", message="too long")) as provider:
        _, body = await ask(session, provider, prompt("x"))
    assert orjson.loads(body)["error"]["code"] == "context_length_exceeded"
    assert orjson.loads(body)["error"]["message"] == "too long"


async def test_the_time_to_wait_is_told_in_seconds_as_a_date_or_in_milliseconds(session: aiohttp.ClientSession) -> None:
    faults = (
        ErrorStatus(status=429, retry_after=20, nth=(1,)),
        ErrorStatus(status=503, retry_after=20, retry_after_form="date", nth=(2,)),
        ErrorStatus(status=429, retry_after=0.05, retry_after_form="milliseconds", nth=(3,)),
    )
    async with FakeProvider(Script(faults=faults)) as provider:
        before = time()
        seconds, date, milliseconds = [(await ask(session, provider, prompt("x")))[0].headers for _ in faults]
    assert seconds["Retry-After"] == "20"
    assert before + 20 <= parsedate_to_datetime(date["Retry-After"]).timestamp() <= time() + 21
    assert milliseconds["retry-after-ms"] == "50"
    assert "Retry-After" not in milliseconds


async def test_an_error_can_echo_the_headers_of_its_request(session: aiohttp.ClientSession) -> None:
    async with failing(ErrorStatus(status=400, echo_headers=True)) as provider:
        _, body = await ask(session, provider, prompt("x"), {"Authorization": "Bearer sk-canary"})
    assert "Authorization: Bearer sk-canary" in orjson.loads(body)["error"]["message"]


@pytest.mark.parametrize("charged", [False, True])
async def test_a_cut_connection_has_no_answer_and_is_charged_if_it_says_so(
    session: aiohttp.ClientSession, *, charged: bool
) -> None:
    async with failing(Cut(charged=charged)) as provider:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(session, provider, prompt("x"))
        entry = provider.bill.entries[0]
        assert (entry.ended, entry.status, entry.charged) == (Ending.CUT, None, charged)
        assert bool(provider.bill.total()) is charged
        assert provider.bill.unanswered() == ([entry] if charged else [])


async def test_half_a_body_breaks_off_before_its_promised_length_and_is_charged(session: aiohttp.ClientSession) -> None:
    async with failing(HalfBody()) as provider:
        response = await session.post(f"{provider.base_url}/chat/completions", data=prompt("x"))
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        entry = provider.bill.entries[0]
        assert (entry.ended, entry.charged) == (Ending.CUT, True)
        assert provider.bill.unanswered() == [entry]


async def test_malformed_json_comes_whole_with_status_200_and_is_charged(session: aiohttp.ClientSession) -> None:
    async with failing(MalformedJson()) as provider:
        response, body = await ask(session, provider, prompt("x"))
        entry = provider.bill.entries[0]
    assert response.status == 200
    assert len(body) == response.content_length
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    assert (entry.ended, entry.charged) == (Ending.ANSWERED, True)


async def test_a_wrong_schema_is_valid_json_of_another_shape(session: aiohttp.ClientSession) -> None:
    schema = {"type": "object", "properties": {"page": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "page", "schema": schema}}
    async with failing(WrongSchema()) as provider:
        wrong = await choice(session, provider, prompt("x", response_format=form))
        assert provider.bill.entries[0].charged
    assert isinstance(orjson.loads(wrong["message"]["content"]), list)


async def test_a_refusal_has_no_content(session: aiohttp.ClientSession) -> None:
    async with failing(Refusal(text="I would rather not.")) as provider:
        refused = await choice(session, provider, prompt("x"))
        assert provider.bill.entries[0].output_tokens == 5
    assert refused["message"]["refusal"] == "I would rather not."
    assert refused["message"]["content"] is None


async def test_choices_can_be_empty_and_their_input_is_charged(session: aiohttp.ClientSession) -> None:
    async with failing(EmptyChoices()) as provider:
        _, body = await ask(session, provider, prompt("x" * 40))
        entry = provider.bill.entries[0]
    assert orjson.loads(body)["choices"] == []
    assert (entry.input_tokens, entry.output_tokens, entry.charged) == (10, 0, True)


async def test_a_truncated_answer_ends_with_length(session: aiohttp.ClientSession) -> None:
    async with failing(Truncated(), answer='{"pages": [1, 2, 3]}') as provider:
        cut = await choice(session, provider, prompt("x"))
    assert cut["finish_reason"] == "length"
    assert cut["message"]["content"] == '{"pages": '


async def test_a_dripping_body_arrives_in_pieces_and_is_whole(session: aiohttp.ClientSession) -> None:
    async with failing(Drip(seconds=0.2, pieces=10)) as provider:
        response = await session.post(f"{provider.base_url}/chat/completions", data=prompt("x"))
        pieces = [piece async for piece in response.content.iter_any()]
        assert provider.bill.entries[0].ended is Ending.ANSWERED
    assert len(pieces) > 1
    assert orjson.loads(b"".join(pieces))["choices"][0]["message"]["content"] == "a word or two"


async def test_a_client_that_leaves_a_dripping_body_is_noted_as_gone(session: aiohttp.ClientSession) -> None:
    async with failing(Drip(seconds=3600)) as provider:
        response = await session.post(f"{provider.base_url}/chat/completions", data=prompt("x"))
        await response.content.readany()
        response.close()
        while provider.bill.in_flight():
            await asyncio.sleep(0.002)
        entry = provider.bill.entries[0]
    assert (entry.ended, entry.status, entry.charged) == (Ending.CLIENT_GONE, 200, True)


async def test_a_delay_holds_back_an_error_too(session: aiohttp.ClientSession) -> None:
    faults = (ErrorStatus(status=500), Delay(seconds=0.05, up_to=0.06))
    async with FakeProvider(Script(faults=faults), latency=0.01) as provider:
        assert await statuses(session, provider, "x") == [500]
        entry = provider.bill.entries[0]
    assert entry.ended_at is not None
    assert entry.ended_at - entry.arrived_at >= 0.055  # a lower bound, which timers keep on a busy machine, too


async def test_the_connection_lives_on_after_an_error() -> None:
    opened: list[object] = []

    async def note(*details: object) -> None:
        opened.append(details)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(note)
    async with (
        failing(ErrorStatus(status=429, times=1)) as provider,
        aiohttp.ClientSession(trace_configs=[trace]) as session,
    ):
        assert await statuses(session, provider, "xx") == [429, 200]
    assert len(opened) == 1


async def test_a_fault_passes_after_its_times(session: aiohttp.ClientSession) -> None:
    async with failing(ErrorStatus(status=503, times=2)) as provider:
        assert await statuses(session, provider, "abcd") == [503, 503, 200, 200]


async def test_a_fault_counted_by_body_fails_every_distinct_request_once(session: aiohttp.ClientSession) -> None:
    async with failing(ErrorStatus(status=503, times=1, counted="body")) as provider:
        assert await statuses(session, provider, "ababc") == [503, 503, 200, 200, 503]


async def test_a_plan_names_the_requests_by_their_number(session: aiohttp.ClientSession) -> None:
    faults = (ErrorStatus(status=500, nth=(2, 4)), ErrorStatus(status=429, nth=(4, 5)))
    async with FakeProvider(Script(faults=faults)) as provider:
        assert await statuses(session, provider, "abcdef") == [200, 500, 200, 500, 429, 200]


async def test_a_rule_counts_only_the_requests_that_it_matches(session: aiohttp.ClientSession) -> None:
    rule = Rule(contains="b", faults=(ErrorStatus(status=500, nth=(2,)),))
    async with FakeProvider(Script(rules=(rule,))) as provider:
        assert await statuses(session, provider, "abacb") == [200, 200, 200, 200, 500]


async def test_a_fault_of_the_script_leaves_the_times_of_a_rule_unspent(session: aiohttp.ClientSession) -> None:
    rule = Rule(faults=(ErrorStatus(status=500, times=1),))
    async with FakeProvider(Script(rules=(rule,), faults=(ErrorStatus(status=429, times=1),))) as provider:
        assert await statuses(session, provider, "xxx") == [429, 500, 200]


async def test_what_a_probability_strikes_depends_on_the_seed_and_the_request_not_on_the_order(
    session: aiohttp.ClientSession,
) -> None:
    texts = [f"page {number}" for number in range(60)]
    struck: list[set[str]] = []
    for seed, order in ((1, texts), (1, texts[::-1]), (2, texts)):
        async with FakeProvider(Script(faults=(ErrorStatus(status=500, probability=0.3),)), seed=seed) as provider:
            failed = {text for text in order if (await ask(session, provider, prompt(text)))[0].status == 500}
        struck.append(failed)
    assert struck[0] == struck[1] != struck[2]
    assert 5 <= len(struck[0]) <= 35


async def test_a_request_that_a_probability_struck_may_pass_when_it_is_sent_again(
    session: aiohttp.ClientSession,
) -> None:
    async with failing(ErrorStatus(status=500, probability=0.5)) as provider:
        seen = Counter(await statuses(session, provider, "x" * 40))
    assert set(seen) == {200, 500}


def test_a_script_is_read_from_json_with_every_kind_of_fault() -> None:
    kinds = ["delay", "drip", "status", "cut", "half_body", "malformed_json", "wrong_schema", "refusal", "length"]
    extra = {"delay": {"seconds": 1}, "drip": {"seconds": 1}, "status": {"status": 500}}
    faults = [{"kind": kind, "times": 1, **extra.get(kind, {})} for kind in [*kinds, "empty_choices"]]
    script = Script.from_json(orjson.dumps({"rules": [{"contains": "x", "faults": faults}]}), origin="here")
    assert [fault.kind for fault in script.rules[0].faults] == [*kinds, "empty_choices"]
    assert Script.from_json(script.model_dump_json(), origin="here") == script


@pytest.mark.parametrize(
    "rule",
    [
        {"answer": "x", "template": "y"},
        {"answer": []},
        {"matches": "("},
        {"faults": [{"kind": "explode"}]},
        {"faults": [{"kind": "cut", "times": 0}]},
        {"contanis": "x"},
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate(rule)
