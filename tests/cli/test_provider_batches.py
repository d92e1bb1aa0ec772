"""`--provider-batch`: what is said, what Ctrl-C leaves at the provider, and what cancelling does there."""

import re
import signal
from typing import Any

import orjson
import pytest

from stagebook.testing.provider_faults import BatchFaults
from stagebook.testing.provider_script import Script

LINES = 40
SUBMITTED = 2
"""Requests that a batch takes before it is at work: the upload and the creation."""


@pytest.fixture
def talk(shell: Any) -> Any:
    shell.write("talk.txt", "".join(f"Line {number}.\n" for number in range(LINES)))
    return shell


def begin(talk: Any, seconds: float) -> Any:
    """Begin a run whose batch takes so long, and wait until that is at work."""
    talk.provider.use(Script(batches=BatchFaults(seconds=seconds)))
    process = talk.start("run", "talk.py", "talk.txt", "--provider-batch")
    talk.wait_for_requests(SUBMITTED)
    return process


def is_paid_once(talk: Any, document: dict[str, Any]) -> None:
    bill = talk.provider.bill()
    assert bill.charged_again() == {}
    assert document["possibly_paid"] == 0
    assert float(document["cost_usd"]) * 1e12 == pytest.approx(bill.total(), abs=0.5)


def test_a_run_by_batch_says_so_and_costs_half(talk: Any) -> None:
    done = talk("run", "talk.py", "talk.txt", "--provider-batch", "--json")
    assert done.code == 0
    assert "by batch, at half price: quotes; live: post" in done.err
    document = done.json()
    is_paid_once(talk, document)
    assert len([entry for entry in talk.provider.bill().charged if entry.batch]) == LINES
    sources = talk("sql", "SELECT DISTINCT price_source FROM costs WHERE cost_usd > 0 ORDER BY 1", "--json").json()
    assert sources["rows"] == [["genai-prices"], ["genai-prices/batch"]]
    assert talk("check").code == 0


def test_ctrl_c_leaves_at_once_and_the_batch_goes_on_at_the_provider(talk: Any, here: Any) -> None:
    done = talk.end(begin(talk, 2.0), signal.SIGINT)
    assert done.code == 130
    run_id = re.findall(r"RUN_\w+", done.err)[0]
    assert f"batch of {LINES} at openai" in done.err.splitlines()[-1]
    assert done.err.splitlines()[-1].endswith(f"it goes on there); go on with: stagebook resume {run_id}")
    assert here("show", "last", "--json").json()["possibly_paid"] == 0
    again = talk("resume", run_id, "--json")
    assert (again.code, again.json()["status"]) == (0, "completed")
    is_paid_once(talk, again.json())
    assert len({entry.batch for entry in talk.provider.bill().charged if entry.batch}) == 1


def test_a_run_that_is_cancelled_while_nobody_drives_it_is_cancelled_at_the_provider_too(talk: Any) -> None:
    assert talk.end(begin(talk, 60.0), signal.SIGINT).code == 130
    done = talk("cancel", "last")
    assert done.code == 0
    assert done.out.strip().endswith("is cancelled, and 1 of its batches at the provider with it")
    at_work = [entry for entry in talk.provider.bill().charged if entry.batch]
    assert len(at_work) < LINES
    document = orjson.loads(talk("show", "last", "--json").out)
    is_paid_once(talk, document)


def test_an_estimate_by_batch_is_half_of_the_live_one(talk: Any) -> None:
    assert talk("run", "talk.py", "talk.txt").code == 0
    live, half = (
        talk("run", "talk.py", "talk.txt", "--estimate", "--json", *words).json()
        for words in ((), ("--provider-batch",))
    )
    costs = [next(one for one in found["stages"] if one["name"] == "quotes")["cost_usd"] for found in (live, half)]
    assert float(costs[1]["expected"]) == pytest.approx(float(costs[0]["expected"]) / 2, rel=0.01)
