"""`runs`, `show` and `sql` on what was run."""

import csv
import io
from typing import Any

import pytest

from stagebook.testing.provider_script import Rule, Script


@pytest.fixture
def ran(shell: Any, here: Any) -> Any:
    refused = Rule(schema_name="Quotes", contains="Another", answer=['{"quotes": []}', '{"quotes": ["\x1b[31mred"]}'])
    shell.provider.use(Script(rules=(refused,)))
    here.run_id = shell("run", "talk.py", "talk.txt", "--json", "--tag", "first").json()["run_id"]
    return here


def test_runs_lists_and_narrows(ran: Any, shell: Any) -> None:
    shell("run", "talk.py", "talk.txt", "--until", "parts")
    found = ran("runs", "--json").json()["runs"]
    assert [run["pipeline"] for run in found] == ["talk", "talk"]
    assert [len(run["stages"]) for run in found] == [1, 4]
    assert len(ran("runs", "--json", "--limit", "1").json()["runs"]) == 1
    assert [run["run_id"] for run in ran("runs", "--json", "--tag", "first").json()["runs"]] == [ran.run_id]
    assert ran("runs", "--json", "--status", "failed").json() == {"runs": []}
    assert ran("runs", "--json", "--pipeline", "other").json() == {"runs": []}
    table = ran("runs").out.splitlines()
    assert table[2].split()[:4] == [ran.run_id, "talk", "completed", "4/4"]
    narrow = shell("runs", COLUMNS="60").out.splitlines()
    assert all(len(line) <= 60 for line in narrow)
    assert narrow[2].startswith(ran.run_id)


def test_show_gives_the_run_its_steps_and_a_step_in_full(ran: Any) -> None:
    document = ran("show", "last", "--json").json()
    assert document == ran("show", ran.run_id, "--json").json() == ran("runs", "--json").json()["runs"][0]
    stage = ran("show", "last", "--stage", "quotes", "--json").json()
    assert [(step["item"], step["status"]) for step in stage["steps"]] == [(n, "completed") for n in ("1", "2", "3")]
    [step] = ran("show", "last", "--stage", "quotes", "--item", "2", "--json").json()["steps"]
    assert step["output"] == {"quotes": ["\x1b[31mred"]}
    first, second = step["exchanges"]
    assert first["messages"] == [{"role": "user", "text": "Quote: Another line."}]
    assert first["answer"] == '{"quotes": []}'
    assert first["complaint"].startswith("- quotes: List should have at least 1 item")
    assert [one["role"] for one in second["messages"]] == ["user", "assistant", "user"]
    assert second["complaint"] is None
    assert step["input_tokens"] == first["input_tokens"] + second["input_tokens"] > 0


def test_show_prints_prompt_answer_and_output_and_no_control_characters(ran: Any) -> None:
    out = ran("show", "last", "--stage", "1", "--item", "2").out
    lines = out.splitlines()
    assert lines[0].startswith("quotes[2]: completed, 1 attempt, ")
    assert "Quote: Another line." in lines
    assert any(line.startswith("   complaint: - quotes: List should") for line in lines)
    assert '    "\\u001b[31mred"' in lines or any("red" in line for line in lines)
    assert "\x1b" not in out
    assert "--item KEY shows one in full" in ran("show", "last", "--stage", "quotes").out
    assert "3 items" in ran("show", "last", "--stage", "parts").out
    assert ran("show", "last", "--stage", "parts", "--item", "3", "--json").json()["output"]["text"] == "A third."
    post = ran("show", "last", "--stage", "post").out
    assert "Write about 3 points." in post
    assert "completed: " in ran("show", "last").out


CANNOT = [
    (("show", "RUN_1"), "error: no run 'RUN_1' is in this ledger"),
    (("show", "last", "--stage", "quote"), "has no stage 'quote'; its stages: parts, quotes, plan, post"),
    (("show", "last", "--stage", "quotes", "--item", "9"), "quotes has no step for the item '9'; its items: 1, 2, 3"),
    (("show", "last", "--item", "9"), "error: --item needs --stage"),
    (("sql", "DELETE FROM runs"), "may only read the ledger"),
    (("sql", "SELEC"), "error: the query failed: near"),
    (("sql", "SELECT 1", "--json", "--csv"), "error: --json and --csv exclude each other"),
    (
        (
            "sql",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
            "--timeout",
            "0.2",
        ),
        "stopped after 0.2 s",
    ),
    (("runs", "--status", "done"), "error: invalid value for '--status': 'done' is not one of 'pending'"),
]


def test_what_cannot_be_shown_is_told_in_one_sentence(ran: Any) -> None:
    for words, sentence in CANNOT:
        done = ran(*words)
        assert (done.code, done.out) == (2, "")
        assert sentence in done.err.splitlines()[0]


def test_sql_answers_as_table_json_or_csv(ran: Any) -> None:
    query = "SELECT stage, item, NULL AS blank, 1.5 AS number, x'ff' AS bytes FROM stage_outputs ORDER BY 1, 2"
    found = ran("sql", query, "--json").json()
    assert found["columns"] == ["stage", "item", "blank", "number", "bytes"]
    assert found["rows"][0] == ["parts", "1", None, 1.5, "ff"]
    rows = list(csv.reader(io.StringIO(ran("sql", query, "--csv").out)))
    assert rows[:2] == [["stage", "item", "blank", "number", "bytes"], ["parts", "1", "", "1.5", "ff"]]
    assert ran("sql", query).out.splitlines()[1].split() == ["parts", "1", "1.5", "ff"]
    cut = ran("sql", query, "--json", "--limit", "2")
    assert (len(cut.json()["rows"]), cut.err) == (2, "more rows than 2 fit; --limit gives more\n")
    text = ran("sql", "SELECT output_data FROM stage_outputs WHERE item = '2' AND stage = 'quotes'").out
    assert "\x1b" not in text
