"""Secrets are planted everywhere a secret can come from; afterwards nothing that was kept holds one."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import Door, Pipeline
from stagebook.engine.session import Site
from stagebook.model.errors import SecretInInput
from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Script

MODEL = "openai:gpt-4.1-mini"
KEY = "sk-proj-CanaryCanaryCanaryCanary0123456789"
TOKEN = "plain-canary-token-without-any-known-form"  # noqa: S105  planted to be looked for


class Given(BaseModel):
    note: str


class Said(BaseModel):
    word: str


class Found(BaseModel):
    status: int


def everything_kept(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def everything_read(bench: Any) -> str:
    """Undo the compression: a secret inside a compressed payload would not be found in the bytes of the file."""
    texts = []
    for table in ("exchanges", "steps", "attempts", "events", "outputs", "runs", "segments"):
        rows = await bench.ledger.query(f"select * from {table}", limit=1000)  # noqa: S608
        texts.append(repr(rows.rows))
    for row in (await bench.ledger.query("select id, response from exchanges", limit=1000)).rows:
        texts.append((await bench.ledger.request_body(row[0])).decode("utf-8", "replace"))
        if row[1] is not None:
            texts.append((await bench.ledger.payload(row[1])).decode("utf-8", "replace"))
    return "\n".join(texts)


async def test_a_key_reaches_the_provider_and_nothing_that_is_kept(
    bench: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bench.provider.use(Script(faults=[ErrorStatus(status=400, echo_headers=True, times=1)]))
    bench.site = Site(
        bench.ledger, {**bench.site.environment, "OPENAI_API_KEY": KEY, "TOKEN": TOKEN}, public_only=False
    )
    pipeline = Pipeline("canary", input=Given)

    @pipeline.prompt(text="Say {{ given.note }}", returns=Said, model=MODEL, on_error="collect")
    def echoed(given: Given) -> None: ...

    @pipeline.stage(on_error="collect")
    async def fetched(given: Given, door: Door) -> Found:
        url = bench.provider.base_url + "/models?token=env:TOKEN"
        return Found(status=(await door.get(url, headers={"x-token": "env:TOKEN"})).status)

    @pipeline.stage(on_error="collect")
    async def refused(given: Given, door: Door) -> Found:
        return Found(status=(await door.get(bench.provider.base_url + f"/models?key={KEY}")).status)

    run, ended = await bench.run(pipeline, Given(note="hello"))
    assert ended.finished
    reasons = await bench.reasons(run)
    assert "[secret]" in reasons["echoed"], "the error body echoed the key, and it was blotted out"
    assert "env:NAME" in reasons["refused"]
    sent = repr([request.headers for request in bench.provider.requests])
    assert KEY in sent, "the provider did get the key"
    kept = everything_kept(tmp_path).decode("utf-8", "replace") + await everything_read(bench) + caplog.text
    for secret in (KEY, TOKEN):
        assert secret not in kept
    assert "env:TOKEN" in kept


async def test_a_literal_key_in_an_input_is_refused_before_anything_is_written(bench: Any) -> None:
    pipeline = Pipeline("canary", input=Given)

    @pipeline.stage()
    def fetched(given: Given) -> Found:
        return Found(status=1)

    with pytest.raises(SecretInInput, match="env:NAME"):
        await bench.run(pipeline, Given(note=f"use {KEY}"))
    assert await bench.ledger.runs() == []


async def test_a_scraped_address_on_this_machine_is_refused_unless_allowed(bench: Any) -> None:
    bench.site = Site(bench.ledger, bench.site.environment)
    pipeline = Pipeline("guard", input=Given)

    @pipeline.stage()
    async def fetched(given: Given, door: Door) -> Found:
        return Found(status=(await door.get(given.note)).status)

    for url in (bench.provider.base_url + "/models", "http://localhost:1/", "http://169.254.169.254/latest"):
        run, ended = await bench.run(pipeline, Given(note=url))
        assert not ended.finished
        assert "not a public address" in (await bench.reasons(run))["fetched"]
    assert not bench.provider.requests
