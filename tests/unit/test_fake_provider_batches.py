"""The fake provider's batches, as the providers' own packages use them."""

import warnings
from collections.abc import AsyncIterator

import orjson
import pytest

from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_faults import BatchFaults, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the packages say of pydantic is not ours
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI, RateLimitError

MODEL = "gpt-4.1-mini"


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(Script(rules=(Rule(contains="trouble", faults=(ErrorStatus(status=500),)),))) as started:
        yield started


def lines(*texts: str, model: str = MODEL) -> bytes:
    """Write a file of requests."""
    bodies = [{"model": model, "messages": [{"role": "user", "content": text}]} for text in texts]
    path = "/v1/chat/completions"
    return b"\n".join(
        orjson.dumps({"custom_id": f"n{number}", "method": "POST", "url": path, "body": body})
        for number, body in enumerate(bodies)
    )


async def test_openais_package_makes_a_batch_and_reads_its_files(provider: FakeProvider) -> None:
    async with AsyncOpenAI(base_url=provider.base_url, api_key="any", max_retries=0) as client:
        file = await client.files.create(file=("in.jsonl", lines("one", "trouble", "three")), purpose="batch")
        made = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": "a test"}
        )
        batch = await client.batches.retrieve(made.id)
        assert (batch.status, batch.input_file_id, batch.metadata) == ("completed", file.id, {"of": "a test"})
        assert batch.request_counts is not None
        assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 1)
        answers, errors = [
            [orjson.loads(line) for line in (await client.files.content(str(name))).content.splitlines()]
            for name in (batch.output_file_id, batch.error_file_id)
        ]
        assert [line["custom_id"] for line in answers] == ["n2", "n0"]
        assert [(line["custom_id"], line["response"]["status_code"]) for line in errors] == [("n1", 500)]
        assert [one.id async for one in client.batches.list()] == [made.id]
    assert len(provider.bill.charged) == 2
    assert {entry.batch for entry in provider.bill.charged} == {made.id}


async def test_an_answer_by_batch_costs_half_of_a_live_one(provider: FakeProvider) -> None:
    async with AsyncOpenAI(base_url=provider.base_url, api_key="any", max_retries=0) as client:
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "one"}])
        file = await client.files.create(file=("in.jsonl", lines("one")), purpose="batch")
        await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        await client.batches.list()
    live, half = provider.bill.charged
    assert (half.output_tokens, half.cost) == (live.output_tokens, live.cost // 2)


async def test_a_file_that_openai_would_not_take_makes_a_batch_that_fails(provider: FakeProvider) -> None:
    provider.use(Script())
    async with AsyncOpenAI(base_url=provider.base_url, api_key="any", max_retries=0) as client:
        codes = []
        for content in (b"no json", lines("one") + b"\n" + lines("two"), lines("one") + b"\n" + _other("n1")):
            file = await client.files.create(file=("in.jsonl", content), purpose="batch")
            made = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            assert made.status == "failed"
            assert made.errors is not None
            codes += [one.code for one in made.errors.data or ()]
        assert codes == ["invalid_json_line", "duplicate_custom_id", "mismatched_model"]
    assert provider.bill.charged == []


async def test_a_busy_provider_takes_no_file(provider: FakeProvider) -> None:
    provider.use(Script(batches=BatchFaults(busy_uploads=(1,))))
    async with AsyncOpenAI(base_url=provider.base_url, api_key="any", max_retries=0) as client:
        with pytest.raises(RateLimitError):
            await client.files.create(file=("in.jsonl", lines("one")), purpose="batch")


async def test_anthropics_package_makes_a_batch_and_reads_its_results(provider: FakeProvider) -> None:
    provider.use(
        Script(
            rules=(Rule(contains="trouble", faults=(ErrorStatus(status=500),)),),
            batches=BatchFaults(expire=(1,), share=0.8),
        )
    )
    async with AsyncAnthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
        made = await client.messages.batches.create(
            requests=[
                {
                    "custom_id": f"n{number}",
                    "params": {
                        "model": "claude-haiku-4-5",
                        "max_tokens": 100,
                        "messages": [{"role": "user", "content": text}],
                    },
                }
                for number, text in enumerate(("one", "trouble", "three", "four", "five"))
            ]
        )
        batch = await client.messages.batches.retrieve(made.id)
        counts = batch.request_counts
        assert (batch.processing_status, counts.succeeded, counts.errored, counts.expired) == ("ended", 3, 1, 1)
        assert [one.id async for one in client.messages.batches.list()] == [made.id]
        with_raw = await client.get(f"/v1/messages/batches/{made.id}/results", cast_to=str)
        results = [orjson.loads(line) for line in with_raw.splitlines()]
    kinds = {line["custom_id"]: line["result"]["type"] for line in results}
    assert kinds == {"n0": "succeeded", "n1": "errored", "n2": "succeeded", "n3": "succeeded", "n4": "expired"}


def _other(name: str) -> bytes:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "else"}]}
    return orjson.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})
