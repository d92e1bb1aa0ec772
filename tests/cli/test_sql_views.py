"""Each stage's view in `stagebook sql`, listed and put in place for others."""

import sqlite3
from typing import Any


def test_the_fields_of_a_stage_are_columns(shell: Any, here: Any) -> None:
    run_id = shell("run", "talk.py", "talk.txt", "--json").json()["run_id"]
    query = "SELECT _run_id, _item, number, text FROM talk__parts ORDER BY number"
    assert here("sql", query, "--json").json()["rows"] == [
        [run_id, "1", 1, "One line."],
        [run_id, "2", 2, "Another line."],
        [run_id, "3", 3, "A third."],
    ]
    listed = here("sql", "--views").out.splitlines()
    assert [line.partition(":")[0] for line in listed] == [
        "talk__parts",
        "talk__plan",
        "talk__post",
        "talk__quotes",
        "talk__quotes__quotes",
    ]
    assert listed[-1].endswith(": _run_id, _item, _version, _output, _made_by, _at, _index, value")
    installed = here("sql", "--install-views")
    assert installed.out == "5 views put in place; do it again after a pipeline's outputs have changed\n"
    other = sqlite3.connect(shell.folder / ".stagebook" / "ledger.db")
    assert other.execute("SELECT points FROM talk__plan").fetchall() == [(3,)]
    other.close()
    names = [view["name"] for view in here("sql", "--install-views", "--json").json()["views"]]
    assert names == [line.partition(":")[0] for line in listed]


def test_one_thing_is_asked_at_a_time(shell: Any, here: Any) -> None:
    for words in (("sql",), ("sql", "SELECT 1", "--views"), ("sql", "--views", "--install-views")):
        assert here(*words).code == 2
    shell("run", "talk.py", "talk.txt", "--until", "parts")
    assert (
        here("sql", "SELECT * FROM talk__part")
        .err.rstrip()
        .endswith("the nearest: talk__parts, talk__post, talk__plan")
    )
