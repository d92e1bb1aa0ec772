"""Stopping a run by signal or by wish, and going on."""

import re
import signal
import time
from typing import Any

import pytest

from stagebook.testing.provider_faults import Delay
from stagebook.testing.provider_script import Rule, Script

LINES = 40


def slow(seconds: float, quick: int = 0) -> Script:
    """Hold answers back, all but the first ones."""
    nth = tuple(range(quick + 1, LINES + 1))
    return Script(rules=(Rule(contains="Quote:", faults=(Delay(seconds=seconds, nth=nth),)),))


@pytest.fixture
def talk(shell: Any) -> Any:
    shell.write("talk.txt", "".join(f"Line {number}.\n" for number in range(LINES)))
    return shell


def begin(talk: Any, *words: str, in_flight: int = 2) -> Any:
    process = talk.start("run", "talk.py", "talk.txt", "--concurrency", str(in_flight + 1), *words)
    talk.wait_for_requests(in_flight)
    return process


def ended(here: Any) -> dict[str, Any]:
    found: dict[str, Any] = here("show", "last", "--json").json()
    return found


def test_ctrl_c_finishes_what_is_paid_for_and_says_how_to_go_on(talk: Any, here: Any) -> None:
    talk.provider.use(slow(1.5))
    done = talk.end(begin(talk), signal.SIGINT)
    assert done.code == 130
    assert "finishing what is in flight, since it is paid for; press Ctrl-C again to stop now" in done.err
    run_id = re.findall(r"RUN_\w+", done.err)[0]
    assert done.err.splitlines()[-1] == (
        f"interrupted: what was finished is kept; go on with: stagebook resume {run_id}"
    )
    document = ended(here)
    assert (document["status"], document["possibly_paid"]) == ("interrupted", 0)
    sent = len(talk.provider.bill().entries)
    assert document["stages"][1]["steps"]["completed"] == sent < LINES
    talk.provider.use(Script())
    again = talk("resume", run_id, "--json")
    assert (again.code, again.json()["status"]) == (0, "completed")
    assert len(talk.provider.bill().entries) == LINES + 1


def test_ctrl_c_twice_stops_at_once_and_what_was_lost_is_told(talk: Any, here: Any) -> None:
    talk.provider.use(slow(30))
    process = begin(talk)
    begun = time.monotonic()
    done = talk.end(process, signal.SIGINT, signal.SIGINT)
    assert (done.code, time.monotonic() - begun < 20) == (130, True)
    document = ended(here)
    assert (document["status"], document["possibly_paid"]) == ("interrupted", len(talk.provider.bill().entries))
    steps = here("show", "last", "--stage", "quotes", "--json").json()["steps"]
    assert {step["status"] for step in steps} == {"interrupted"}
    talk.provider.use(Script())
    assert talk("resume", "last").code == 0


def test_a_stage_that_computes_on_does_not_keep_the_command_from_ending(talk: Any) -> None:
    source = (talk.folder / "talk.py").read_text()
    stuck = source.replace(
        '    print("printed by a stage")', '    print("stuck", flush=True)\n    __import__("time").sleep(60)'
    )
    talk.write("talk.py", stuck)
    process = talk.start("run", "talk.py", "talk.txt")
    while "stuck" not in process.stderr.readline():
        pass
    begun = time.monotonic()
    done = talk.end(process, signal.SIGINT, signal.SIGINT)
    assert (done.code, time.monotonic() - begun < 40) == (130, True)
    assert "a stage's own function does not stop, so it is left behind; go on with: stagebook resume RUN_" in done.err


def test_sigterm_lets_what_is_in_flight_finish(talk: Any) -> None:
    talk.provider.use(slow(1.5))
    done = talk.end(begin(talk, "--json"), signal.SIGTERM)
    assert done.code == 130
    assert "what is in flight has 20 seconds to finish" in done.err
    document = done.json()
    assert (document["status"], document["possibly_paid"]) == ("interrupted", 0)
    assert document["stages"][1]["steps"]["completed"] == len(talk.provider.bill().entries)


def test_a_killed_run_is_interrupted_and_resume_pays_nothing_twice_but_what_was_in_flight(talk: Any, here: Any) -> None:
    talk.provider.use(slow(30, quick=5))
    process = begin(talk)
    talk.wait_for_requests(7)
    process.kill()
    process.communicate()
    document = ended(here)
    assert document["status"] == "interrupted"
    talk.provider.use(Script())
    again = talk("resume", "last", "--json")
    assert again.code == 0
    lost = again.json()["possibly_paid"]
    assert lost == document["possibly_paid"] <= 3
    assert len(talk.provider.bill().charged) <= LINES + 1 + lost
    assert talk("runs", "--json").json()["runs"][0]["status"] == "completed"


def test_a_run_that_is_driven_is_not_driven_twice(talk: Any, here: Any) -> None:
    talk.provider.use(slow(30))
    process = begin(talk)
    second = talk("resume", "last")
    assert second.code == 2
    assert second.out == ""
    [line] = second.err.splitlines()
    assert re.fullmatch(
        rf"error: RUN_\w+ is driven by process {process.pid} since .*: wait for it, or .* and resume", line
    )
    assert ended(here)["status"] == "running"
    talk.end(process, signal.SIGINT, signal.SIGINT)


def test_pause_ends_the_driver_with_3_and_resume_goes_on(talk: Any, here: Any) -> None:
    talk.provider.use(slow(1))
    process = begin(talk, "--json")
    assert "pause wished" in here("pause", "last").out
    done = talk.end(process)
    assert (done.code, done.json()["status"]) == (3, "paused")
    assert done.err.splitlines()[-1].startswith("paused: what was finished is kept; go on with: stagebook resume RUN_")
    assert here("runs", "--status", "paused", "--json").json()["runs"] != []
    talk.provider.use(Script())
    again = talk("resume", "last", "--json")
    assert (again.code, again.json()["status"]) == (0, "completed")


def test_a_refused_resume_leaves_a_pause_wished(talk: Any, here: Any) -> None:
    talk.provider.use(slow(30))
    process = begin(talk)
    here("pause", "last")
    assert here("resume", "last").code == 2
    assert here("sql", "SELECT wish FROM runs", "--json").json()["rows"] == [["pause"]]
    talk.end(process, signal.SIGINT, signal.SIGINT)


def test_cancel_is_for_good(talk: Any, here: Any) -> None:
    talk.provider.use(slow(30))
    talk.end(begin(talk), signal.SIGINT, signal.SIGINT)
    assert "is cancelled" in here("cancel", "last").out
    assert ended(here)["status"] == "cancelled"
    refused = here("resume", "last")
    assert (refused.code, "was cancelled, which is for good" in refused.err) == (2, True)
    refused = here("cancel", "last")
    assert (refused.code, "is cancelled already" in refused.err) == (2, True)


def test_there_is_nothing_to_pause_in_a_completed_run(talk: Any, here: Any) -> None:
    talk("run", "talk.py", "talk.txt")
    refused = here("pause", "last")
    assert (refused.code, "is completed already; there is nothing to pause" in refused.err) == (2, True)
    again = talk("resume", "last", "--json")
    assert (again.code, len(talk.provider.bill().entries)) == (0, LINES + 1)


def test_take_over_says_why_a_file_needs_none(talk: Any, here: Any) -> None:
    talk("run", "talk.py", "talk.txt")
    refused = here("resume", "last", "--take-over")
    assert (refused.code, "flock" in refused.err) == (2, True)
