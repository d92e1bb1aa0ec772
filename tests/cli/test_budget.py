"""`--budget`: what a run may cost at most, by the provider's own bill."""

import re
import subprocess
import sys
import time
from decimal import Decimal
from typing import Any

import orjson
import pytest

from stagebook.model.usage import PICODOLLARS
from stagebook.testing.provider_faults import Cut, Delay, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

LINES = 40
LONG = '{"label": "' + 700 * "x" + '"}'
"""An answer that costs about $0.0003, a third of what a call may cost."""


def script(*faults: Any) -> Script:
    """Answer at length, with these faults."""
    return Script(rules=(Rule(contains="Label:", answer=LONG, faults=faults),))


LABELS = '''"""Lines become labels, and labels a report."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel

from stagebook import Key, Pipeline, Text


class Page(BaseModel):
    lines: str


class Line(BaseModel):
    number: Annotated[int, Key]
    words: str


class Label(BaseModel):
    label: str


class Report(BaseModel):
    text: Text


labels = Pipeline("labels", input=Page, model="openai:gpt-4.1-mini")


@labels.stage()
def lines(page: Page) -> Iterator[Line]:
    for number, words in enumerate(page.lines.splitlines(), 1):
        yield Line(number=number, words=words)


@labels.prompt(each=Line, returns=Label, max_tokens=200, text="Label: {{ line.words }}")
def label(line: Line) -> None: ...


@labels.prompt(returns=Report, max_tokens=500, text="Report on {{ label | length }} labels.")
def report(label: list[Label]) -> None: ...
'''


@pytest.fixture
def labels(shell: Any) -> Any:
    shell.provider.use(script())
    shell.write("labels.py", LABELS)
    shell.write("page.txt", "".join(f"Line number {number}.\n" for number in range(LINES)))
    return shell


def spent(shell: Any) -> Decimal:
    """The provider's bill, in dollars."""
    return Decimal(shell.provider.bill().total()) / PICODOLLARS


def run(shell: Any, *words: str) -> Any:
    return shell("run", "labels.py", "page.txt", "--json", *words)


def test_sixteen_calls_at_once_never_pass_the_budget_together(labels: Any) -> None:
    labels.provider.use(script(Delay(seconds=0.05)))
    done = run(labels, "--budget", "0.004", "--concurrency", "16")
    document = done.json()
    assert (done.code, document["status"], document["budget_usd"]) == (3, "paused", "0.004")
    assert Decimal(document["cost_usd"]) == spent(labels) <= Decimal("0.004")
    assert spent(labels) > Decimal("0.002"), "room that a call did not use is given to the next"
    assert LINES / 10 < len(labels.provider.bill().entries) < LINES
    assert (document["possibly_paid"], document["errors"]) == (0, [])
    completed = document["stages"][1]["steps"]["completed"]
    assert completed == len(labels.provider.bill().charged), "what was in flight ended normally"


def test_the_pause_says_what_is_spent_and_the_command_that_it_names_goes_on(labels: Any, here: Any) -> None:
    done = run(labels, "--budget", "0.004")
    told = re.fullmatch(
        r"paused: its budget is \$0\.004, \$(0\.00\d+) is spent, and the next call, to openai:gpt-4\.1-mini, may cost"
        r" \$0\.00\d+; what was finished is kept; go on with: stagebook (resume RUN_\w+ --budget 0\.00\d+)",
        done.err.splitlines()[-1],
    )
    assert told is not None, done.err
    assert abs(Decimal(told[1]) - spent(labels)) < Decimal("0.00001")
    sent = len(labels.provider.bill().entries)
    again = labels(*told[2].split(), "--json")
    assert again.code == 3, "twice as much is not enough for four times as many"
    assert len(labels.provider.bill().entries) > sent + 1
    last = labels("resume", "last", "--budget", "1", "--json")
    assert (last.code, last.json()["status"]) == (0, "completed")
    assert len(labels.provider.bill().charged) == LINES + 1
    assert labels.provider.bill().charged_again() == {}
    assert here("sql", "SELECT wish FROM runs", "--json").json()["rows"] == [["run"]]


