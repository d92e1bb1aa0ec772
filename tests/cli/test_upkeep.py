"""`check`, `delete` and `purge` as they are typed."""

# ruff: noqa: S608  constants
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from stagebook.cli.told import told
from stagebook.testing.provider_faults import Delay, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

STAGEBOOK = str(Path(sys.executable).with_name("stagebook"))
HOUR = 3_600_000_000


def change(shell: Any, sql: str) -> None:
    with sqlite3.connect(shell.folder / ".stagebook" / "ledger.db") as connection:
        assert connection.execute(sql).rowcount
    connection.close()


def age(shell: Any, hours: int) -> None:
    """Let every run have ended so long ago."""
    change(shell, f"UPDATE runs SET created_at = created_at - {hours * HOUR}")
    change(shell, f"UPDATE steps SET ended_at = ended_at - {hours * HOUR}, started_at = started_at - {hours * HOUR}")


def test_a_sound_ledger_is_told_to_be_sound(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt")
    done = here("check")
    assert (done.code, done.out) == (0, "the ledger is sound: 9 payloads, 4 requests, 8 outputs\n")
    document = here("check", "--json").json()
    assert document == {"sound": True, "checked": {"payloads": 9, "requests": 4, "outputs": 8}, "findings": []}


def test_how_far_it_has_come_is_told_on_stderr_only_where_it_takes_long(capfd: Any) -> None:
    for patience in (0.0, 3600.0):
        told(patience)("payloads", 1_500, 20_000)
    assert capfd.readouterr() == ("", "payloads: 1,500 of 20,000\n")


def test_damage_is_a_line_each_and_orphans_are_fixed(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt")
    change(shell, "UPDATE outputs SET data = '{}' WHERE stage = 'plan'")
    change(shell, "UPDATE exchanges SET response = NULL WHERE id = (SELECT max(id) FROM exchanges)")
    done = here("check")
    assert done.code == 1
    damaged, orphan = done.out.splitlines()
    assert damaged.startswith("damaged: version 1 of plan in RUN_")
    assert damaged.endswith("restore the ledger from a backup; what else it holds can be exported run by run")
    assert orphan.startswith("orphan: 1 payload is named by nothing (")
    assert orphan.endswith("; `stagebook check --fix` removes it")
    fixed = here("check", "--fix", "--json")
    assert (fixed.code, fixed.json()["fixed"]) == (1, {"rows": 0, "payloads": 1, "files": 0})
    assert [one["kind"] for one in fixed.json()["findings"]] == ["damaged"]


def test_a_run_is_deleted_with_its_texts(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt")
    first = here("runs", "--json").json()["runs"][0]["run_id"]
    shell("run", "talk.py", "talk.txt")
    texts = shell.folder / ".stagebook" / "runs" / first
    assert list(texts.glob("*.md"))
    refused = here("delete", first)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error: Delete {first} (talk) for good? Nobody is at a terminal")
    document = here("delete", first, "--yes", "--json").json()
    assert (document["run_id"], document["files"]) == (first, 0)
    assert not texts.exists()
    assert here("show", first).code == 2
    assert len(here("runs", "--json").json()["runs"]) == 1
    assert here("check").code == 0
    assert here("delete", "last", "--yes").out.endswith("that nothing else used\n")
    assert here("delete", "last", "--yes").err.startswith("error: there is no last run")


def test_nothing_that_was_said_in_a_deleted_run_can_be_found_any_more(shell: Any, here: Any) -> None:
    words = "a secret of the patient that nobody else has said"
    shell.write("talk.txt", f"{words}\n" * 200)
    shell("run", "talk.py", "talk.txt")

    def found() -> list[str]:
        files = [path for path in (shell.folder / ".stagebook").rglob("*") if path.is_file()]
        return [path.name for path in files if words.encode() in path.read_bytes()]

    assert "ledger.db" in found()
    assert here("delete", "last", "--yes").code == 0
    assert found() == []


def test_a_person_at_a_terminal_is_asked(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt", "--until", "parts")
    for answer, left in ((b"n\n", 1), (b"y\n", 0)):
        keyboard, terminal = pty.openpty()
        os.write(keyboard, answer)
        done = subprocess.run(
            [STAGEBOOK, "delete", "last"],
            cwd=shell.folder,
            env=shell.env,
            stdin=terminal,
            capture_output=True,
            check=False,
        )
        os.close(keyboard)
        os.close(terminal)
        assert b"Delete RUN_" in done.stderr
        assert done.returncode == (0 if left == 0 else 130)
        assert len(here("runs", "--json").json()["runs"]) == left


def test_a_run_that_is_driven_is_not_deleted(shell: Any, here: Any) -> None:
    shell.provider.use(Script(rules=(Rule(faults=(Delay(seconds=30),)),)))
    process = shell.start("run", "talk.py", "talk.txt")
    shell.wait_for_requests(1)
    done = here("delete", "last", "--yes")
    assert done.code == 2
    assert "is driven by process" in done.err
    assert "so it was not deleted: wait for its end, or pause it first" in done.err
    assert here("purge", "--older-than", "0h", "--bodies", "--json").json()["runs"] == []
    process.kill()
    process.wait()
    assert here("delete", "last", "--yes").code == 0
    assert here("check").code == 0


def test_bodies_of_old_runs_are_purged_and_the_rest_stays(shell: Any, here: Any) -> None:
    old = shell("run", "talk.py", "talk.txt", "--json").json()["run_id"]
    before = here("show", old, "--json").json()
    costs = here("costs", "--json").json()
    asked = ("purge", "--older-than", "90d", "--bodies")
    assert here(*asked, "--json").json()["runs"] == []
    age(shell, 24 * 91)
    assert here(*asked, "--dry-run").out.startswith("would remove the bodies of 4 exchanges of 1 run (")
    assert here(*asked, "--dry-run", "--json").json()["exchanges"] == 4
    done = here(*asked)
    assert done.out.startswith("removed the bodies of 4 exchanges of 1 run: 8 payloads, ")
    assert here(*asked, "--json").json()["runs"] == [], "there is nothing more to purge"
    shown = here("show", old, "--json").json()
    assert {**shown, "created_at": 0, "seconds": 0} == {**before, "created_at": 0, "seconds": 0}
    assert here("costs", "--json").json() == costs
    assert "what it asked and was answered was purged on 20" in here("show", old).out
    step = here("show", old, "--stage", "post", "--json").json()["steps"][0]
    assert [(one["purged"], one["messages"], one["answer"]) for one in step["exchanges"]] == [(True, [], None)]
    assert step["output"]["text"]
    assert "what was asked and answered in 1 call was purged" in here("show", old, "--stage", "post").out
    assert here("check").code == 0
    paid = len(shell.provider.bill().entries)
    assert shell("resume", old, "--json").json()["status"] == "completed"
    assert len(shell.provider.bill().entries) == paid


def test_a_failed_run_that_was_purged_asks_again_only_what_is_not_completed(shell: Any, here: Any) -> None:
    bad = Rule(schema_name="Quotes", contains="third", answer='{"quotes": []}')
    shell.provider.use(Script(rules=(bad,)))
    assert shell("run", "talk.py", "talk.txt").code == 1
    age(shell, 2)
    assert here("purge", "--older-than", "1h", "--bodies", "--json").json()["exchanges"] == 5
    paid = len(shell.provider.bill().entries)
    shell.provider.use(Script())
    resumed = shell("resume", "last")
    assert resumed.code == 0
    assert "3 recorded answers of unfinished steps had been purged: what they answered is asked" in resumed.err
    assert len(shell.provider.bill().entries) == paid + 2, "the third line's quotes, and the post"


def test_show_tells_every_attempt_with_its_reason_and_every_try(shell: Any, here: Any) -> None:
    bad = Rule(schema_name="Quotes", contains="third", answer='{"quotes": []}')
    busy = Rule(contains="Another", faults=(ErrorStatus(status=503, nth=(1,)),))
    shell.provider.use(Script(rules=(bad, busy)))
    shell("run", "talk.py", "talk.txt")
    shell.provider.use(Script())
    shell("resume", "last")
    [step] = here("show", "last", "--stage", "quotes", "--item", "3", "--json").json()["steps"]
    first, second = step["history"]
    assert (first["status"], first["error_type"], second["status"]) == ("failed", "AnswerInvalid", "completed")
    assert "quotes: List should have at least 1 item" in first["reason"]
    assert [one["attempt"] for one in step["exchanges"]] == [1, 1, 1, 2]
    assert [bool(one["complaint"]) for one in step["exchanges"]] == [True, True, True, False]
    lines = here("show", "last", "--stage", "quotes", "--item", "3").out.splitlines()
    at = lines.index("2 attempts")
    assert lines[at + 1].startswith("1. failed after ")
    assert lines[at + 1].endswith(" (AnswerInvalid)")
    assert any("attempt 2" in line for line in lines)
    [retried] = here("show", "last", "--stage", "quotes", "--item", "2", "--json").json()["steps"]
    assert [(one["try"], one["http_status"]) for one in retried["exchanges"]] == [(1, 503), (2, 200)]
    assert "try 2" in here("show", "last", "--stage", "quotes", "--item", "2").out


def test_an_attempt_that_a_kill_cut_off_is_interrupted(shell: Any, here: Any) -> None:
    shell.provider.use(Script(rules=(Rule(faults=(Delay(seconds=30),)),)))
    process = shell.start("run", "talk.py", "talk.txt")
    shell.wait_for_requests(1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    [step] = here("show", "last", "--stage", "quotes", "--item", "1", "--json").json()["steps"]
    assert [attempt["status"] for attempt in step["history"]] == ["interrupted"]


def test_a_run_that_failed_is_not_paused_but_may_be_cancelled(shell: Any, here: Any) -> None:
    shell.provider.use(Script(rules=(Rule(answer='{"quotes": []}'),)))
    assert shell("run", "talk.py", "talk.txt").code == 1
    done = here("pause", "last")
    assert (done.code, done.out) == (2, "")
    assert "has failed and nobody drives it; there is nothing to pause (" in done.err
    assert here("show", "last", "--json").json()["status"] == "failed"
    assert here("cancel", "last").out.endswith(" is cancelled\n")
    assert here("resume", "last").err.startswith("error: RUN_")
    assert here("show", "last", "--json").json()["status"] == "cancelled"


CANNOT = [
    (("purge", "--older-than", "soon", "--bodies"), "'soon' is no age; write 12h, 90d or 8w"),
    (("purge", "--older-than", "90d"), "missing option '--bodies'"),
    (("delete", "RUN_9", "--yes"), "no run 'RUN_9' is in this ledger"),
    (("check", "--ledger", "nowhere.db"), "no ledger is at "),
    (("pause", "RUN_9"), "no run 'RUN_9' is in this ledger"),
    (("cancel", "RUN_9"), "no run 'RUN_9' is in this ledger"),
    (("pause", "last"), "is completed already; there is nothing to pause"),
    (("cancel", "last"), "is completed already; there is nothing to cancel"),
]


def test_what_cannot_be_done_is_told_in_one_sentence(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt", "--until", "parts")
    for words, sentence in CANNOT:
        done = here(*words)
        assert (done.code, done.out) == (2, ""), words
        assert sentence in done.err.splitlines()[0]
