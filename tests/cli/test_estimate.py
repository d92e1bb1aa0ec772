"""`run --estimate`: what a run would cost, against what it then costs at the provider."""

import re
from decimal import Decimal
from typing import Any

import pytest

from stagebook.model.usage import PICODOLLARS
from stagebook.testing.provider_script import Rule, Script

TOLERANCE = Decimal("0.15")
"""Share by which an estimate from three runs may miss: answers of the fake model differ in length by a half."""
MINUTES = '''"""Minutes are titled, their points rated, and a letter written."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, Field

from stagebook import Key, Pipeline, Text


class Minutes(BaseModel):
    text: str


class Title(BaseModel):
    title: str = Field(max_length=80)


class Point(BaseModel):
    number: Annotated[int, Key]
    words: str


class Rating(BaseModel):
    reason: str


class Letter(BaseModel):
    text: Text


minutes = Pipeline("minutes", input=Minutes, model="openai:gpt-4.1-mini")


@minutes.prompt(number=1, returns=Title, text="Give a title to: {{ minutes.text }}")
def title(minutes: Minutes) -> None: ...


@minutes.stage(number=2)
def points(minutes: Minutes) -> Iterator[Point]:
    for number, words in enumerate(minutes.text.splitlines(), 1):
        yield Point(number=number, words=words)


@minutes.prompt(number=3, each=Point, returns=Rating, text="Rate: {{ point.words }}")
def rating(point: Point) -> None: ...


@minutes.prompt(number=4, returns=Letter, max_tokens=900, text="Write on {{ title.title }}: {{ rating }}")
def letter(title: Title, rating: list[Rating]) -> None: ...
'''


@pytest.fixture
def minutes(shell: Any) -> Any:
    shell.write("minutes.py", MINUTES)
    for lines in (8, 16, 24, 60):
        text = "".join(f"Point {number}: {'we agreed ' * (number % 5)}on it.\n" for number in range(lines))
        shell.write(f"{lines}.txt", text)
    return shell


def dollars(amount: dict[str, str]) -> tuple[Decimal, Decimal, Decimal]:
    return Decimal(amount["low"]), Decimal(amount["expected"]), Decimal(amount["high"])


def test_after_three_runs_the_estimate_of_another_is_what_it_then_costs(minutes: Any, here: Any) -> None:
    for lines in (8, 16, 24):
        assert here("run", "minutes.py", f"{lines}.txt").code == 0
    minutes.provider.reset()
    done = here("run", "minutes.py", "60.txt", "--estimate", "--json")
    assert (done.code, minutes.provider.bill().entries) == (0, []), "nobody was asked"
    assert len(here("runs", "--json").json()["runs"]) == 3, "and nothing written"
    told = done.json()
    assert here("run", "minutes.py", "60.txt").code == 0
    bill = minutes.provider.bill()
    cost = Decimal(bill.total()) / PICODOLLARS
    low, expected, high = dollars(told["total"]["cost_usd"])
    assert abs(expected - cost) <= TOLERANCE * cost
    assert low <= expected <= high
    assert told["total"]["calls"]["expected"] == len(bill.charged) == 62
    read = sum(entry.input_tokens for entry in bill.charged)
    assert abs(told["total"]["input_tokens"]["expected"] - read) <= float(TOLERANCE) * read
    by_stage = {stage["name"]: stage for stage in told["stages"]}
    assert [stage["source"] for stage in told["stages"]] == [
        "from the input, 3 runs",
        "computes",
        "from 3 runs",
        "from 3 runs",
    ]
    assert by_stage["rating"]["calls"] == {"low": 60, "expected": 60, "high": 60}
    again = here("run", "minutes.py", "60.txt", "--estimate", "--json").json()
    assert abs(dollars(again["total"]["cost_usd"])[1] - cost) <= Decimal("0.05") * cost, "now such a run is recorded"