def test_a_person_is_told_the_same_command_below_the_stages(labels: Any) -> None:
    out = labels("run", "labels.py", "page.txt", "--budget", "0.004").out
    assert re.fullmatch(r"  stagebook resume RUN_\w+ --budget 0\.\d+", out.splitlines()[-1])
    assert re.search(r"RUN_\w+ paused: .*, \$0\.00\d\d of a budget of \$0\.004, ", out)


def test_resume_keeps_the_budget_that_the_run_has_and_sends_nothing(labels: Any) -> None:
    run(labels, "--budget", "0.004")
    sent = len(labels.provider.bill().entries)
    again = labels("resume", "last", "--json")
    assert (again.code, again.json()["status"]) == (3, "paused")
    assert len(labels.provider.bill().entries) == sent
    assert "its budget is $0.004" in again.err


def test_a_raised_budget_is_kept_and_none_lifts_it(labels: Any, here: Any) -> None:
    run(labels, "--budget", "0.002")
    assert labels("resume", "last", "--budget", "0.004").code == 3
    assert "its budget is $0.004" in labels("resume", "last").err
    assert labels("resume", "last", "--budget", "none").code == 0
    assert here("sql", "SELECT settings ->> 'budget' FROM runs", "--json").json()["rows"] == [[None]]


def test_calls_that_are_possibly_paid_count_at_their_worst(labels: Any) -> None:
    labels.write("page.txt", "One line.\n")
    labels.provider.use(script(Cut(times=1)))
    done = run(labels, "--budget", "0.0012", "--until", "label")
    assert (done.code, done.json()["possibly_paid"]) == (3, 1)
    assert done.json()["cost_usd"] == "0"
    assert len(labels.provider.bill().entries) == 1, "the second try could have passed the budget"
    again = labels("resume", "last", "--json")
    assert (again.code, len(labels.provider.bill().entries)) == (3, 1)
    assert labels("resume", "last", "--budget", "0.01").code == 0


def test_what_a_killed_run_had_in_flight_counts_at_its_worst(labels: Any) -> None:
    labels.provider.use(script(Delay(seconds=30)))
    process = labels.start("run", "labels.py", "page.txt", "--budget", "0.004")
    labels.wait_for_requests(3)
    time.sleep(0.2)
    in_flight = len(labels.provider.bill().entries)
    process.kill()
    process.wait()
    labels.provider.use(script())
    again = labels("resume", "last", "--json")
    assert again.code == 3
    assert again.json()["possibly_paid"] == in_flight
    assert len(labels.provider.bill().entries) <= in_flight + 1


def test_a_model_without_a_known_price_is_refused_before_anything_is_sent(labels: Any) -> None:
    done = run(labels, "--budget", "1", "--model", "report=openai:gpt-99-secret")
    assert (done.code, done.out, labels.provider.bill().entries) == (2, "", [])
    [line] = [line for line in done.err.splitlines() if line.startswith("error")]
    assert line.startswith("error: no price is known for openai:gpt-99-secret, so no budget can be kept with it; ")
    assert "--price openai:gpt-99-secret=0.40/1.60" in line
    assert not (labels.folder / ".stagebook").exists()
    standing_in = run(labels, "--budget", "1", "--model", "openai:gpt-4.1|openai:gpt-99-secret")
    assert (standing_in.code, labels.provider.bill().entries) == (2, [])


def test_a_price_that_is_said_makes_a_budget_possible_and_is_kept(labels: Any, here: Any) -> None:
    price = ("--price", "openai:gpt-99-secret=0.40/1.60")  # what the fake provider charges for models it does not know
    done = run(labels, "--budget", "0.004", "--model", "openai:gpt-99-secret", *price)
    assert done.code == 3, done.err
    assert Decimal(done.json()["cost_usd"]) == spent(labels) <= Decimal("0.004")
    again = labels("resume", "last", "--budget", "1", "--json")
    assert (again.code, Decimal(again.json()["cost_usd"])) == (0, spent(labels))
    sources = here("sql", "SELECT DISTINCT price_source FROM exchanges", "--json").json()["rows"]
    assert sources == [["given"]]


