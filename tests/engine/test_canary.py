"""Secrets are planted everywhere a secret can come from; afterwards nothing that was kept holds one."""

import asyncio
import hashlib
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import Door, Pipeline
from stagebook.engine.session import Site
from stagebook.ledger.store import Ledger
from stagebook.model.errors import SecretInInput
from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Rule, Script

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


PIPELINE = f"""
import logging
import sys

from pydantic import BaseModel

from stagebook import Door, Pipeline, Text

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)


class Given(BaseModel):
    note: str


class Said(BaseModel):
    text: Text


class Found(BaseModel):
    status: int


canary = Pipeline("canary", input=Given, model="{MODEL}")


@canary.prompt(text="Repeat {{{{ given.note }}}}", returns=Said)
def repeated(given: Given) -> None: ...


@canary.prompt(text="Refuse {{{{ given.note }}}}", returns=Said, on_error="collect")
def refused(given: Given) -> None: ...


@canary.stage(on_error="collect")
async def by_reference(given: Given, door: Door) -> Found:
    url = "http://127.0.0.1:9/page?token=env:TOKEN"
    return Found(status=(await door.get(url, headers={{"x-token": "env:TOKEN", "cookie": "env:TOKEN"}})).status)


@canary.stage(on_error="collect")
async def by_value(given: Given, door: Door) -> Found:
    return Found(status=(await door.get("http://127.0.0.1:9/page?key={KEY}", headers={{"x-key": "{KEY}"}})).status)
"""


class Typed:
    """The real command in a folder of its own, and all that it said."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENAI_BASE_URL": base_url,
            "OPENAI_API_KEY": KEY,
            "TOKEN": TOKEN,
        }
        self.said = b""

    async def __call__(self, *words: str, **environment: str) -> int:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("stagebook")),
            *words,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        self.said += out + err
        assert process.returncode is not None
        return process.returncode


async def test_no_command_says_or_leaves_a_secret_anywhere(bench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "typed"
    folder.mkdir()
    (folder / "canary.py").write_text(PIPELINE)
    pipeline_holds = (folder / "canary.py").read_bytes().count(KEY.encode())
    noise = "".join(hashlib.sha256(bytes([number % 256, number // 256])).hexdigest() for number in range(20_000))
    echo = Rule(contains="Repeat", answer=f"You are {KEY}. {noise}")
    refusal = Rule(contains="Refuse", faults=(ErrorStatus(status=400, echo_headers=True),))
    bench.provider.use(Script(rules=(echo, refusal)))
    typed = Typed(folder, bench.provider.base_url)
    assert await typed("run", "canary.py", "--set", "note=hello") == 0
    assert await typed("resume", "last", STAGEBOOK_DEBUG="1") == 0
    assert await typed("run", "canary.py", "--set", "note=hello", "--json") == 0
    for words in (("show", "last"), ("show", "last", "--json"), ("runs", "--json"), ("costs", "--json"), ("models",)):
        assert await typed(*words) == 0
    for stage in ("repeated", "refused", "by-reference", "by-value"):
        assert await typed("show", "last", "--stage", stage) == 0
        assert await typed("show", "last", "--stage", stage, "--json") == 0
    assert await typed("sql", "SELECT * FROM exchanges", "--csv") == 0
    assert await typed("export", "last", "--to", "run.json") == 0
    assert await typed("import", "run.json", "--ledger", "other/ledger.db") == 0
    assert await typed("check") == 0
    assert await typed("run", "canary.py", "--set", f"note={KEY}") == 2
    assert await typed("run", "canary.py", "--set", f"note={KEY}", STAGEBOOK_DEBUG="1") == 1
    assert KEY in repr([request.headers for request in bench.provider.requests]), "the provider did get the key"
    async with await Ledger.open(folder / ".stagebook" / "ledger.db", read_only=True) as ledger:
        kept = (await everything_read(SimpleNamespace(ledger=ledger))).encode()
    assert list((folder / ".stagebook" / "blobs").rglob("*")), "an answer was large enough for a file"
    files = everything_kept(folder)
    names = "\n".join(str(path) for path in folder.rglob("*")).encode()
    for secret in (KEY.encode(), TOKEN.encode()):
        assert secret not in typed.said
        assert secret not in kept
        assert secret not in names
    assert files.count(KEY.encode()) == pipeline_holds, "the pipeline's own source, and nothing else, holds the key"
    assert TOKEN.encode() not in files
    assert b"[secret]" in kept
    assert b"[secret]" in typed.said


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
