"""Answers that are meant to break what reads them, and what holds for every text."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook_pipelines.prompt_batch.evaluation import METRICS, evaluate
from stagebook_pipelines.prompt_batch.evaluation.choice import choice
from stagebook_pipelines.prompt_batch.evaluation.json_validity import json_schema
from stagebook_pipelines.prompt_batch.evaluation.matching import exact_match, normalised_match, token_f1
from stagebook_pipelines.prompt_batch.evaluation.metric import Need, Sample
from stagebook_pipelines.prompt_batch.evaluation.numbers import is_number, numeric
from stagebook_pipelines.prompt_batch.evaluation.overlap import rouge_l

REPEATED = (
    "1", "1,", "1,1", "1 ", "1 1/", "1/", "1.", "1e", "- ", "$-", "%", "answer is ", "answer : ", "####", "\\boxed{1",
    "\\frac{1}{", "(A) ", "A. ", "A. \n", "'B", "((((", "**", "```", "``` ", "```json ", "``` \t", "[", '{"a":', "the ",
    "\u200b", "\ufffd", "\u202e", "\n", " \t", "&lt;", ".,.", "e\u0301",
)  # fmt: skip
READERS: dict[str, Callable[[str], Any]] = {
    "numeric": lambda text: numeric(text, ["3"]),
    "numeric-reference": lambda text: numeric("3", [text]),
    "is-number": is_number,
    "choice": lambda text: choice(text, ["B"], "A. cat\nB. dog"),
    "choice-prompt": lambda text: choice("B", [text], text),
    "exact-match": lambda text: exact_match(text, ["x"]),
    "normalised-match": lambda text: normalised_match(text, ["x"]),
    "token-f1": lambda text: token_f1(text, [text]),
    "rouge-l": lambda text: rouge_l(text, [text]),
    "json-schema": lambda text: json_schema({"type": "object", "additionalProperties": {"uniqueItems": True}})(
        Sample("", text)
    ),
}


@pytest.mark.timeout(60)  # what goes back and forth over such a text takes minutes to ages, and this takes a second
@pytest.mark.parametrize("reader", READERS)
def test_a_long_answer_made_to_be_slow_is_read(reader: str) -> None:
    for piece in REPEATED:
        READERS[reader]((piece * 100_000)[:100_000])


def test_a_deep_or_wide_document_is_no_trouble_for_the_schema() -> None:
    tree = json_schema({"$ref": "#/$defs/tree", "$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}}}})
    assert tree(Sample("", "[" * 900 + "]" * 900)).value == 1.0
    assert tree(Sample("", "[" * 50_000 + "]" * 50_000)).value == 0.0
    unique = json_schema({"uniqueItems": True})
    assert unique(Sample("", "[" + ",".join(f'{{"a":{one}}}' for one in range(20_000)) + "]")).value == 1.0
    greedy = json_schema({"pattern": "^(a+)+$"})
    assert greedy(Sample("", '"' + "a" * 5000 + 'b"')).value == 0.0


def test_lone_surrogates_reach_neither_a_library_nor_the_result() -> None:
    bad = "an \ud800 answer"
    found = evaluate([{"prompt": bad, "response": bad, "success": True, "id": bad}], {bad: bad}, answer_schema=True)
    assert found.metrics["exact_match"].mean == 1.0
    assert found.metrics["bleu"].mean == 1.0
    assert "\ufffd" in found.model_dump_json()


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
WORDS = st.lists(st.sampled_from(["a", "cat", "sat", "on", "12", "B.", "the", "-3.5", "\u043a\u043e\u0442"])).map(
    " ".join
)
ANSWERS = TEXTS | WORDS
COMPARING = [name for name, metric in METRICS.items() if metric.needs is Need.REFERENCES]


@given(answer=ANSWERS, references=st.lists(ANSWERS, max_size=3), prompt=ANSWERS)
def test_every_score_lies_within_its_scale(answer: str, references: list[str], prompt: str) -> None:
    rows = [{"prompt": prompt, "response": answer, "success": True}]
    found = evaluate(rows, {prompt: references}, metrics=COMPARING)
    for score in found.scores:
        worst, best = METRICS[score.metric].scale
        assert score.value is None or worst <= score.value <= best
    for summary in found.metrics.values():
        assert summary.count + summary.unscored == found.count == 1


@given(one=ANSWERS, other=ANSWERS)
def test_what_two_texts_share_does_not_depend_on_which_is_the_answer(one: str, other: str) -> None:
    assert exact_match(one, [other]) == exact_match(other, [one])
    assert normalised_match(one, [other]) == normalised_match(other, [one])
    assert token_f1(one, [other]) == pytest.approx(token_f1(other, [one]))
    forth, back = rouge_l(one, [other]), rouge_l(other, [one])
    assert forth is None or back is None or forth == pytest.approx(back)


@given(text=ANSWERS)
def test_a_text_scores_full_marks_against_itself(text: str) -> None:
    rows = [{"prompt": "p", "response": text, "success": True}]
    found = evaluate(rows, {"p": text}, metrics=COMPARING)
    for score in found.scores:
        assert score.value is None or score.value == pytest.approx(1.0), score


@given(value=st.integers(-(10**30), 10**30))
def test_a_number_is_the_same_however_it_is_written(value: int) -> None:
    assert numeric(f"So the answer is ${value:,}.00!", [str(value)]) == 1.0
    assert numeric(f"#### {value + 1}", [str(value)]) == 0.0