@pytest.mark.parametrize(
    "typed", ["openai:gpt-99", "openai:gpt-99=1", "openai:gpt-99=x/y", "gpt-99=1/2", "openai:a=-1/2"]
)
def test_what_is_no_price_is_refused(labels: Any, here: Any, typed: str) -> None:
    refused = here("run", "labels.py", "page.txt", "--price", typed)
    assert (refused.code, refused.out) == (2, "")
    assert re.search(r"is not of the form|is none; write|is written provider:name", refused.err)
    assert not (labels.folder / ".stagebook").exists()


def test_limits_that_are_said_are_kept_for_the_resume(labels: Any, here: Any) -> None:
    assert run(labels, "--limit", "openai:gpt-4.1-mini=3000/2M", "--limit", "anthropic=50").code == 0
    [[settings]] = here("sql", "SELECT settings FROM runs", "--json").json()["rows"]
    assert orjson.loads(settings)["limits"] == {"openai:gpt-4.1-mini": "3000/2M", "anthropic": "50"}


@pytest.mark.parametrize(
    "typed", ["3000/2M", "=3000", "openai=", "openai=fast", "openai=0/5", "nobody=3", "openai:m=1/-2"]
)
def test_what_is_no_limit_is_refused(labels: Any, here: Any, typed: str) -> None:
    refused = here("run", "labels.py", "page.txt", "--limit", typed)
    assert (refused.code, refused.out) == (2, "")
    assert re.search(r"is not of the form|is none; write requests|no provider is called", refused.err)
    assert not (labels.folder / ".stagebook").exists()


def test_a_refused_resume_changes_neither_the_budget_nor_the_pause(labels: Any, here: Any) -> None:
    labels.provider.use(script(ErrorStatus(status=400)))
    assert run(labels, "--model", "openai:gpt-99-secret").code == 1
    labels.provider.use(script())
    refused = labels("resume", "last", "--budget", "1")
    assert (refused.code, "no price is known" in refused.err) == (2, True)
    assert labels("resume", "last").code == 0, "it has no budget"
    run(labels, "--budget", "0.002")
    no_key = labels("resume", "last", "--budget", "1", OPENAI_API_KEY="", OPENAI_BASE_URL="")
    assert (no_key.code, "OPENAI_API_KEY" in no_key.err) == (2, True)
    assert here("show", "last", "--json").json()["status"] == "paused"


def test_a_server_of_ones_own_costs_nothing(labels: Any) -> None:
    done = labels(
        "run", "labels.py", "page.txt", "--budget", "0", "--model", "vllm:any", VLLM_BASE_URL=labels.provider.base_url
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize("typed", ["five", "-1", "nan", "1e30"])
def test_what_is_no_amount_is_refused(labels: Any, here: Any, typed: str) -> None:
    refused = here("run", "labels.py", "page.txt", f"--budget={typed}")
    assert refused.code == 2
    assert "the budget" in refused.err
    assert not (labels.folder / ".stagebook").exists()


def test_a_budget_from_python_raises_a_pause_that_names_the_next_call(
    labels: Any,
) -> None:
    labels.write(
        "script.py",
        "import stagebook\n"
        "from labels import Page, labels\n"
        "try:\n"
        "    stagebook.run(labels, Page(lines='a\\nb\\nc\\nd\\ne\\nf\\ng\\nh'), budget=0.0015)\n"
        "except stagebook.RunPaused as paused:\n"
        "    text = str(paused)\n"
        "    print(text)\n"
        "    call = text.rpartition(': ')[2]\n"
        "    assert call.startswith('stagebook.resume('), call\n"
        "    print(stagebook.resume(text.split()[0], budget=1).status)\n",
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=labels.folder, env=labels.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "is paused: its budget is $0.0015" in done.stdout
    assert done.stdout.splitlines()[-1] == "completed"
