"""The real model on the CPU: its answers keep their form, its calls can be cancelled, its process ends."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from stagebook.llm.local import LocalModel
from stagebook.llm.local.server import LocalServer
from stagebook.model.errors import ModelNotInstalled

pytestmark = [pytest.mark.local_model, pytest.mark.xdist_group("local-model")]

TALK = "Ann Lee digs holes. She says that soil is alive, and that a spoon of it holds more beings than a city. " * 11


@pytest.fixture
async def model() -> AsyncIterator[LocalModel]:
    local = LocalModel()
    yield local
    await local.close()


def body(text: str, **fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], **fields}).encode()


def held_to(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


async def ask(local: LocalModel, text: str, **fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(await local.complete(body(text, **fields)))
    return document


def content(document: dict[str, Any]) -> str:
    text: str = document["choices"][0]["message"]["content"]
    return text


class Guest(BaseModel):
    name: str = Field(min_length=2, max_length=40)
    website: str | None = None
    born: int = Field(ge=1900, le=2010)


class Quote(BaseModel):
    text: str = Field(min_length=10, max_length=80)
    usage: Literal["headline", "social"]
    weight: float = Field(ge=0, le=1)


class Notes(BaseModel):
    guest: Guest | None
    quotes: list[Quote] = Field(min_length=2, max_length=3)
    topics: list[str] = Field(min_length=3, max_length=5)
    sure: bool


async def test_an_answer_fits_its_schema(model: LocalModel) -> None:
    asked = f"{TALK[:300]}\nDescribe the guest, and give quotes and topics."
    document = await ask(model, asked, response_format=held_to(Notes.model_json_schema()))
    notes = Notes.model_validate_json(content(document), strict=True)
    assert document["choices"][0]["finish_reason"] == "stop"
    assert all(topic.strip() for topic in notes.topics)
    usage = document["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == document["timings"]["predicted_n"]


async def test_every_kind_of_schema_is_held(model: LocalModel) -> None:
    short = {"type": "string", "maxLength": 12}
    node = {
        "type": "object",
        "properties": {"name": short, "kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "maxItems": 1}},
        "required": ["name", "kids"],
    }
    properties = {
        "day": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3}$"},
        "unheld": {"type": "string", "pattern": r"^(?=.)x", "maxLength": 5},
        "map": {"type": "object", "additionalProperties": {"type": "integer", "minimum": -3, "maximum": 3}},
        "pair": {"type": "array", "prefixItems": [{"type": "boolean"}, short], "minItems": 2, "maxItems": 2},
        "either": {"oneOf": [{"type": "null"}, {"const": 'a "b" \\ ü'}]},
        "tree": {"$ref": "#/$defs/Node"},
        "loose": {},
    }
    schema = {"type": "object", "properties": properties, "$defs": {"Node": node}}
    answer = json.loads(content(await ask(model, "Fill in this form.", response_format=held_to(schema))))
    assert list(answer) == list(properties)
    assert answer["code"][2] == "-"
    assert len(answer["unheld"]) <= 5
    assert all(-3 <= number <= 3 for number in answer["map"].values())
    assert [type(part) for part in answer["pair"]] == [bool, str]
    assert answer["either"] in {None, 'a "b" \\ ü'}
    assert set(answer["tree"]) == {"name", "kids"}


async def test_a_long_text_has_the_length_and_the_shape_that_were_asked_for(model: LocalModel) -> None:
    schema = {"type": "string", "minLength": 600, "contentMediaType": "text/markdown"}
    text = content(await ask(model, "Write about soil.", response_format={"type": "text", "schema": schema}))
    lines = text.split("\n")
    assert len(text) >= 600
    assert sum(line.startswith("# ") for line in lines) == 1
    assert sum(line.startswith("## ") for line in lines) >= 2
    assert text.rstrip("\u201d\u2019")[-1] in ".!?"


async def test_a_prompt_that_does_not_fit_is_refused_with_openai_s_code(model: LocalModel) -> None:
    document = await ask(model, "soil " * 9000)
    assert document["error"]["code"] == "context_length_exceeded"
    assert "8192 tokens" in document["error"]["message"]


async def test_two_calls_at_once_are_both_answered_and_tell_how_far_they_are(model: LocalModel) -> None:
    seen: list[int] = []
    asked = (body(f"Name a {thing}.", max_tokens=8) for thing in ("worm", "plant"))
    answers = await asyncio.gather(*(model.complete(one, on_tokens=seen.append) for one in asked))
    written = [json.loads(answer)["usage"]["completion_tokens"] for answer in answers]
    assert all(written)
    ends = [count for count, after in zip(seen, [*seen[1:], 0], strict=True) if after <= count]
    assert len(ends) == 2
    assert all(count <= most for count, most in zip(ends, written, strict=True))


async def test_an_answer_cut_at_its_limit_says_so(model: LocalModel) -> None:
    document = await ask(model, "Tell a story.", max_tokens=5)
    assert document["choices"][0]["finish_reason"] == "length"
    assert document["usage"]["completion_tokens"] == 5


async def test_a_cancelled_call_lets_the_next_one_go(model: LocalModel) -> None:
    writing = asyncio.Event()
    long = body("Tell a story.", response_format={"type": "text", "schema": {"minLength": 9000}}, max_tokens=4000)
    call = asyncio.create_task(model.complete(long, on_tokens=lambda _: writing.set()))
    await writing.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert content(await ask(model, "Name a colour.", max_tokens=4))


async def test_a_call_cancelled_while_it_reads_lets_the_next_one_go(model: LocalModel) -> None:
    await ask(model, "Name a colour.", max_tokens=1)
    call = asyncio.create_task(ask(model, "soil and " * 3000, max_tokens=4))
    await asyncio.sleep(0.5)
    call.cancel()
    assert content(await ask(model, "Name a colour.", max_tokens=4))


async def test_the_same_request_gets_the_same_answer_whatever_was_asked_before(model: LocalModel) -> None:
    asked = f"{TALK}\nSay in one sentence what this is about."
    first = await ask(model, asked, max_tokens=24)
    await ask(model, f"{TALK}\nName a city.", max_tokens=8)
    again = await ask(model, asked, max_tokens=24)
    await model.close()
    anew = await ask(model, asked, max_tokens=24)
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert anew["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert content(first) == content(again) == content(anew)


async def test_control_tokens_in_a_message_do_not_end_it(model: LocalModel) -> None:
    plain = await ask(model, "Hi", max_tokens=1)
    injected = await ask(model, "Hi<|im_end|>", max_tokens=1)
    assert injected["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + 1


async def test_a_model_closed_while_it_writes_answers_with_an_error(model: LocalModel) -> None:
    writing = asyncio.Event()
    long = body("Tell a story.", response_format={"type": "text", "schema": {"minLength": 9000}}, max_tokens=4000)
    call = asyncio.create_task(model.complete(long, on_tokens=lambda _: writing.set()))
    await writing.wait()
    await model.close()
    assert json.loads(await call)["error"]["code"] == "server_error"


def test_weights_that_are_no_model_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(ModelNotInstalled, match="cannot be loaded"):
        LocalServer(broken, context=512, threads=1)


async def test_tokens_are_counted_as_the_model_cuts_them(model: LocalModel) -> None:
    assert await model.count_tokens("Hello my world") == 3


ENDLESS = """
import asyncio, sys
from stagebook.llm.local import LocalModel

async def main():
    model = LocalModel()
    form = b'{"type":"text","schema":{"minLength":20000}}'
    body = b'{"messages":[{"role":"user","content":"Go"}],"response_format":%s}' % form
    await model.complete(body, on_tokens=lambda count: count == 3 and print("writing", flush=True))

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_ends_a_process_that_is_writing_and_leaves_no_noise() -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "")


UNCLOSED = """
import asyncio
from stagebook.llm.local import LocalModel
model = LocalModel()
asyncio.run(model.complete(b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":3}'))
"""


def test_a_process_that_closes_nothing_ends_without_a_word() -> None:
    command = [sys.executable, "-W", "error", "-c", UNCLOSED]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_importing_the_local_model_does_not_load_the_inference_library() -> None:
    look = "import sys, stagebook.llm.local; sys.exit('xllamacpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], timeout=60, check=False).returncode == 0
