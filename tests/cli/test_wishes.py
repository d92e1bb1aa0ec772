"""`pause` and `cancel`: what they do to a run, wherever it stands, and how that is told."""

import re
import time
from typing import Any

import pytest

from stagebook.testing.provider_faults import Delay, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

LINES = 200
EFFECT = 2.0
"""Seconds after a pause in which the run may still begin something."""


def slow(seconds: float) -> Script:
    return Script(rules=(Rule(contains="Quote:", faults=(Delay(seconds=seconds),)),))


@pytest.fixture
def talk(shell: Any) -> Any:
    shell.write("talk.txt", "".join(f"Line {number}.\n" for number in range(LINES)))
    return shell


@pytest.fixture
def paused(talk: Any, here: Any) -> Any:
    """A run that was paused before it was finished."""
    talk.provider.use(slow(0.5))
    process = talk.start("run", "talk.py", "talk.txt")
    talk.wait_for_requests(2)
    here("pause", "last")
    assert talk.end(process).code == 3
    return here


def test_a_pause_from_another_process_takes_effect_within_two_seconds(talk: Any, here: Any) -> None:
    talk.provider.use(slow(0.2))
    process = talk.start("run", "talk.py", "talk.txt", "--concurrency", "4")
    talk.wait_for_requests(4)
    assert talk("pause", "last").code == 0
    wished = time.time()
    done = talk.end(process)
    entries = talk.provider.bill().entries
    assert done.code == 3
    assert max(entry.arrived_at for entry in entries) - wished < EFFECT
    assert len(entries) < LINES
    assert here("show", "last", "--json").json()["status"] == "paused"
    talk.provider.use(Script())
    again = talk("resume", "last", "--json")
    assert (again.code, again.json()["status"]) == (0, "completed")
    assert len(talk.provider.bill().charged) == LINES + 1
    assert talk.provider.bill().charged_again() == {}


def test_a_run_that_nobody_knows_is_told_with_the_latest(paused: Any) -> None:
    for wish in ("pause", "cancel"):
        refused = paused(wish, "RUN_nothing")
        assert (refused.code, refused.out) == (2, "")
        assert re.match(r"error: no run 'RUN_nothing' is in this ledger; .*RUN_", refused.err), refused.err


def test_without_a_ledger_nothing_is_made(here: Any, shell: Any) -> None:
    before = shell.files()
    for wish in ("pause", "cancel"):
        refused = here(wish, "last")
        assert (refused.code, refused.err.startswith("error: ")) == (2, True)
    assert shell.files() == before


def test_a_paused_run_is_not_paused_twice_and_says_how_to_go_on(paused: Any) -> None:
    refused = paused("pause", "last")
    assert refused.code == 2
    assert re.fullmatch(r"error: (RUN_\w+) is paused already \(stagebook resume \1 goes on\)\n", refused.err)


def test_a_paused_run_can_be_cancelled_and_then_not_paused(paused: Any) -> None:
    assert paused("cancel", "last").out.endswith("is cancelled\n")
    refused = paused("pause", "last")
    assert (refused.code, "is cancelled already; there is nothing to pause" in refused.err) == (2, True)


def test_a_failed_run_has_nothing_to_pause_and_can_be_cancelled(talk: Any, here: Any) -> None:
    talk.provider.use(Script(rules=(Rule(contains="Line 3.", faults=(ErrorStatus(status=400),)),)))
    assert talk("run", "talk.py", "talk.txt").code == 1
    refused = here("pause", "last")
    assert refused.code == 2
    assert re.search(
        r"has failed and nobody drives it; there is nothing to pause \(stagebook resume RUN_\w+ goes on\)", refused.err
    )
    assert here("cancel", "last").code == 0
    assert here("show", "last", "--json").json()["status"] == "cancelled"


def test_a_run_that_nobody_drives_is_paused_at_once(talk: Any, here: Any) -> None:
    talk.provider.use(slow(30))
    process = talk.start("run", "talk.py", "talk.txt")
    talk.wait_for_requests(2)
    process.kill()
    process.wait()
    done = here("pause", "last")
    assert (done.code, "is paused; nobody was driving it. Go on with: " in done.out) == (0, True)
    assert here("show", "last", "--json").json()["status"] == "paused"


def test_while_a_driver_finishes_a_second_wish_is_told_and_a_cancel_stays(talk: Any, here: Any) -> None:
    talk.provider.use(slow(4))
    process = talk.start("run", "talk.py", "talk.txt")
    talk.wait_for_requests(2)
    assert "pause wished; its driver" in here("pause", "last").out
    assert "pause is wished already; its driver" in here("pause", "last").out
    assert "cancel wished; its driver" in here("cancel", "last").out
    refused = here("pause", "last")
    assert (refused.code, "is being cancelled, which is for good" in refused.err) == (2, True)
    done = talk.end(process)
    assert done.code in {3, 130}, "by which of the two wishes it saw"
    assert here("show", "last", "--json").json()["status"] == "cancelled"
    assert here("resume", "last").code == 2
