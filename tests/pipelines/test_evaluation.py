"""Evaluations as a whole: what is measured, how it is summed up, and what is said of what cannot be."""

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stagebook_pipelines.prompt_batch.evaluation import METRICS, Measures, evaluate, evaluate_rows
from stagebook_pipelines.prompt_batch.evaluation.intervals import Moments, student, wilson
from stagebook_pipelines.prompt_batch.evaluation.metric import Metric, Need
from stagebook_pipelines.prompt_batch.evaluation.references import read_references
from stagebook_pipelines.prompt_batch.results import Response
from stagebook_pipelines.prompt_batch.storing.store_results import store_results

ROOT = Path(__file__).resolve().parents[2]
EVALS = ROOT.parent / "shared" / "data" / "evals" / "dev"


def answered(prompt: str, response: str | None, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "response": response, "success": response is not None, **more}


CAPITALS = {"France?": "Paris", "Italy?": ["Rome", "Roma"], "Spain?": "Madrid"}
ANSWERS = [
    answered("France?", "Paris"),
    answered("Italy?", "roma."),
    answered("Spain?", "Lisbon"),
    answered("Peru?", "Lima"),
    answered("France?", None, error="429"),
]
STORED = [answered("France?", "Paris"), answered("Spain?", "Lisbon"), answered("Italy?", None, error="429")]


def test_responses_are_counted_scored_failed_and_unscored_each_apart() -> None:
    found = evaluate(ANSWERS, CAPITALS, metrics=["exact_match", "normalised_match"])
    assert (found.count, found.failed, found.errors) == (5, 1, [])
    exact, normalised = found.metrics["exact_match"], found.metrics["normalised_match"]
    assert (exact.count, exact.unscored, exact.mean) == (3, 1, pytest.approx(1 / 3))
    assert (normalised.count, normalised.unscored, normalised.mean) == (3, 1, pytest.approx(2 / 3))
    assert normalised.interval is not None
    assert (normalised.interval.low, normalised.interval.high) == (
        pytest.approx(0.2077, abs=1e-4),
        pytest.approx(0.9385, abs=1e-4),
    )
    assert [(score.metric, score.value) for score in found.scores[:2]] == [
        ("exact_match", 1.0),
        ("normalised_match", 1.0),
    ]


def test_failed_responses_may_count_as_empty_answers() -> None:
    found = evaluate(ANSWERS, CAPITALS, metrics=["exact_match"], failed="empty")
    exact = found.metrics["exact_match"]
    assert (found.failed, exact.count, exact.unscored, exact.mean) == (1, 4, 1, 0.25)


def test_what_is_measured_follows_from_what_is_there() -> None:
    words = ["exact_match", "normalised_match", "token_f1", "rouge_l", "bleu"]
    assert list(evaluate(ANSWERS, CAPITALS).metrics) == words
    assert list(evaluate([], {"a": "42", "b": "So 3.\n#### 3"}).metrics) == [*words, "numeric"]
    assert list(evaluate([], {"a": "C", "b": "B. Rome"}).metrics) == [*words, "choice"]
    assert list(evaluate([], answer_schema={"type": "object"}).metrics) == ["json_schema"]


def test_without_anything_to_measure_by_that_is_what_is_told() -> None:
    found = evaluate(ANSWERS)
    assert (found.count, found.failed, found.metrics) == (5, 1, {})
    assert found.errors == ["nothing is measured: there are no references, and no schema, embedder or judge was given"]


def test_experiments_are_summed_up_apart_where_there_are_several() -> None:
    rows = [
        answered("France?", "Paris", experiment_name="new"),
        answered("Spain?", "Madrid", experiment_name="new"),
        answered("France?", "Lyon", experiment_name="old"),
    ]
    found = evaluate(rows, CAPITALS, metrics=["exact_match"])
    assert found.metrics["exact_match"].mean == pytest.approx(2 / 3)
    assert {name: one.metrics["exact_match"].mean for name, one in found.experiments.items()} == {"new": 1, "old": 0}
    assert list(evaluate(rows[:2], CAPITALS).experiments) == ["new"]


