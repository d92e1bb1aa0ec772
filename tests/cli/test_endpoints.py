"""`--endpoint`: an HTTP endpoint of any shape asked as a model, against the fake provider as if it were one's own."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Rule, Script

SHAPE = {
    "url": "env:OPENAI_BASE_URL/chat/completions",
    "headers": {"authorization": "Bearer env:OPENAI_API_KEY"},
    "body": {"model": "{{ model }}", "messages": "{{ messages }}", "max_tokens": 400},
    "model": "gpt-4.1-mini",
}

QUOTES = Rule(contains="Quote: ", answer={"quotes": ["well said"]})


def declare(folder: Path, **changed: object) -> None:
    told = {name: value for name, value in {**SHAPE, **changed}.items() if value is not None}
    (folder / "mine.json").write_bytes(orjson.dumps(told))


def test_a_run_asks_an_endpoint_of_its_own_and_a_resume_finds_it(shell: Any, here: Any) -> None:
    declare(shell.folder)
    shell.provider.use(Script(rules=(QUOTES, Rule(contains="Write about", faults=(ErrorStatus(status=400),)))))
    words = ("--model", "endpoint:mine", "--endpoint", "mine=mine.json", "--price", "endpoint:mine=1/2")
    done = shell("run", "talk.py", "talk.txt", *words, "--limit", "endpoint:mine=6000/9M", "--budget", "5", "--json")
    document = done.json()
    assert (done.code, document["status"]) == (1, "failed")
    assert "endpoint:mine answered 400" in document["errors"][0]
    (shell.folder / "mine.json").unlink()  # a run keeps what it was given
    shell.provider.use(Script(rules=(QUOTES,)))
    document = shell("resume", "last", "--json").json()
    assert document["status"] == "completed"
    charged = shell.provider.bill().charged
    assert len(charged) == 4
    paid = sum(entry.input_tokens + 2 * entry.output_tokens for entry in charged)
    assert document["cost_usd"] == f"{paid / 10**6:.6f}".rstrip("0")
    shown = here("show", "last", "--stage", "quotes", "--item", "1").out
    assert "endpoint:mine" not in shown.splitlines()[0]
    assert "Quote: One line." in shown
    assert "1. mine parsed 200" in shown
    assert b"sk-fake-key-of-the-tests" not in (shell.folder / ".stagebook" / "ledger.db").read_bytes()


def test_an_endpoint_that_takes_a_prompt_is_named_by_its_address_alone(shell: Any) -> None:
    address = f"{shell.provider.base_url}/nothing-there"
    done = shell("run", "talk.py", "talk.txt", "--model", "endpoint:mine", "--endpoint", f"mine={address}")
    assert done.code == 1
    assert "endpoint:mine answered 404" in done.err
    assert "check its url" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--endpoint", "mine"), "--endpoint mine is not of the form NAME=FILE.json or NAME=URL"),
        (("--endpoint", "mine=gone.json"), "the endpoint's file gone.json is not there"),
        (("--endpoint", "mine=mine.json", "--endpoint", "mine=http://a.example"), "is given twice"),
        (("--endpoint", "my own=mine.json"), "an endpoint cannot be called 'my own'"),
        (
            ("--model", "endpoint:other", "--endpoint", "mine=mine.json"),
            "no endpoint is called 'other' (the run has: mine)",
        ),
        (("--model", "endpoint:mine"), "no endpoint is called 'mine' (the run has none)"),
    ],
    ids=["no file", "gone", "twice", "name", "other", "none"],
)
def test_what_is_typed_wrongly_is_told_and_nothing_is_written(
    shell: Any, here: Any, words: tuple[str, ...], told: str
) -> None:
    declare(shell.folder)
    done = here("run", "talk.py", "talk.txt", *words)
    assert done.code == 2
    assert told in done.err
    assert not (shell.folder / ".stagebook").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"headers": {"authorization": "Bearer hush"}}, "mine.json cannot be used: the header authorization"),
        ({"adress": "x"}, "adress: extra inputs are not permitted; an endpoint has: url, method"),
        ({"url": None}, "url: field required; an endpoint has: url, method"),
        ({"method": "SEND"}, "method: input should be 'POST', 'PUT', 'PATCH' or 'GET'"),
        ({"body": {"q": "{{ promt }}"}}, "has {{ promt }}, which nothing fills"),
        ({"headers": {"authorization": "Bearer env:NOT_SET"}}, "the environment variable NOT_SET is not set"),
    ],
    ids=["secret", "unknown", "missing", "method", "place", "variable"],
)
def test_a_file_that_declares_no_endpoint_is_told_and_nothing_is_written(
    shell: Any, here: Any, changed: dict[str, object], told: str
) -> None:
    declare(shell.folder, **changed)
    done = here("run", "talk.py", "talk.txt", "--model", "endpoint:mine", "--endpoint", "mine=mine.json")
    assert done.code == 2
    assert told in done.err
    assert "hush" not in done.err
    assert not (shell.folder / ".stagebook").exists()


def test_what_an_endpoint_would_be_asked_is_estimated(shell: Any, here: Any) -> None:
    declare(shell.folder)
    words = ("--model", "endpoint:mine", "--endpoint", "mine=mine.json", "--estimate", "--json")
    document = here("run", "talk.py", "talk.txt", *words).json()
    assert document["stages"][1]["model"] == "endpoint:mine"
    assert not (shell.folder / ".stagebook").exists()
