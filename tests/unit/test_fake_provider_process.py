"""The fake provider as a process of its own: it outlives its client, and not the test that started it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import orjson
import pytest

from stagebook.testing.provider_bill import Ending
from stagebook.testing.provider_faults import Cut, Delay
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script

COMMAND = [sys.executable, "-m", "stagebook.testing.provider"]
CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1])
for text in sys.argv[2:]:
    body = '{"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "%s"}]}' % text
    connection.request("POST", "/v1/chat/completions", body)
    print(connection.getresponse().read(), flush=True)
"""


def prompt(text: str) -> bytes:
    return orjson.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": text}]})


async def say(provider: ProviderProcess, text: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{provider.base_url}/chat/completions", data=prompt(text)) as response,
    ):
        content: str = orjson.loads(await response.read())["choices"][0]["message"]["content"]
        return content


async def until_in_flight(provider: ProviderProcess, count: int) -> None:
    while provider.summary()["in_flight"] != count:
        await asyncio.sleep(0.01)


def test_it_prints_one_line_with_its_url_and_ends_when_its_input_does() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert json.loads(line)["url"].startswith("http://127.0.0.1:")
        rest, _ = process.communicate()
    assert rest == b""
    assert process.returncode == 0


def test_it_ends_on_sigterm_while_a_request_waits() -> None:
    with ProviderProcess(Script(faults=(Delay(seconds=3600),))) as provider:
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, provider.url.removeprefix("http://"), "x"], stderr=subprocess.DEVNULL
        )
        asyncio.run(until_in_flight(provider, 1))
        os.kill(provider.pid, signal.SIGTERM)
        assert client.wait() != 0
        assert provider.stop() == 0


async def test_a_script_file_decides_out_of_process(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    rules = [{"matches": "page (\\d+)", "template": ["first {{ match[1] }}", "again {{ match[1] }} ({{ count }})"]}]
    path.write_text(json.dumps({"rules": rules}))
    with ProviderProcess(path, options=("--seed", "5", "--latency", "0.001-0.002")) as provider:
        assert [await say(provider, "page 7") for _ in range(3)] == ["first 7", "again 7 (2)", "again 7 (3)"]


def test_a_script_that_cannot_be_used_is_told_with_exit_code_2(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"rules": [{"contains": 3}]}')
    for path, told in ((broken, b"rules.0.contains"), (tmp_path / "none.json", b"cannot be read")):
        ended = subprocess.run([*COMMAND, "--script", path], stdin=subprocess.PIPE, capture_output=True, check=False)
        assert ended.returncode == 2
        assert told in ended.stderr
        assert ended.stdout == b""


def test_a_start_that_fails_is_an_error_of_the_test(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with 2"), ProviderProcess(options=("--port", "many")):
        pass
    assert "invalid int value" in capfd.readouterr().err


async def test_a_killed_client_leaves_its_charge_in_the_bill() -> None:
    script = Script(rules=(Rule(contains="quick", answer="done"), Rule(faults=(Delay(seconds=3600),))))
    with ProviderProcess(script) as provider:
        command = [sys.executable, "-c", CLIENT, provider.url.removeprefix("http://"), "quick", "slow"]
        client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        await until_in_flight(provider, 1)
        moment = provider.bill().in_flight()[0].arrived_at
        client.kill()
        printed, _ = await client.communicate()
        await until_in_flight(provider, 0)
        bill = provider.bill()
    assert printed.count(b"done") == 1
    assert [(entry.ended, entry.charged) for entry in bill.entries] == [
        (Ending.ANSWERED, True),
        (Ending.CLIENT_GONE, True),
    ]
    assert bill.in_flight(at=moment) == bill.unanswered() == bill.entries[1:]
    assert bill.summary()["cost"] == bill.total()


async def test_the_bill_is_reset_and_the_script_replaced_from_outside() -> None:
    with ProviderProcess(Script(rules=(Rule(answer="one"),))) as provider:
        assert await say(provider, "x") == "one"
        provider.reset()
        assert provider.bill().entries == []
        provider.use(Script(rules=(Rule(answer="two"),), faults=(Cut(nth=(2,)),)))
        assert await say(provider, "x") == "two"
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await say(provider, "x")
        assert provider.summary()["cut"] == 1
        assert provider.summary(at=0)["in_flight"] == 0
