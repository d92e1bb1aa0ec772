"""`costs` adds up what was sent, and comes to what `show` says."""

from decimal import Decimal
from typing import Any

import pytest

from stagebook.testing.provider_faults import Delay
from stagebook.testing.provider_script import Rule, Script

KEYS = ("model", "provider", "stage", "day", "week", "month", "pipeline", "run")


@pytest.fixture
def ran(shell: Any, here: Any) -> Any:
    complained = Rule(schema_name="Quotes", contains="Another", answer=['{"quotes": []}', '{"quotes": ["x"]}'])
    shell.provider.use(Script(rules=(complained, Rule(contains="Quote", cached_tokens=3, reasoning_tokens=2))))
    shell("run", "talk.py", "talk.txt", "--json")
    shell.write("speech.py", (shell.folder / "talk.py").read_text().replace('Pipeline("talk"', 'Pipeline("speech"'))
    shell("run", "speech.py:talk", "talk.txt", "--json", "--model", "openai:gpt-4.1")
    return here


def test_every_key_comes_to_the_sum_of_what_show_says(ran: Any) -> None:
    shown = ran("runs", "--json").json()["runs"]
    cost = sum(Decimal(run["cost_usd"]) for run in shown)
    assert cost > 0
    for by in KEYS:
        found = ran("costs", "--by", by, "--json").json()
        assert found["by"] == by
        for sums in (found["total"], {name: _sum(found["rows"], name) for name in found["total"]}):
            assert Decimal(sums["cost_usd"]) == cost
            assert sums["input_tokens"] == sum(run["input_tokens"] for run in shown)
            assert sums["output_tokens"] == sum(run["output_tokens"] for run in shown)
            assert (sums["calls"], sums["possibly_paid"], sums["unpriced"]) == (9, 0, 0)
            assert sums["cached_tokens"] > 0
            assert sums["reasoning_tokens"] > 0


def _sum(rows: list[dict[str, Any]], name: str) -> Any:
    return sum((Decimal(row[name]) for row in rows), Decimal())


def test_each_key_parts_as_it_says(ran: Any) -> None:
    def keys(*words: str) -> list[str]:
        return [row["key"] for row in ran("costs", "--json", *words).json()["rows"]]

    assert keys() == ["openai:gpt-4.1", "openai:gpt-4.1-mini"], "the dearest first"
    assert keys("--by", "provider") == ["openai"]
    assert keys("--by", "pipeline") == ["speech", "talk"]
    assert sorted(keys("--by", "stage", "--pipeline", "talk")) == ["post", "quotes"]
    both = ran("costs", "--json", "--by", "stage").json()["rows"]
    assert {(row["pipeline"], row["key"]): row["calls"] for row in both} == {
        ("talk", "quotes"): 4,
        ("talk", "post"): 1,
        ("speech", "quotes"): 3,
        ("speech", "post"): 1,
    }
    assert len(keys("--by", "run")) == 2
    [day], [week], [month] = keys("--by", "day"), keys("--by", "week"), keys("--by", "month")
    assert day.startswith(month)
    assert week[:6] in {f"{int(day[:4]) + years}-W" for years in (-1, 0, 1)}
    assert keys("--since", "2999-01-01") == []
    assert keys("--since", day) == keys()


def test_the_table_fits_and_ends_with_the_total(ran: Any, shell: Any) -> None:
    lines = shell("costs", "--by", "stage", COLUMNS="60").out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["stage", "calls", "input", "cached", "output", "reasoning", "cost"]
    assert [line[:4] for line in lines[1:-1]] == ["spee", "spee", "talk", "talk"]
    assert all(cell.startswith(("$", "<$")) for cell in (line.split()[-1] for line in lines[1:]))
    assert lines[-1].split()[:2] == ["total", "9"]


def test_what_was_cut_off_is_counted_apart_and_not_while_it_may_still_be_answered(shell: Any, here: Any) -> None:
    held = Rule(contains="Quote:", faults=(Delay(seconds=30),))
    shell.provider.use(Script(rules=(held,)))
    process = shell.start("run", "talk.py", "talk.txt", "--concurrency", "4")
    shell.wait_for_requests(3)
    driven = here("costs", "--json").json()["total"]
    assert (driven["calls"], driven["possibly_paid"]) == (3, 0)
    process.kill()
    process.wait()
    total = here("costs", "--json", "--by", "run").json()["total"]
    assert total["possibly_paid"] == here("show", "last", "--json").json()["possibly_paid"] == 3
    assert total["cost_usd"] == "0"
    assert "3 possibly paid" in here("costs").out


def test_what_cannot_be_added_up_is_told(ran: Any, shell: Any) -> None:
    done = ran("costs", "--since", "yesterday")
    assert (done.code, done.err) == (
        2,
        "error: 'yesterday' is no date; write it as 2026-11-21 or 2026-11-21T18:30\n",
    )
    assert ran("costs", "--by", "moon").code == 2
    assert ran("costs", "--pipeline", "other").err == "nothing was sent that fits\n"
    assert ran("costs", "--pipeline", "other", "--json").json()["rows"] == []
