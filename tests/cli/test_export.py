"""`export` and `import`: a run moves to another ledger and goes on there, and no secret moves with it."""

import signal
from typing import Any

import orjson

from stagebook.testing.provider_faults import Delay
from stagebook.testing.provider_script import Rule, Script


def test_a_run_moves_and_is_shown_and_queried_as_before(shell: Any, here: Any) -> None:
    run_id = shell("run", "talk.py", "talk.txt", "--json").json()["run_id"]
    done = here("export", "last", "--to", "run.json")
    assert (done.code, done.out) == (
        0,
        f"{run_id} written to run.json ({(shell.folder / 'run.json').stat().st_size:,} bytes)\n",
    )
    there = ("--ledger", "other/ledger.db")
    imported = here("import", "run.json", *there)
    assert imported.out.startswith(f"{run_id} imported (6 steps, 4 exchanges); see it with: ")
    assert here("import", "run.json", *there, "--json").json() == {
        "run_id": run_id,
        "new": False,
        "steps": 6,
        "exchanges": 4,
    }
    assert (
        here("import", "run.json", *there).out
        == f"{run_id} is here already, with the same content; nothing was changed\n"
    )
    assert here("show", run_id, "--json", *there).json() == here("show", run_id, "--json").json()
    step = ("show", run_id, "--stage", "quotes", "--item", "2", "--json")
    assert here(*step, *there).json() == here(*step).json()
    query = ("sql", "SELECT _item, value FROM talk__quotes__quotes", "--json")
    assert here(*query, *there).json() == here(*query).json()
    assert len(here(*query).json()["rows"]) >= 3
    assert here("costs", "--json", *there).json() == here("costs", "--json").json()
    assert here("export", run_id, "--to", ".", "--json").json()["path"] == f"{run_id}.json"
    assert (shell.folder / f"{run_id}.json").read_bytes() == (shell.folder / "run.json").read_bytes()


def test_an_imported_run_is_resumed_and_nothing_is_paid_twice(shell: Any, here: Any) -> None:
    shell.provider.use(Script(rules=(Rule(contains="third", faults=(Delay(seconds=30),)),)))
    process = shell.start("run", "talk.py", "talk.txt", "--concurrency", "4")
    shell.wait_for_requests(3)
    shell.end(process, signal.SIGINT, signal.SIGINT)
    paid = len(shell.provider.bill().entries)
    shell.provider.use(Script())
    here("export", "last", "--to", "run.json")
    here("import", "run.json", "--ledger", "other.db")
    resumed = shell("resume", "last", "--ledger", "other.db", "--json").json()
    assert (resumed["status"], resumed["possibly_paid"]) == ("completed", 1)
    assert len(shell.provider.bill().entries) == paid + 2, "the one that was cut off, and the post"
    assert here("show", "last", "--json").json()["status"] == "interrupted"


def test_no_secret_is_in_an_export(shell: Any, here: Any) -> None:
    canary = "sk-canary-0123456789"
    assert shell("run", "talk.py", "talk.txt", OPENAI_API_KEY=canary).code == 0
    here("export", "last", "--to", "run.json")
    written = (shell.folder / "run.json").read_bytes()
    assert canary.encode() not in written
    headers = orjson.loads(written)["exchanges"][0]["request"]["headers"]
    assert headers["authorization"] == "Bearer env:OPENAI_API_KEY"


def test_what_cannot_be_moved_is_told(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt", "--until", "parts")
    shell.write("no.json", '{"format": "zip"}')
    for words, sentence in [
        (("import", "no.json"), "error: no.json cannot be imported: it is no run: its format is not 'stagebook-run'"),
        (("import", "talk.txt"), "error: talk.txt cannot be imported: it is not JSON"),
        (("import", "gone.json"), "error: gone.json cannot be read: No such file or directory"),
        (("export", "RUN_9", "--to", "x"), "error: no run 'RUN_9' is in this ledger"),
        (("export", "last", "--to", "no/x"), "error: no/x cannot be written: No such file or directory"),
        (("export", "last"), "error: missing option '--to'"),
    ]:
        done = here(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(sentence)
