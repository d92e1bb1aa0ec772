"""Who may drive: nobody beside a living driver, anybody the moment it is dead."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stagebook.model.errors import RunIsDriven
from stagebook.testing.crash_client import Errand
from stagebook.testing.crash_clients import KILLED, Nursery
from stagebook.testing.crash_look import look
from stagebook.testing.crash_places import is_driven
from stagebook.testing.crash_trial import Case
from stagebook.testing.provider_process import ProviderProcess

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def slow_provider() -> Iterator[ProviderProcess]:
    """One whose every answer takes its time, so that a run is alive while others look at it."""
    with ProviderProcess(options=("--latency", "0.5")) as provider:
        yield provider


@pytest.fixture
def errand(case: Callable[..., Case], slow_provider: ProviderProcess, tmp_path: Path) -> Errand:
    """A run of one region, which takes some seconds."""
    chosen = case(1, 1, 2).errand
    given = chosen.input.replace(b"SERVER", slow_provider.url.encode())
    settings = chosen.settings.replace(b'"request_timeout":0.3', b'"request_timeout":30')
    return replace(
        chosen, ledger=tmp_path / "ledger.db", input=given, settings=settings, base_url=slow_provider.base_url
    )


def driven_run(ledger: Path) -> str:
    """Wait until the run of a ledger is driven."""
    while not is_driven(ledger):
        time.sleep(0.01)
    return next((ledger.parent / "locks").iterdir()).name


@pytest.fixture
def nurseries() -> Iterator[tuple[Nursery, Nursery]]:
    """Two, since each starts one client at a time."""
    with Nursery() as one, Nursery() as other:
        yield one, other


def test_a_living_run_is_refused_to_a_second_driver_and_free_once_the_first_is_killed(
    errand: Errand, nurseries: tuple[Nursery, Nursery], tmp_path: Path
) -> None:
    one, other = nurseries
    first = one.start(errand, tmp_path / "first.log")
    run_id = driven_run(errand.ledger)
    assert other.start(errand, tmp_path / "second.log").wait() == RunIsDriven.exit_code
    said = (tmp_path / "second.log").read_text()
    assert said.startswith(f"RunIsDriven: {run_id} is driven by process")
    first.kill()
    assert first.wait() == KILLED
    assert one.start(errand, tmp_path / "third.log").wait() == 0, (tmp_path / "third.log").read_text()
    held = look(errand.ledger)
    assert held.run_id == run_id
    assert set(held.steps.values()) <= {"completed", "skipped"}


def test_a_refused_driver_changes_nothing_for_the_one_that_drives(
    errand: Errand, nurseries: tuple[Nursery, Nursery], tmp_path: Path
) -> None:
    one, other = nurseries
    first = one.start(errand, tmp_path / "first.log")
    driven_run(errand.ledger)
    for name in ("second.log", "third.log"):
        assert other.start(errand, tmp_path / name).wait() == RunIsDriven.exit_code
    assert first.wait() == 0, (tmp_path / "first.log").read_text()
    held = look(errand.ledger)
    assert held.untidy == ()
    assert held.told == 0