def test_without_a_run_only_the_input_speaks_and_the_rest_is_unknown(minutes: Any, here: Any) -> None:
    told = here("run", "minutes.py", "8.txt", "--estimate", "--json").json()
    assert minutes.files() >= {"minutes.py"}
    assert ".stagebook" not in minutes.files()
    title, points, rating, letter = told["stages"]
    assert [one["source"] for one in told["stages"]] == ["from the input", "computes", "unknown", "unknown"]
    assert title["at_most"] is True
    assert title["output_tokens"] == {"low": 0, "expected": 95, "high": 95}, "80 characters between quotes and braces"
    assert title["calls"] == {"low": 1, "expected": 1, "high": 1}
    assert points["cost_usd"]["high"] == "0"
    assert (rating["calls"], rating["cost_usd"], letter["cost_usd"]) == (None, None, None)
    assert letter["output_tokens"]["high"] == 900
    assert told["total"]["without"] == ["rating", "letter"]
    only = here("run", "minutes.py", "8.txt", "--until", "title").code
    assert only == 0
    [entry] = minutes.provider.bill().charged
    assert Decimal(entry.cost) / PICODOLLARS <= dollars(title["cost_usd"])[2], "the most that it could cost"


def test_the_table_fits_and_says_where_its_numbers_come_from(minutes: Any, here: Any) -> None:
    here("run", "minutes.py", "8.txt")
    out = minutes("run", "minutes.py", "16.txt", "--estimate", COLUMNS="80").out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["stage", "calls", "in", "out", "cost", "time", "from"]
    assert re.match(r"1 title +1 .* the input, 1 run *$", lines[1])
    assert re.match(  # twice the bytes, not quite twice the lines
        r"3 rating +17 +\d+ +\d+ +\$0\.\d{4}(-0\.\d{4})? .* 1 run *$", lines[3]
    )
    assert lines[5].startswith("total ")
    assert "Learned from the latest 1 run; inputs of other sizes are scaled." in out


def test_another_model_is_priced_as_it_costs_and_an_unpriced_one_is_unknown(minutes: Any, here: Any) -> None:
    here("run", "minutes.py", "8.txt")
    words = ("run", "minutes.py", "8.txt", "--estimate", "--json")
    mini = dollars(here(*words).json()["total"]["cost_usd"])[1]
    told = here(*words, "--model", "openai:gpt-4.1").json()
    assert told["stages"][2]["source"] == "from 1 run of another model"
    assert Decimal("4.9") < dollars(told["total"]["cost_usd"])[1] / mini < Decimal("5.1")
    unpriced = here(*words, "--model", "rating=openai:gpt-99").json()
    assert (unpriced["stages"][2]["cost_usd"], unpriced["total"]["without"]) == (None, ["rating"])
    here_run = here(*words, "--model", "local:smollm2").json()
    assert here_run["total"]["cost_usd"]["high"] == "0"


@pytest.mark.parametrize(("budget", "verdict"), [("0.00001", "is reached"), ("50", "is enough"), (None, "")])
def test_with_a_budget_it_says_whether_that_is_enough(
    minutes: Any, here: Any, budget: str | None, verdict: str
) -> None:
    words = ("run", "minutes.py", "8.txt", *(() if budget is None else ("--budget", budget)))
    assert (f"The budget of ${budget} may be reached" in here(*words, "--estimate").out) is (budget == "50")
    here("run", "minutes.py", "8.txt")
    out = here(*words, "--estimate").out
    assert verdict in out
    assert ("The budget" in out) is (budget is not None)


def test_answers_that_were_asked_again_are_part_of_what_is_learned(minutes: Any, here: Any) -> None:
    wrong = Rule(schema_name="Rating", answer=["{}", '{"reason": "because"}'], counted="conversation")
    minutes.provider.use(Script(rules=(wrong,)))
    here("run", "minutes.py", "8.txt")
    told = here("run", "minutes.py", "16.txt", "--estimate", "--json").json()
    assert 30 <= told["stages"][2]["calls"]["expected"] <= 34, "twice as many lines, each asked twice"


def test_an_input_that_cannot_be_used_is_refused_as_for_a_run(minutes: Any, here: Any) -> None:
    refused = here("run", "minutes.py", "--estimate")
    assert (refused.code, "text is missing" in refused.err) == (2, True)
