"""The real command in folders of its own, against a provider in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.cli.entry import execute
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Script

TALK = '''"""A talk becomes quotes and a post."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, Field

from stagebook import Key, Pipeline, Skip, Text

print("printed while the file is imported")


class Talk(BaseModel):
    transcript: str
    host: str = "Ada"


class Part(BaseModel):
    number: Annotated[int, Key]
    text: str


class Quotes(BaseModel):
    quotes: list[str] = Field(min_length=1)


class Plan(BaseModel):
    points: int


class Post(BaseModel):
    text: Text


talk = Pipeline("talk", input=Talk, model="openai:gpt-4.1-mini")
reading = talk.phase("reading")


@reading.stage(number=0)
def parts(talk: Talk) -> Iterator[Part]:
    print("printed by a stage")
    for number, line in enumerate(talk.transcript.splitlines(), 1):
        yield Part(number=number, text=line)


@reading.prompt(number=1, each=Part, returns=Quotes, text="Quote: {{ part.text }}")
def quotes(part: Part) -> None: ...


@talk.stage(number=2)
def plan(quotes: list[Quotes]) -> Plan | Skip:
    return Skip("nothing was quoted") if not quotes else Plan(points=len(quotes))


@talk.prompt(number=3, returns=Post, text="Write about {{ plan.points }} points.")
def post(plan: Plan) -> None: ...
'''


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Read stdout as the one document that it must be."""
        return orjson.loads(self.out)


class Shell:
    """Types commands in a folder."""

    def __init__(self, folder: Path, provider: ProviderProcess) -> None:
        self.folder = folder
        self.provider = provider
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        self.env = {**kept, "OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "sk-fake-key-of-the-tests"}
        self._started: list[subprocess.Popen[str]] = []
        self.write("talk.py", TALK)
        self.write("talk.txt", "One line.\nAnother line.\nA third.\n")

    def write(self, name: str, text: str) -> Path:
        """Put a file into the folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def files(self) -> set[str]:
        """Name what there is in the folder, hidden files too, what Python makes left out."""
        return {one.name for one in self.folder.iterdir()} - {"__pycache__"}

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Begin a command."""
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("stagebook")), *words],
            cwd=self.folder,
            env={**self.env, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test left behind."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def __call__(self, *words: str, **environment: str) -> Done:
        """Run a command to its end."""
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out, err)

    def end(self, process: "subprocess.Popen[str]", *signals: signal.Signals) -> Done:
        """Send signals to a command and wait for its end."""
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)  # two of one kind sent at once would arrive as one
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out, err)

    def wait_for_requests(self, count: int) -> None:
        """Wait until the provider has seen so many requests."""
        for _ in range(600):
            if len(self.provider.bill().entries) >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"the provider has not seen {count} requests")


class Here:
    """Types commands in this process: what only looks, or refuses, need not wait for an interpreter."""

    def __init__(self, shell: Shell, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        patch.chdir(shell.folder)
        for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
            patch.setenv(name, shell.env[name])
        for name in ("STAGEBOOK_LEDGER", "STAGEBOOK_DEBUG", "COLUMNS", "GROQ_API_KEY", "GROQ_BASE_URL"):
            patch.delenv(name, raising=False)
        self._captured = captured

    def __call__(self, *words: str) -> Done:
        """Run a command to its end."""
        self._captured.readouterr()
        code = execute(words)
        out, err = self._captured.readouterr()
        return Done(code, out, err)


@pytest.fixture
def here(shell: Shell, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    return Here(shell, monkeypatch, capfd)


@pytest.fixture(scope="session")
def provider_process() -> Iterator[ProviderProcess]:
    with ProviderProcess() as provider:
        yield provider


@pytest.fixture
def shell(tmp_path: Path, provider_process: ProviderProcess) -> Iterator[Shell]:
    provider_process.use(Script())
    provider_process.reset()
    shell = Shell(tmp_path, provider_process)
    yield shell
    shell.close()
