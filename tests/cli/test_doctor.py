"""`doctor`: what is set up, what is missing, and that it shows no key."""

import socket
from typing import Any

import pytest

from stagebook.insight.doctor import BROKEN, OK, Diagnosis, Finding

KEY = "sk-fake-key-of-the-tests"


@pytest.fixture(autouse=True)
def no_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "MISTRAL_API_KEY", "VLLM_BASE_URL", "OLLAMA_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def findings(here: Any, *words: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["area"], one["name"]): one for one in here("doctor", "--json", *words).json()["findings"]}


def test_before_the_first_run_it_says_where_the_ledger_will_be_and_makes_nothing(shell: Any, here: Any) -> None:
    before = shell.files()
    done = here("doctor", "--json")
    document = done.json()
    [ledger] = [one for one in document["findings"] if one["area"] == "ledger"]
    assert (done.code, document["usable"], ledger["state"]) == (0, True, "ok")
    assert ledger["facts"]["path"] == str(shell.folder / ".stagebook" / "ledger.db")
    assert ledger["facts"]["exists"] is False
    assert ledger["facts"]["fsync_ms"] > 0
    assert ledger["facts"]["free_bytes"] > 0
    assert shell.files() == before


def test_a_ledger_is_told_by_version_size_and_runs(shell: Any, here: Any) -> None:
    shell("run", "talk.py", "talk.txt")
    facts = findings(here)["ledger", "ledger.db"]["facts"]
    assert (facts["exists"], facts["writable"], facts["version"], facts["runs"]) == (True, True, 1, 1)
    assert facts["bytes"] > 50_000
    assert "1 run, " in here("doctor").out


def test_keys_are_told_as_set_or_not_and_never_shown(here: Any) -> None:
    found = findings(here)
    assert found["provider", "openai"]["facts"] | {"address": ""} == {
        "key": "OPENAI_API_KEY",
        "key_set": True,
        "address": "",
    }
    missing = found["provider", "anthropic"]
    assert (missing["state"], missing["mend"]) == ("missing", "set ANTHROPIC_API_KEY")
    for words in (("doctor",), ("doctor", "--json")):
        done = here(*words)
        assert KEY not in done.out + done.err


def test_an_address_with_a_password_is_not_shown(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://me:hunter2secret@127.0.0.1:1/v1")
    for words in (("doctor",), ("doctor", "--json")):
        done = here(*words)
        assert "hunter2secret" not in done.out + done.err


def test_a_server_of_ones_own_is_ready_when_something_listens(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VLLM_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        assert findings(here)["provider", "vllm"]["state"] == "missing"
        server.listen()
        assert findings(here)["provider", "vllm"]["state"] == "ok"


def test_without_a_ledger_that_can_be_used_it_exits_with_1_and_says_what_to_do(shell: Any, here: Any) -> None:
    shell.write("notes.db", "this is no ledger\n" * 100)
    done = here("doctor", "--ledger", "notes.db")
    assert done.code == 1
    assert "The ledger cannot be used: " in done.out
    assert "--ledger PATH" in done.out
    nowhere = here("doctor", "--ledger", "/proc/nowhere/ledger.db", "--json")
    assert (nowhere.code, nowhere.json()["usable"]) == (1, False)


def test_a_pipeline_that_cannot_be_loaded_is_told_and_hides_no_other(shell: Any) -> None:
    folder = shell.folder / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[stagebook.pipelines]\nbroken-one = broken_module:pipeline\n")
    done = shell("doctor", "--json", PYTHONPATH=str(shell.folder))
    found = {one["name"]: one for one in done.json()["findings"] if one["area"] == "pipeline"}
    assert (done.code, found["broken-one"]["state"]) == (0, "broken")
    assert "broken_module" in found["broken-one"]["said"]
    assert found["episode-content"]["state"] == "ok"


def test_it_fits_a_terminal_of_80_columns(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = here("doctor").out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert lines[-1].startswith("Ready. Models to ask: openai:...")


def test_a_run_can_begin_with_a_ledger_and_one_model() -> None:
    ledger = Finding("ledger", "ledger.db", OK, "")
    no_key = Finding("provider", "openai", "missing", "no key")
    no_weights = Finding("local model", "local:smollm2", "missing", "its weights are not here")
    weights = Finding("local model", "local:smollm2", OK, "its weights are here")
    assert Diagnosis((ledger, no_key, weights)).usable
    assert Diagnosis((ledger, no_key, weights)).models == ("local:smollm2",)
    assert not Diagnosis((ledger, no_key, no_weights)).usable
    assert not Diagnosis((Finding("ledger", "ledger.db", BROKEN, ""), weights)).usable
