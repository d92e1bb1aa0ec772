"""The command after `kill -9`: what it says of the run, and what a neighbour in the ledger notices of it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.ledger.locks import FolderLocks
from stagebook.model.status import ExchangeState
from stagebook.model.usage import dollars
from stagebook.testing.crash_client import Errand
from stagebook.testing.crash_clients import KILLED, stagebook
from stagebook.testing.crash_look import look
from stagebook.testing.crash_trial import Case
from stagebook.testing.provider_process import ProviderProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def slow_provider() -> Iterator[ProviderProcess]:
    """One whose every answer takes its time, so that calls are in flight whenever a run is looked at."""
    with ProviderProcess(options=("--latency", "0.3")) as provider:
        yield provider


@pytest.fixture
def errand(case: Callable[..., Case], slow_provider: ProviderProcess, tmp_path: Path) -> Errand:
    chosen = case(2, 1, 2, for_the_command=True).errand
    return replace(chosen, ledger=tmp_path / "ledger.db", base_url=slow_provider.base_url)


def until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.01)


def runs(ledger: Path) -> list[dict[str, Any]]:
    """What `stagebook runs --json` says, newest first."""
    command = [sys.executable, "-m", "stagebook.cli.entry", "runs", "--json", "--ledger", str(ledger)]
    found: list[dict[str, Any]] = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)["runs"]
    return found


def test_a_killed_run_shows_what_is_possibly_paid_and_once_resumed_what_it_cost(
    errand: Errand, slow_provider: ProviderProcess, tmp_path: Path
) -> None:
    client = stagebook(errand, tmp_path / "client.log", None)
    until(lambda: len(slow_provider.bill().in_flight()) == 2)
    client.kill()
    assert client.wait() == KILLED
    held = look(errand.ledger)
    in_flight = sum(call.state is ExchangeState.SENT for call in held.calls)
    assert 1 <= in_flight <= 2
    [told] = runs(errand.ledger)
    assert (told["run_id"], told["status"], told["possibly_paid"]) == (held.run_id, "interrupted", in_flight)
    assert stagebook(errand, tmp_path / "client.log", held.run_id).wait() == 0
    [told] = runs(errand.ledger)
    recorded = sum(call.cost or 0 for call in look(errand.ledger).calls)
    assert (told["status"], told["possibly_paid"]) == ("completed", in_flight)
    assert Decimal(told["cost_usd"]) == Decimal(dollars(recorded))
    paid_for_nothing = [entry for entry in slow_provider.bill().charged if entry.ended != "answered"]
    assert recorded + sum(entry.cost for entry in paid_for_nothing) == slow_provider.bill().total()


def test_a_run_that_is_killed_does_not_hurt_another_in_the_same_ledger(errand: Errand, tmp_path: Path) -> None:
    locks = FolderLocks(tmp_path / "locks")
    clients = []
    for number in range(2):
        folder = tmp_path / f"client-{number}"
        folder.mkdir()
        clients.append(stagebook(errand, folder / "client.log", None))
    until(lambda: len(driven(locks, tmp_path)) == 2)
    clients[0].kill()
    assert clients[0].wait() == KILLED
    assert clients[1].wait() == 0
    status = {run["run_id"]: run["status"] for run in runs(errand.ledger)}
    # the lock is held a moment before the claim is durable: killed in between, the run was never begun
    assert sorted(status.values()) in (["completed", "interrupted"], ["completed", "pending"])
    [killed] = [run_id for run_id, told in status.items() if told != "completed"]
    assert stagebook(errand, tmp_path / "client.log", killed).wait() == 0
    assert [run["status"] for run in runs(errand.ledger)] == ["completed", "completed"]


def driven(locks: FolderLocks, folder: Path) -> list[str]:
    """The runs that a living process holds."""
    return [path.name for path in (folder / "locks").glob("*") if locks.is_held(path.name)]
