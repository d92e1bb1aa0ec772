"""What docs/howto/providers.md shows is what the command does, against a provider that speaks all formats."""

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from stagebook.llm.plain_endpoint import ENDPOINT
from stagebook.llm.providers import PROVIDERS
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script, ScriptedCall

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "providers.md").read_text()
FILES = dict(re.findall(r"^```python file=(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name in ("cover.png", "chapter.png"):
        (tmp_path / name).write_bytes(PNG + name.encode())
    return tmp_path


def test_every_command_does_what_the_page_says(folder: Path) -> None:
    calls = (
        (ScriptedCall(name="fare", arguments={"city": "Zermatt"}),),
        (ScriptedCall(name="fare", arguments={"city": "Chur"}),),
    )
    script = Script(rules=(Rule(contains="Somewhere cheap", calls=calls),))
    with ProviderProcess(script) as provider:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "STAGEBOOK_LEDGER": str(folder / "ledger.db"),
            "OPENAI_BASE_URL": provider.base_url,
            "ANTHROPIC_BASE_URL": provider.url,
        }
        for command in COMMANDS:
            done = subprocess.run(
                command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        asked = "select provider || ' ' || kind as what, count(*) as times from exchanges group by 1 order by 1"
        shown = subprocess.run(
            ["stagebook", "sql", asked, "--json"], cwd=folder, env=environment, capture_output=True, check=True
        )
        total = len(provider.bill().charged)
    counted = {row[0]: row[1] for row in orjson.loads(shown.stdout)["rows"]}
    tools = counted.pop(None)
    polls = counted.pop("openai-background poll")
    assert polls >= 1
    # two summaries, one of them by the first of two; a job; two pictures; a trip of three turns and two calls
    assert counted == {"anthropic model": 3, "openai-responses model": 4, "openai-background model": 1}
    assert tools == 2
    assert sum(counted.values()) == total


def test_the_table_names_every_provider() -> None:
    named = set(re.findall(r"`([a-z-]+):", PAGE.split("\n\n")[2]))
    assert named == {*PROVIDERS, ENDPOINT}
