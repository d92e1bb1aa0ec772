"""The three SDKs of docs/howto/any-sdk.md: killed for real between two answers, resumed, and nothing paid twice."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.model.status import ExchangeState
from stagebook.model.usage import dollars
from stagebook.testing.crash_look import look
from stagebook.testing.provider_bill import Bill, BillEntry, Ending
from stagebook.testing.provider_faults import Delay
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script, ScriptedCall

pytestmark = pytest.mark.timeout(120)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "any-sdk.md").read_text()
BLOCKS = re.compile(r"^```python file=(\S+)\n(.*?)^```$\n+^```sh\n(stagebook run .*?)\n^```$", re.MULTILINE | re.DOTALL)
PIPELINES = {name: (text, command) for name, text, command in BLOCKS.findall(PAGE)}
SCRIPT = Script(
    rules=(
        Rule(
            contains="Which of the canals",
            calls=tuple(
                (ScriptedCall(name="depth", arguments={"canal": canal}),) for canal in ("Panama", "Suez", "Kiel")
            ),
            answer="The canal of Suez is the deepest, with 24 m.",
        ),
    )
)
HELD = SCRIPT.model_copy(update={"faults": (Delay(seconds=60, nth=(3,)),)})
"""Holds the third answer back, for as long as it takes to kill who waits for it."""
CALLS = 4
"""Requests that each of the three runs makes."""
ANSWERED = 2
"""Answers after which it is killed."""
STAGEBOOK = str(Path(sys.executable).with_name("stagebook"))
KEY = "sk-proj-HowtoHowtoHowtoHowto0123456789"


class Reader:
    """Somebody who follows the page, in a folder with its files."""

    def __init__(self, folder: Path, provider: ProviderProcess) -> None:
        self.ledger = folder / ".stagebook" / "ledger.db"
        self.log = folder / "log"
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STAGEBOOK")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": provider.url,
            "ANTHROPIC_API_KEY": KEY,
        }

    def types(self, command: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                shell=True,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def shown(self) -> dict[str, Any]:
        command = [STAGEBOOK, "show", "last", "--json", "--ledger", str(self.ledger)]
        document: dict[str, Any] = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return document

    def kept(self) -> bytes:
        return b"".join(path.read_bytes() for path in self._folder.rglob("*") if path.is_file())


@pytest.fixture
def provider() -> Iterator[ProviderProcess]:
    with ProviderProcess(HELD) as started:
        yield started


def until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.01)


def answered(bill: Bill) -> list[BillEntry]:
    return [entry for entry in bill.charged if entry.ended == Ending.ANSWERED]


def test_the_page_shows_three_sdks() -> None:
    assert sorted(PIPELINES) == ["agent_report.py", "anthropic_notes.py", "openai_notes.py"]


@pytest.mark.parametrize("name", PIPELINES)
def test_a_killed_run_of_an_sdk_is_resumed_without_a_second_payment(
    name: str, provider: ProviderProcess, tmp_path: Path
) -> None:
    text, command = PIPELINES[name]
    (tmp_path / name).write_text(text)
    reader = Reader(tmp_path, provider)
    run = reader.types(command)
    until(lambda: len(answered(provider.bill())) == ANSWERED and len(provider.bill().in_flight()) == 1)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    killed = look(reader.ledger)
    finished = {call.sha256 for call in killed.calls if call.answered}
    assert len(finished) == ANSWERED
    [in_flight] = [call.sha256 for call in killed.calls if call.state is ExchangeState.SENT]

    provider.use(SCRIPT)
    assert reader.types("stagebook resume last").wait() == 0, reader.log.read_text()
    bill = provider.bill()
    paid = Counter(entry.sha256 for entry in bill.charged)
    assert {sha256: paid[sha256] for sha256 in finished} == dict.fromkeys(finished, 1), "no finished call is paid twice"
    assert len(paid) == CALLS
    assert set(bill.charged_again()) == {in_flight}, "only the call in flight was sent again, and it was reported"

    held = look(reader.ledger)
    assert set(held.steps.values()) == {"completed"}
    assert held.untidy == ()
    assert [call.kind for call in held.calls] == ["model"] * (CALLS + 1)
    shown = reader.shown()
    assert shown["possibly_paid"] == 1
    assert Decimal(shown["cost_usd"]) == Decimal(dollars(sum(entry.cost for entry in answered(bill))))
    for tokens in ("input_tokens", "output_tokens"):
        assert shown[tokens] == sum(getattr(entry, tokens) for entry in answered(bill))
    assert KEY.encode() not in reader.kept()
