"""All metrics, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from stagebook_pipelines.prompt_batch.evaluation.bleu import bleu_counted
from stagebook_pipelines.prompt_batch.evaluation.choice import choice, is_option
from stagebook_pipelines.prompt_batch.evaluation.embedding import embedding_similarity
from stagebook_pipelines.prompt_batch.evaluation.json_validity import json_schema
from stagebook_pipelines.prompt_batch.evaluation.judge import judged
from stagebook_pipelines.prompt_batch.evaluation.matching import exact_match, normalised_match, token_f1
from stagebook_pipelines.prompt_batch.evaluation.metric import (
    AskingScorer,
    Means,
    Metric,
    Need,
    PureScorer,
    Scored,
)
from stagebook_pipelines.prompt_batch.evaluation.numbers import is_number, numeric
from stagebook_pipelines.prompt_batch.evaluation.overlap import rouge_l
from stagebook_pipelines.prompt_batch.evaluation.references import References

Against = Callable[[str, Sequence[str]], float | None]
"""Scores an answer against its references."""


def _alike(score: Against) -> Callable[[Means], PureScorer]:
    def make(_means: Means) -> PureScorer:
        return lambda sample: Scored(score(sample.answer, sample.references))

    return make


def _choice(_means: Means) -> PureScorer:
    return lambda sample: Scored(choice(sample.answer, sample.references, sample.prompt))


def _bleu(_means: Means) -> PureScorer:
    return lambda sample: bleu_counted(sample.answer, sample.references)


def _json_schema(means: Means) -> PureScorer:
    if means.schema is None:
        raise ValueError("the metric json_schema needs schema=")
    return json_schema(means.schema)


def _embedding(means: Means) -> AskingScorer:
    if means.embedder is None:
        raise ValueError("the metric embedding_similarity needs embedder=")
    return embedding_similarity(means.embedder)


def _judge(means: Means) -> AskingScorer:
    if means.judge is None:
        raise ValueError("the metric judge needs judge=")
    return judged(means.judge, means.judge_scale[0])


_ALL: Final = (
    Metric(
        "exact_match",
        "The answer is a reference, character for character.",
        Need.REFERENCES,
        pure=_alike(exact_match),
        binary=True,
    ),
    Metric(
        "normalised_match",
        "The answer is a reference, without case, punctuation and articles (SQuAD's exact match).",
        Need.REFERENCES,
        pure=_alike(normalised_match),
        binary=True,
    ),
    Metric(
        "numeric",
        "The answer's final number is the reference's (GSM8K).",
        Need.REFERENCES,
        pure=_alike(numeric),
        binary=True,
    ),
    Metric("choice", "The answer chooses the reference's letter (MMLU).", Need.REFERENCES, pure=_choice, binary=True),
    Metric("token_f1", "Words shared with the reference (SQuAD's F1).", Need.REFERENCES, pure=_alike(token_f1)),
    Metric(
        "rouge_l",
        "Words in the same order as in the reference (ROUGE-L, F).",
        Need.REFERENCES,
        pure=_alike(rouge_l),
        packages=("rapidfuzz",),
    ),
    Metric(
        "bleu",
        "N-grams shared with the references (sacreBLEU, 0 to 1).",
        Need.REFERENCES,
        pure=_bleu,
        packages=("sacrebleu", "numpy"),
    ),
    Metric(
        "json_schema",
        "The answer is JSON that the schema allows (draft 2020-12).",
        Need.SCHEMA,
        pure=_json_schema,
        binary=True,
        packages=("jsonschema_rs",),
    ),
    Metric(
        "embedding_similarity",
        "Cosine between the vectors of answer and reference.",
        Need.EMBEDDER,
        asking=_embedding,
        scale=(-1.0, 1.0),
    ),
    Metric("judge", "A model's score by a rubric, on the rubric's own scale.", Need.JUDGE, asking=_judge),
)

METRICS: Final[Mapping[str, Metric]] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Name -> metric."""


def chosen_metrics(names: Sequence[str] | None, references: References, means: Means) -> list[Metric]:
    """Find the metrics that are asked for, or those that what is there allows.

    Without names: with references, `exact_match`, `normalised_match`, `token_f1`, `rouge_l` and `bleu`, also `numeric`
    where every prompt's right answer is a number, and `choice` where every one is the letter of an option (`C` or
    `C. text`); `json_schema` with a schema; `embedding_similarity` with an embedder; `judge` with a judge.

    Args:
        names: What is asked for, in this order.
        references: Right answers.
        means: What else there is.

    Raises:
        ValueError: A name is unknown, or a package that a metric needs is not installed.
    """
    if names is None:
        names = _fitting(references, means)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"no metric is called {unknown[0]!r}; there are {', '.join(METRICS)}")
    found = []
    for name in dict.fromkeys(names):
        metric = METRICS[name]
        metric.check_installed()
        if metric.needs is Need.JUDGE:
            worst, best = means.judge_scale
            metric = replace(metric, scale=(float(worst), float(best)), binary=(worst, best) == (0, 1))
        found.append(metric)
    return found


def _fitting(references: References, means: Means) -> list[str]:
    names: list[str] = []
    if len(references):
        names += ["exact_match", "normalised_match", "token_f1", "rouge_l", "bleu"]
        if all(any(map(is_number, right)) for right in references.all()):
            names.append("numeric")
        if all(any(map(is_option, right)) for right in references.all()):
            names.append("choice")
    names += ["json_schema"] if means.schema is not None else []
    names += ["embedding_similarity"] if means.embedder is not None else []
    names += ["judge"] if means.judge is not None else []
    return names
