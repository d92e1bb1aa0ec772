"""The operations of prompt-batch one by one, from Python, as somebody without a pipeline uses them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stagebook_pipelines.prompt_batch as operations
from stagebook import StagebookError
from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script
from stagebook_pipelines.prompt_batch import (
    evaluate,
    execute_batch,
    extract_prompts,
    run_pipeline,
    store_results,
)

MODEL = "openai:gpt-4.1-mini"
ECHO = Rule(template="Answer to: {{ text }}")


@pytest.fixture(scope="module")
def process() -> Iterator[ProviderProcess]:
    with ProviderProcess() as provider:
        yield provider


@pytest.fixture
def provider(process: ProviderProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProviderProcess:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", process.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-key-of-the-tests")
    monkeypatch.delenv("STAGEBOOK_LEDGER", raising=False)
    process.use(Script(rules=(ECHO,)))
    process.reset()
    return process


def test_responses_come_in_the_order_of_the_prompts_whatever_becomes_of_each(provider: ProviderProcess) -> None:
    provider.use(Script(rules=(Rule(contains="number 3", faults=(ErrorStatus(status=400),)), ECHO)))
    prompts = [f"number {number}" for number in range(8)] + ["number 1", "half \ud800 of one"]
    done = execute_batch(prompts, model=MODEL, batch_size=5, max_concurrency=3)
    assert [one.prompt for one in done.responses] == [*prompts[:9], "half \ufffd of one"]
    assert [one.success for one in done.responses] == [number != 3 for number in range(10)]
    assert [one.response for one in done.responses[:2]] == ["Answer to: number 0", "Answer to: number 1"]
    assert (done.total, done.successful, done.failed) == (10, 9, 1)
    assert done.errors[0].startswith("batch 1, prompt 4: ")
    assert done.errors[1] == "batch 2, prompt 10: halves of characters were replaced"
    first = done.responses[0]
    assert (first.model, first.metadata.tokens_used is not None, first.timestamp is not None) == (MODEL, True, True)


def test_a_batch_that_is_made_again_pays_for_nothing_twice(provider: ProviderProcess) -> None:
    prompts = [f"number {number}" for number in range(6)]
    provider.use(Script(rules=(Rule(contains="number 4", faults=(ErrorStatus(status=400),)), ECHO)))
    first = execute_batch(prompts, model=MODEL)
    provider.use(Script(rules=(ECHO,)))
    second = execute_batch([*prompts, "number 6"], model=MODEL)
    assert (first.failed, second.failed) == (1, 0)
    assert len(provider.bill().entries) == 6 + 2
    assert [one.timestamp for one in second.responses[:3]] == [one.timestamp for one in first.responses[:3]]


def test_an_endpoint_of_any_shape_is_asked_as_its_options_say(provider: ProviderProcess) -> None:
    options: dict[str, Any] = {
        "headers": {"Authorization": "Bearer env:OPENAI_API_KEY"},
        "body": {"model": "{{ model }}", "messages": [{"role": "user", "content": "{{ prompt }}"}]},
        "timeout": 60_000,
    }
    url = f"{provider.base_url}/chat/completions"
    done = execute_batch(["one", "two"], model="gpt-4.1-mini", model_endpoint=url, request_options=options)
    assert [one.response for one in done.responses] == ["Answer to: one", "Answer to: two"]
    assert {one.model for one in done.responses} == {"endpoint:gpt-4.1-mini"}


def test_a_literal_key_in_the_headers_of_an_endpoint_is_refused(provider: ProviderProcess) -> None:
    options = {"headers": {"Authorization": "Bearer something-secret"}}
    with pytest.raises(StagebookError, match="env:"):
        execute_batch(["one"], model_endpoint="https://api.example.com/ask", request_options=options)
    with pytest.raises(ValueError, match="name it by model_endpoint"):
        execute_batch(["one"], model=MODEL, request_options=options)


def test_the_operations_fit_together(provider: ProviderProcess, tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"question": "one"}\n{"question": "two"}\n{"question": "three"}\n')
    found = extract_prompts(directory=folder, max_prompts=2)
    done = execute_batch([one.text for one in found.prompts], model=MODEL)
    for expected in (2, 0):
        stored = store_results(done.responses, store="results.db", experiment_name="first", tags=["a"])
        assert (stored.stored, stored.failed) == (expected, 0)
    told = evaluate(done.responses, {"one": "Answer to: one", "two": "no"}, ["exact_match"])
    assert told.metrics["exact_match"].mean == 0.5


def test_one_call_does_all_of_it_and_files_that_come_later_are_all_that_is_paid_for(
    provider: ProviderProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "archives"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"question": "one", "answer": "1"}\n{"question": "two", "answer": "2"}\n')
    first = run_pipeline(source=folder, model=MODEL, store="results.db")
    (folder / "b.jsonl").write_text('{"question": "three", "answer": "Answer to: three"}\n')
    second = run_pipeline(source=folder, model=MODEL, store="results.db")
    assert (first.total, second.total, second.stored) == (2, 3, 3)
    assert second.evaluation is not None
    assert second.evaluation.metrics["exact_match"].mean == pytest.approx(1 / 3)
    assert len(provider.bill().entries) == 3
    with sqlite3.connect("results.db") as database:
        rows = database.execute("SELECT prompt FROM prompt_evaluations ORDER BY id").fetchall()
    database.close()
    assert [prompt for (prompt,) in rows] == ["one", "two", "three"]


def test_every_public_name_is_there() -> None:
    assert all(getattr(operations, name) is not None for name in operations.__all__)
    with pytest.raises(AttributeError, match="no attribute 'guess'"):
        operations.guess  # noqa: B018  the error is the fact


@pytest.mark.local_model
def test_a_real_model_answers_a_small_batch(tmp_path: Path) -> None:
    """Archives, a real model, a table: little is said, as it is asked for little."""
    prompts = ["Say yes.", "Say no."]
    told = run_pipeline(prompts=prompts, model="local:smollm2", ledger=tmp_path / "l.db", store=tmp_path / "r.jsonl")
    assert (told.successful, told.stored) == (2, 2), told.errors
