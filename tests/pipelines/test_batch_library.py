"""The operations of prompt-batch one by one, from Python, as somebody without a pipeline uses them."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stagebook_pipelines.prompt_batch as operations
from stagebook import RunFailed, RunPaused, StagebookError
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
    assert done.errors[0].startswith("prompts, prompt index 3, batch 1: ")
    assert done.errors[1] == "prompts, prompt index 9, batch 2: halves of characters were replaced"
    bad = done.responses[3]
    assert bad.timestamp is not None
    assert bad.metadata.duration_ms is not None
    first = done.responses[0]
    assert (first.model, first.metadata.tokens_used is not None, first.timestamp is not None) == (MODEL, True, True)


def test_a_call_that_came_to_its_end_asks_anew_unless_answers_are_to_be_reused(provider: ProviderProcess) -> None:
    prompts = [f"number {number}" for number in range(6)]
    provider.use(Script(rules=(Rule(contains="number 4", faults=(ErrorStatus(status=400),)), ECHO)))
    first = execute_batch(prompts, model=MODEL)
    provider.use(Script(rules=(ECHO,)))
    second = execute_batch([*prompts, "number 6"], model=MODEL, reuse=True)
    assert (first.failed, second.failed) == (1, 0)
    assert len(provider.bill().entries) == 6 + 2
    assert [one.timestamp for one in second.responses[:3]] == [one.timestamp for one in first.responses[:3]]
    marks = [(one.metadata.model_extra or {}).get("reused") for one in second.responses]
    assert marks == [True, True, True, True, None, True, None]
    third = execute_batch(prompts, model=MODEL)
    assert (third.successful, third.run_id != first.run_id) == (6, True)
    assert len(provider.bill().entries) == 6 + 2 + 6


def test_a_batch_that_reached_its_budget_goes_on_with_a_higher_one(provider: ProviderProcess) -> None:
    prompts = [f"number {number} {'word ' * 50}" for number in range(40)]
    options: dict[str, Any] = {"model": MODEL, "max_concurrency": 1, "prices": {MODEL: "10000/10000"}}
    with pytest.raises(RunPaused, match="budget"):
        execute_batch(prompts, budget=350, **options)
    asked = len(provider.bill().entries)
    done = execute_batch(prompts, budget=100_000, **options)
    assert 0 < asked < 40
    assert (done.successful, len(provider.bill().entries)) == (40, 40)


def test_another_header_is_another_request(provider: ProviderProcess) -> None:
    url = f"{provider.base_url}/chat/completions"
    body = {"model": "gpt-4.1-mini", "messages": "{{ messages }}"}
    for tenant, count in (("1", 1), ("2", 2), ("1", 2)):
        options = {"headers": {"Authorization": "Bearer env:OPENAI_API_KEY", "X-Tenant": tenant}, "body": body}
        execute_batch(["one"], model_endpoint=url, request_options=options, reuse=True)
        assert len(provider.bill().entries) == count


def test_answers_of_another_model_another_endpoint_or_another_body_have_rows_of_their_own(
    provider: ProviderProcess,
) -> None:
    url = f"{provider.base_url}/chat/completions"
    auth = {"Authorization": "Bearer env:OPENAI_API_KEY"}
    body = {"model": "gpt-4.1-mini", "messages": "{{ messages }}", "user": "{{ model }}"}
    given: list[dict[str, Any]] = [
        {"model": "meta-llama/Llama-3-8B", "body": body},
        {"model": "Qwen/Qwen3-8B", "body": body},
        {"model": None, "body": body},
        {"model": None, "body": {**body, "temperature": 1}},
        {"model": None, "body": body, "url": f"{url}?v=2"},
    ]
    for one in given:
        told = run_pipeline(
            prompts=["q"],
            model=one["model"],
            model_endpoint=one.get("url", url),
            request_options={"headers": auth, "body": one["body"]},
            store="results.db",
            experiment_name="e",
        )
        assert (told.stored, told.already_stored, told.errors) == (1, 0, [])
    with sqlite3.connect("results.db") as database:
        rows = database.execute("SELECT model FROM prompt_evaluations ORDER BY id").fetchall()
    database.close()
    names = [model for (model,) in rows]
    assert names[:3] == ["endpoint:meta-llama/Llama-3-8B", "endpoint:Qwen/Qwen3-8B", "endpoint:127.0.0.1"]
    options = {"headers": auth, "body": body}
    told = run_pipeline(
        prompts=["q"], model_endpoint=url, request_options=options, store="results.db", experiment_name="e"
    )
    assert (told.stored, told.already_stored) == (0, 1)


def test_what_extract_prompts_gives_is_asked_and_told_with_its_file_and_index(
    provider: ProviderProcess, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "one"}\n{"question": "two"}\n')
    (tmp_path / "b.jsonl").write_text('{"question": "one"}\n')
    provider.use(Script(rules=(Rule(contains="two", faults=(ErrorStatus(status=400),)), ECHO)))
    found = extract_prompts(source=tmp_path, pattern="*.jsonl")
    for given in (found, found.prompts):
        done = execute_batch(given, model=MODEL, ledger=tmp_path / "l" / "l.db")
        origins = [one.metadata.model_extra or {} for one in done.responses]
        assert [(one["file"], one["index"]) for one in origins] == [("a.jsonl", 0), ("a.jsonl", 1), ("b.jsonl", 0)]
        assert done.errors[0].startswith("a.jsonl, prompt index 1, batch 1: ")


def test_prompts_of_another_type_and_a_batch_that_asks_nobody_are_refused(provider: ProviderProcess) -> None:
    wrong: Any
    for wrong in ("one prompt", 7, ["fine", 7], [b"bytes"], [None]):
        with pytest.raises(StagebookError, match=r"is one str|not int|is (int|bytes|NoneType)"):
            execute_batch(wrong, model=MODEL)
    with pytest.raises(StagebookError, match="nobody is named who is asked"):
        execute_batch(["one"])
    assert not provider.bill().entries


def test_a_prompt_that_looks_like_a_key_is_asked_like_any_other(provider: ProviderProcess) -> None:
    prompts = ["what is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD?", "and this?"]
    assert execute_batch(prompts, model=MODEL).successful == 2
    assert run_pipeline(prompts=prompts, model=MODEL).successful == 2
    assert run_pipeline(prompts=["half \ud800 of one"], model=MODEL).successful == 1


def test_a_failure_that_was_stored_is_replaced_when_a_later_batch_gets_the_answer(provider: ProviderProcess) -> None:
    provider.use(Script(rules=(Rule(contains="two", faults=(ErrorStatus(status=400),)), ECHO)))
    store_results(execute_batch(["one", "two"], model=MODEL), store="results.jsonl", experiment_name="e")
    provider.use(Script(rules=(ECHO,)))
    told = store_results(execute_batch(["two"], model=MODEL), store="results.jsonl", experiment_name="e")
    assert (told.stored, told.already_stored) == (1, 0)
    rows = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["success"]) for row in rows] == [("one", True), ("two", True)]


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
    second = run_pipeline(source=folder, model=MODEL, store="results.db", reuse=True)
    assert (first.total, second.total, second.stored, second.already_stored) == (2, 3, 1, 2)
    assert second.evaluation is not None
    assert second.evaluation.metrics["exact_match"].mean == pytest.approx(1 / 3)
    assert len(provider.bill().entries) == 3
    with sqlite3.connect("results.db") as database:
        rows = database.execute("SELECT prompt FROM prompt_evaluations ORDER BY id").fetchall()
    database.close()
    assert [prompt for (prompt,) in rows] == ["one", "two", "three"]


def test_a_pipeline_that_failed_goes_on_when_its_call_is_made_again(
    provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"prompts": ["one", "two"], "model": MODEL, "store": "env:RESULTS_OF_A_TEST"}
    with pytest.raises(RunFailed, match="RESULTS_OF_A_TEST is not set"):
        run_pipeline(**given)
    monkeypatch.setenv("RESULTS_OF_A_TEST", "results.db")
    assert run_pipeline(**given).stored == 2
    with sqlite3.connect(".stagebook/ledger.db") as database:
        (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
    database.close()
    assert runs == 1


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