def test_a_response_may_be_a_model_or_a_row_of_any_table() -> None:
    class Answer(BaseModel):
        prompt: str
        response: str | None
        success: bool = True
        error: str | None = None

    rows = [
        Answer(prompt="France?", response="Paris"),
        {"prompt": "Spain?", "response": "Madrid", "success": 1},
        {"prompt": "Spain?", "response": "Madrid", "success": "true"},
        {"prompt": "Spain?", "response": "Madrid"},
        {"prompt": "Spain?", "response": "half an answer", "success": 0},
        {"prompt": "Spain?", "response": "half an answer", "success": "false"},
        {"prompt": "Spain?", "response": "half an answer", "error": "cut"},
    ]
    found = evaluate(rows, CAPITALS, metrics=["exact_match"])
    assert (found.count, found.failed, found.metrics["exact_match"].mean) == (7, 3, 1.0)


def test_what_is_no_response_is_named_and_the_others_go_on() -> None:
    rows: list[Any] = [{"response": "Paris"}, "Paris", None, answered("France?", "Paris")]
    found = evaluate(rows, CAPITALS, metrics=["exact_match"])
    assert found.count == 1
    assert found.errors == [
        "response 1: a response has no text in its field prompt",
        "response 2: a response is a mapping or a model, not str",
        "response 3: a response is a mapping or a model, not NoneType",
    ]


def test_errors_are_told_up_to_a_hundred_and_then_counted() -> None:
    found = evaluate([{} for _ in range(150)], CAPITALS)
    assert len(found.errors) == 101
    assert found.errors[-1] == "and 50 more"


def test_an_item_has_the_key_of_its_row_or_the_hash_of_its_prompt() -> None:
    rows = [answered("France?", "Paris", id=7), answered("France?", "Paris", key="k"), answered("France?", "Paris")]
    items = [score.item for score in evaluate(rows, CAPITALS, metrics=["exact_match"]).scores]
    assert items[:2] == ["7", "k"]
    assert items[2] == evaluate(rows[2:], CAPITALS, metrics=["exact_match"]).scores[0].item


def test_scores_are_let_go_where_only_sums_are_wanted() -> None:
    found = evaluate(ANSWERS, CAPITALS, keep_scores=False)
    assert found.scores == []
    assert found.metrics["exact_match"].count == 3


def test_results_and_references_may_be_files(tmp_path: Path) -> None:
    results, references = tmp_path / "results.jsonl", tmp_path / "references.jsonl"
    results.write_text("".join(json.dumps(row) + "\n" for row in ANSWERS) + "\nno json\n")
    references.write_bytes(
        b'\xef\xbb\xbf{"prompt": "France?", "reference": "Paris"}\n'
        b'{"question": "Italy?", "references": ["Rome", "Roma"]}\n'
        b"\n"
        b'{"prompt": "Spain?"}\n'
        b'{"prompt": 3, "reference": "x"}\n'
        b'{"input": [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Peru?"}], "ideal": "Lima"}\n'
        b'{"turns": ["Cuba?", "And why?"], "references": ["Havana", null]}\n'
        b'{"prompt": "Chile?", "reference": {"name": "Santiago"}}\n'
        b"[1\n"
    )
    found = evaluate(results, references, metrics=["normalised_match"])
    assert found.metrics["normalised_match"].count == 3
    assert found.metrics["normalised_match"].mean == 1.0
    assert [error.partition(": ")[2] for error in found.errors[:2]] == [
        "no prompt: it is told in one of prompt, question, input, turns",
        "a reference is text, or a list of texts, not dict",
    ]
    assert f"{references}, line 9: no JSON" in found.errors[2]
    assert found.errors[3].startswith(f"response 6: {results}, line 7: no JSON")
    assert read_references(references).of(" Cuba?\n") == ("Havana",)


@pytest.mark.parametrize("name", ["s.db", "s.parquet", "s.jsonl", "sqlite:///{}/s.db", "env:RESULTS"])
def test_results_are_scored_where_they_were_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    responses = list(map(Response.model_validate, STORED))
    store = name.format(tmp_path) if ":" in name else str(tmp_path / name)
    monkeypatch.setenv("RESULTS", str(tmp_path / "other.db"))
    store_results(responses, store=store, experiment_name="first")
    found = evaluate(store, CAPITALS, metrics=["exact_match"])
    assert (found.count, found.failed, found.metrics["exact_match"].mean, found.errors) == (3, 1, 0.5, [])
    assert list(found.experiments) == ["first"]


