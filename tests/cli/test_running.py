"""`run`, its output and its exit codes."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Rule, Script

FAILING = Script(rules=(Rule(contains="Write about", faults=(ErrorStatus(status=400),)),))


def test_a_run_prints_its_stages_its_text_and_what_to_type_next(shell: Any) -> None:
    done = shell("run", "talk.py", "talk.txt")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    run_id = lines[1].split()[1]
    assert lines[1].startswith(f"talk {run_id} completed: ")
    table = {line.split("  ")[0]: line.split() for line in lines[3:8]}
    assert table["1 quotes"][2:4] == ["completed", "3/3"]
    assert table["2 plan"][2:4] == ["completed", "1/1"]
    path = f".stagebook/runs/{run_id}/post.md"
    assert f"The finished text: {path}" in lines
    assert (shell.folder / path).read_text().strip()
    following = [line.strip() for line in lines[lines.index("Next:") + 1 :]]
    assert following[0] == f"stagebook show {run_id} --stage post"
    assert following[2] == "stagebook runs --pipeline talk"


def test_what_is_proposed_can_be_typed(shell: Any, here: Any) -> None:
    lines = shell("run", "talk.py", "talk.txt").out.splitlines()
    query = lines[lines.index("Next:") + 2].strip()
    words = query.removeprefix('stagebook sql "').removesuffix('"')
    found = here("sql", words, "--json").json()
    assert found["columns"] == ["stage", "item", "begins"]
    assert [row[:2] for row in found["rows"]][:1] == [["parts", "1"]]
    assert len(found["rows"]) == 8


def test_progress_goes_to_stderr_one_line_for_every_stage(shell: Any) -> None:
    done = shell("run", "talk.py", "talk.txt")
    lines = done.err.splitlines()
    assert lines[:2] == [
        "printed while the file is imported",
        next(one for one in lines if one.startswith("talk RUN_")),
    ]
    told = [one.partition(":")[0] for one in lines if ": " in one]
    assert sorted(told) == ["0 parts", "1 quotes", "2 plan", "3 post"]
    assert any(one.startswith("1 quotes: completed, 3 steps, ") for one in lines)
    assert "\x1b" not in done.err + done.out


def test_json_is_the_only_thing_on_stdout_though_files_and_stages_print(shell: Any) -> None:
    done = shell("run", "talk.py", "talk.txt", "--json", "--tag", "a", "--tag", "b")
    document = done.json()
    assert done.code == 0
    assert (document["status"], document["tags"]) == ("completed", ["a", "b"])
    assert [stage["steps"]["completed"] for stage in document["stages"]] == [1, 3, 1, 1]
    assert document["cost_usd"] == f"{shell.provider.bill().total() / 10**12:.12f}".rstrip("0")
    assert "printed while the file is imported" in done.err
    assert "printed by a stage" in done.err


def test_a_failed_run_exits_with_1_names_step_and_reason_and_can_be_resumed(shell: Any) -> None:
    shell.provider.use(FAILING)
    done = shell("run", "talk.py", "talk.txt", "--json")
    document = done.json()
    assert done.code == 1
    assert document["status"] == "failed"
    assert done.err.splitlines()[-1].startswith(f"error: {document['run_id']} failed: post: openai ")
    assert "answered 400" in done.err
    shell.provider.use(Script())
    again = shell("resume", document["run_id"], "--json")
    assert (again.code, again.json()["status"]) == (0, "completed")
    assert len(shell.provider.bill().charged) == 4


def test_a_failed_run_proposes_to_look_at_the_failed_stage_and_to_resume(shell: Any) -> None:
    shell.provider.use(FAILING)
    out = shell("run", "talk.py", "talk.txt").out
    run_id = out.split()[1]
    assert f"stagebook show {run_id} --stage post" in out
    assert out.splitlines()[-1].strip() == f"stagebook resume {run_id}"
    assert "1 error\n  post: openai " in out


def test_until_ends_a_run_early(shell: Any) -> None:
    document = shell("run", "talk.py", "talk.txt", "--until", "quotes", "--json").json()
    assert (document["status"], [stage["name"] for stage in document["stages"]]) == ("completed", ["parts", "quotes"])


def test_a_model_can_be_chosen_for_all_or_for_one_stage(shell: Any) -> None:
    shell("run", "talk.py", "talk.txt", "--model", "openai:gpt-4.1", "--model", "post=openai:gpt-4.1-nano")
    assert sorted({entry.model for entry in shell.provider.bill().entries}) == ["gpt-4.1", "gpt-4.1-nano"]


def test_a_ledger_can_be_named_before_after_or_by_the_environment(
    shell: Any, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shell("run", "talk.py", "talk.txt", "--ledger", "one.db", "--json").json()
    second = shell("run", "talk.py", "talk.txt", "--json", STAGEBOOK_LEDGER="two/ledger.db").json()
    assert here("--ledger", "one.db", "runs", "--json").json()["runs"] == [first]
    monkeypatch.setenv("STAGEBOOK_LEDGER", "two/ledger.db")
    assert here("runs", "--json", "--ledger", "one.db").json()["runs"] == [first]
    assert here("runs", "--json").json()["runs"] == [second]
    assert ".stagebook" not in shell.files()


def test_a_named_ledger_is_part_of_what_is_proposed(shell: Any) -> None:
    out = shell("run", "talk.py", "talk.txt", "--ledger", "my ledger.db").out
    following = out[out.index("Next:") :].splitlines()[1:]
    assert all(line.endswith(" --ledger 'my ledger.db'") for line in following)
    assert "The finished text: runs/RUN_" in out


def test_tries_limit_how_often_a_prompt_is_asked(shell: Any) -> None:
    shell.provider.use(Script(rules=(Rule(contains="Another", answer="{}"),)))
    assert shell("run", "talk.py", "talk.txt", "--concurrency", "1", "--tries", "1").code == 1
    assert len(shell.provider.bill().entries) == 2
    assert shell("run", "talk.py", "talk.txt", "--concurrency", "1", "--tries", "2").code == 1
    assert len(shell.provider.bill().entries) == 5


BAD = [
    (("run", "talk.py", "missing.txt"), "error: the input missing.txt is not there: no file 'missing.txt'"),
    (("run", "talk.py", "empty.txt"), "error: the input empty.txt is empty"),
    (("run", "talk.py", "."), "error: the input . is a folder"),
    (("run", "talk.py"), "error: the input of talk cannot be used: transcript is missing"),
    (
        ("run", "talk.py", "talk.txt", "--set", "hots=x"),
        "error: the input of talk has no field 'hots'; did you mean host?",
    ),
    (("run", "talk.py", "talk.txt", "--until", "posts"), "error: talk has no stage 'posts'"),
    (("run", "talk.py", "talk.txt", "--model", "gpt"), "error: a model is written provider:name"),
    (("run", "talk.py", "talk.txt", "--model", "opnai:gpt"), "error: no provider is called 'opnai'"),
    (("run", "talk.py", "talk.txt", "--model", "a:b", "--model", "c:d"), "error: --model a:b and --model c:d exclude"),
    (("run", "talk.py", "talk.txt", "--model", "groq:x"), "error: no key for groq: set GROQ_API_KEY"),
    (("run", "talk.py", "talk.txt", "--concurrency", "0"), "error: invalid value for '--concurrency'"),
    (("run", "tlak.py", "talk.txt"), "error: there is no file tlak.py; did you mean 'talk.py'?"),
    (("run", "episode-contents", "talk.txt"), "error: no pipeline 'episode-contents' is installed: did you mean"),
    (("run", "broken.py", "talk.txt"), "error: broken.py:1:"),
    (("run", "talk.py", "key.txt"), "error: the input of talk holds what looks like a literal key"),
    (("run",), "error: missing argument 'PIPELINE|FILE.py'"),
    (("rum",), "error: no such command 'rum'. (Did you mean one of: 'resume', 'run'?)"),
    (("runs",), "error: no ledger is at "),
    (("show", "last"), "error: no ledger is at "),
    (("resume", "last"), "error: no ledger is at "),
    (("pause", "last"), "error: no ledger is at "),
    (("sql", "SELECT 1"), "error: no ledger is at "),
]


@pytest.mark.parametrize(("words", "sentence"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_usage_is_told_in_one_sentence_and_nothing_is_written(
    shell: Any, here: Any, words: tuple[str, ...], sentence: str
) -> None:
    shell.write("empty.txt", "")
    shell.write("broken.py", "import nothing_of_that_name\n")
    shell.write("key.txt", "my key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789\n")
    before = shell.files()
    done = here(*words)
    assert (done.code, done.out) == (2, "")
    told = done.err.replace("printed while the file is imported\n", "").splitlines()
    assert told[0].startswith(sentence)
    assert all(line.startswith("try: stagebook") for line in told[1:])
    assert "abcdefghij" not in done.err
    assert shell.files() == before


def test_a_command_that_is_not_on_the_path_is_proposed_as_it_was_typed(shell: Any) -> None:
    done = shell("run", "talk.py", "talk.txt", PATH="/usr/bin:/bin")
    following = done.out[done.out.index("Next:") :].splitlines()[1:]
    assert all(line.strip().startswith(f"{Path(sys.executable).with_name('stagebook')} ") for line in following)


def test_bad_usage_exits_with_2(shell: Any) -> None:
    done = shell("run", "talk.py", "missing.txt")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith("error: the input missing.txt is not there")


def test_an_unexpected_error_is_one_sentence_and_debug_shows_where(shell: Any, here: Any) -> None:
    shell.write("odd.py", "from stagebook import Pipeline\nfrom talk import talk\ntalk.check = None\n")
    done = here("run", "odd.py:talk", "talk.txt")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: TypeError: ")
    assert done.err.splitlines()[-1].endswith("(STAGEBOOK_DEBUG=1 shows where)")
    assert "Traceback" in shell("run", "odd.py:talk", "talk.txt", STAGEBOOK_DEBUG="1").err


def test_a_reader_that_has_enough_is_no_error(shell: Any) -> None:
    shell("run", "talk.py", "talk.txt")
    for words in (("runs",), ("sql", "SELECT * FROM stage_outputs", "--csv")):
        process = shell.start(*words)
        process.stdout.close()
        assert process.wait(60) in {0, 141}
        assert process.stderr.read() == ""
        process.stderr.close()


def test_a_run_without_a_reader_of_its_progress_still_ends_well(shell: Any) -> None:
    process = shell.start("run", "talk.py", "talk.txt", "--json")
    process.stderr.close()
    out = process.stdout.read()
    process.stdout.close()
    assert (process.wait(60), '"status": "completed"' in out) == (0, True)


def test_the_files_of_a_finished_text_stay_in_their_folder(shell: Any) -> None:
    before = shell.files()
    shell("run", "talk.py", "talk.txt")
    assert shell.files() - before == {".stagebook"}
    shutil.rmtree(shell.folder / ".stagebook" / "runs")
    (shell.folder / ".stagebook" / "runs").write_text("in the way")
    done = shell("run", "talk.py", "talk.txt")
    assert done.code == 0
    assert "the texts could not be written as files" in done.err


def test_pipelines_lists_what_is_installed(here: Any) -> None:
    listed = here("pipelines", "--json").json()["pipelines"]
    [episode] = [one for one in listed if one["name"] == "episode-content"]
    assert len(episode["stages"]) >= 10
    assert "episode-content" in here("pipelines").out


def test_help_and_version_need_nothing(shell: Any, here: Any) -> None:
    assert "Commands:" in shell("--help").out
    assert here("--version").out.startswith("stagebook 0.")
    assert here().code == 2
    for name in ("run", "resume", "pause", "cancel", "runs", "show", "sql", "pipelines"):
        done = here(name, "--help")
        assert (done.code, done.err) == (0, "")
        assert "--ledger" in done.out or name == "pipelines"


def test_help_imports_nothing_heavy(tmp_path: Path, shell: Any) -> None:
    done = shell("--help", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert "click" in imported
    assert not imported & {"pydantic", "aiohttp", "rich", "asyncio", "sqlite3", "jinja2"}