def test_results_are_scored_in_a_table_of_postgresql(database: str) -> None:
    responses = list(map(Response.model_validate, STORED))
    store_results(responses, store=database, table="mine", experiment_name="first")
    found = evaluate(database, CAPITALS, metrics=["exact_match"], table="mine")
    assert (found.count, found.failed, found.metrics["exact_match"].mean, found.errors) == (3, 1, 0.5, [])
    with pytest.raises(ValueError, match="the table prompt_evaluations cannot be read") as refused:
        evaluate(database, CAPITALS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"prompt,response\na,b\n", "holds no results: give a database of SQLite"),
        (b"PAR1 but no Parquet", "cannot be read: "),
        (b"SQLite format 3\0 but no database", "cannot be read: "),
        (b"\x89PNG\r\n", "holds no results"),
    ],
    ids=["csv", "parquet", "sqlite", "picture"],
)
def test_what_holds_no_results_is_refused_in_one_sentence(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "results").write_bytes(data)
    with pytest.raises(ValueError, match=why) as refused:
        evaluate(tmp_path / "results", CAPITALS)
    assert "\n" not in str(refused.value)


def test_a_database_without_the_table_or_its_columns_is_refused(tmp_path: Path) -> None:
    store_results([Response(prompt="France?", response="Paris")], store=str(tmp_path / "s.db"))
    with pytest.raises(ValueError, match=r"has no table others; say which by table="):
        evaluate(tmp_path / "s.db", CAPITALS, table="others")
    with pytest.raises(ValueError, match="is no name of a table"):
        evaluate(tmp_path / "s.db", CAPITALS, table='a"b')
    with closing(sqlite3.connect(tmp_path / "o.db")) as database:
        database.execute("CREATE TABLE prompt_evaluations (prompt TEXT)")
    with pytest.raises(ValueError, match="has no column response"):
        evaluate(tmp_path / "o.db", CAPITALS)
    with pytest.raises(ValueError, match="environment variable NOT_SET is not set"):
        evaluate("env:NOT_SET", CAPITALS)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.jsonl cannot be read: No such file"):
        evaluate([], tmp_path / "gone.jsonl")
    with pytest.raises(ValueError, match=r"gone\.jsonl cannot be read: No such file"):
        evaluate(tmp_path / "gone.jsonl", CAPITALS)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"metrics": ["exactness"]}, "no metric is called 'exactness'; there are exact_match, normalised_match"),
        ({"metrics": ["json_schema"]}, "the metric json_schema needs answer_schema"),
        ({"metrics": ["embedding_similarity"]}, "the metric embedding_similarity needs embedding_model"),
        ({"answer_schema": {"type": "nonsense"}}, "the JSON schema of the metric json_schema is none"),
    ],
    ids=["unknown", "no-schema", "no-embedder", "no-real-schema"],
)
def test_a_setting_that_cannot_be_used_is_told_before_anything_is_read(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        evaluate(iter(()), CAPITALS, **settings)


def test_a_metric_without_its_package_says_what_to_install() -> None:
    with pytest.raises(ValueError, match=r"needs the package no_such_thing.*pip install 'stagebook\[batch\]'"):
        Metric("m", "", Need.REFERENCES, packages=("no_such_thing",)).check_installed()


async def test_rows_of_a_stage_are_scored_as_they_come() -> None:
    alive = 0

    class Answer(BaseModel):
        prompt: str = "France?"
        response: str = "Paris"

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    async def rows() -> AsyncIterator[Answer]:
        nonlocal alive, most
        for _ in range(5000):
            alive += 1
            most = max(most, alive)
            yield Answer()

    found = await evaluate_rows(rows(), CAPITALS, Measures(metrics=["exact_match"], keep_scores=False))
    assert found.metrics["exact_match"].count == 5000
    assert most <= 1000  # some batches, as threads let go of theirs a little later


def test_wilsons_interval_has_the_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for right, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(right, count)
        assert interval is not None
        assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert wilson(0, 0) is None


def test_students_interval_is_that_of_the_textbook() -> None:
    moments = Moments()
    for value in (0.2, 0.4, 0.6, 0.8):
        moments.add(value)
    interval = student(moments, (0, 1))
    assert interval is not None
    width = 3.1824 * math.sqrt(0.2 / 3 / 4)
    assert (interval.low, interval.high) == (pytest.approx(0.5 - width), pytest.approx(0.5 + width))
    assert student(Moments(), (0, 1)) is None


def test_students_quantile_goes_on_smoothly_past_its_table() -> None:
    def width(count: int) -> float:
        moments = Moments()
        for number in range(count):
            moments.add(float(number % 2))
        interval = student(moments, (-100, 100))
        assert interval is not None
        return (interval.high - interval.low) / 2 / math.sqrt(moments.variance / count)

    assert width(31) == pytest.approx(2.0423, abs=1e-4)
    assert width(32) == pytest.approx(2.0395, abs=1e-4)  # scipy.stats.t.ppf(0.975, 31)
    assert width(121) == pytest.approx(1.9799, abs=1e-4)
    assert width(100_001) == pytest.approx(1.9600, abs=1e-4)


@pytest.mark.real_data
@pytest.mark.skipif(not EVALS.is_dir(), reason="../shared/data/evals is not here")
@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "truthfulqa", "mt_bench", "openai_evals_chat"])
def test_references_score_full_marks_against_themselves(name: str) -> None:
    path = EVALS / f"{name}.jsonl"
    known = read_references(path).by_prompt()
    assert known
    found = evaluate([answered(prompt, right[-1]) for prompt, right in known.items()], path)
    assert found.errors == []
    for summary in found.metrics.values():
        assert (summary.mean, summary.count, summary.unscored) == (pytest.approx(1.0), len(known), 0)
    corpus = found.metrics["bleu"].corpus
    assert corpus is not None
    assert corpus.value == pytest.approx(1.0)
    assert ("numeric" in found.metrics, "choice" in found.metrics) == (name == "gsm8k", name == "mmlu")


@pytest.mark.real_data
@pytest.mark.skipif(not EVALS.is_dir(), reason="../shared/data/evals is not here")
def test_worked_solutions_and_bare_letters_are_right_answers() -> None:
    problems = [json.loads(line) for line in (EVALS / "gsm8k.jsonl").read_text().splitlines()]
    solved = [answered(one["prompt"], one["reference_solution"]) for one in problems]
    told = [answered(one["prompt"], one["reference_solution"].replace("####", "The answer is")) for one in problems]
    wrong = [answered(one["prompt"], f"#### {one['reference']}1") for one in problems]
    numbers = [evaluate(rows, EVALS / "gsm8k.jsonl").metrics["numeric"].mean for rows in (solved, told, wrong)]
    assert numbers == [1.0, 1.0, 0.0]
    exams = [json.loads(line) for line in (EVALS / "mmlu.jsonl").read_text().splitlines()]
    for form in ("{}", "({})", "The answer is {}.", "**{}**\n\nThis follows from the text."):
        rows = [answered(one["prompt"], form.format(one["reference_letter"])) for one in exams]
        assert evaluate(rows, EVALS / "mmlu.jsonl").metrics["choice"].mean == 1.0
    texts = [answered(one["prompt"], one["reference"][3:]) for one in exams]
    assert evaluate(texts, EVALS / "mmlu.jsonl").metrics["choice"].mean == 1.0


@pytest.mark.real_data
@pytest.mark.skipif(not EVALS.is_dir(), reason="../shared/data/evals is not here")
def test_open_prompts_without_references_are_counted_and_not_scored() -> None:
    prompts = [json.loads(line)["prompt"] for line in (EVALS / "vicuna_bench_noref.jsonl").read_text().splitlines()]
    found = evaluate([answered(prompt, "Well.") for prompt in prompts], EVALS / "vicuna_bench_noref.jsonl")
    assert (found.count, found.metrics) == (40, {})
    assert "there are no references" in found.errors[0]


def test_importing_it_brings_none_of_its_libraries() -> None:
    heavy = "{'numpy', 'sacrebleu', 'rapidfuzz', 'jsonschema_rs', 'httpx2', 'threadpoolctl'}"
    script = f"import sys, stagebook_pipelines.prompt_batch.evaluation; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_metric_of_the_registry_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.meaning.endswith(".")
        assert (metric.pure is None) != (metric.asking is None)
