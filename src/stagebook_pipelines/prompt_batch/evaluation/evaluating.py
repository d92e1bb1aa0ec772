"""`evaluate`: scores responses, from a stage of a pipeline or from Python."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from stagebook import Door, Llm
from stagebook_pipelines.prompt_batch.evaluation.evaluator import Evaluator
from stagebook_pipelines.prompt_batch.evaluation.measures import Measures
from stagebook_pipelines.prompt_batch.evaluation.metric import Means
from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation
from stagebook_pipelines.prompt_batch.evaluation.references import Given, read_references
from stagebook_pipelines.prompt_batch.evaluation.registry import chosen_metrics
from stagebook_pipelines.prompt_batch.evaluation.rows import ResponseRow
from stagebook_pipelines.prompt_batch.evaluation.stored import stored_rows
from stagebook_pipelines.prompt_batch.storing.address import TABLE

T = TypeVar("T")

_AT_ONCE: Final = 64
"""Responses that are in memory, and verdicts that are asked for, at once."""


async def evaluate_rows(
    rows: AsyncIterable[ResponseRow],
    references: Given = None,
    measures: Measures | None = None,
    *,
    llm: Llm | None = None,
    door: Door | None = None,
) -> Evaluation:
    """Score responses as they are read: what a stage of a pipeline calls, with its own `llm` and `door`.

    Only sums and scores are held in memory. Every verdict and every vector is recorded, so that a resumed stage asks
    for none twice.

    Args:
        rows: Responses with `prompt`, `response`, `success` and `error`: mappings or models.
        references: Prompt -> right answer or answers, or a file of JSON lines.
        measures: What is measured.
        llm: Who judges.
        door: Through which vectors are asked for.

    Raises:
        ValueError: A file or a setting cannot be used.
    """
    chosen = measures or Measures()
    evaluator = await asyncio.to_thread(_evaluator, references, chosen, chosen.means(llm, door))
    async for batch in _batched(rows):
        cases = await asyncio.to_thread(evaluator.score, batch)
        await evaluator.ask(cases)
        evaluator.count(cases)
    return await asyncio.to_thread(evaluator.evaluation)


def evaluate(
    results: Iterable[ResponseRow] | str | Path,
    references: Given = None,
    metrics: list[str] | None = None,
    *,
    table: str = TABLE,
    ledger: str | Path | None = None,
    budget: Decimal | float | str | None = None,
    **measures: Any,
) -> Evaluation:
    """Score stored responses.

    Metrics that compute do so at once. Those that ask a model (`judge`, `embedding_similarity`) do so in a run of a
    small pipeline, so that every call is recorded.

    Args:
        results: Responses with `prompt`, `response`, `success` and `error`: mappings or models; or where they are
            stored: a database of SQLite, Parquet, a file of JSON lines, `postgresql://...`, or `env:NAME` for a
            variable that holds one.
        references: Prompt -> right answer or answers, or a file of JSON lines.
        metrics: Names of metrics; by default all that what is there allows (see `chosen_metrics`).
        table: The table of a database in which they are stored.
        ledger: Where a run is recorded, as in `stagebook.run`.
        budget: Dollars that a run may cost; before a verdict that could pass them it pauses.
        measures: The other fields of `Measures`, such as `answer_schema`, `rubric`, `judge_model`, `embedding_model`.

    Raises:
        ValueError: A file or a setting cannot be used.
        RunFailed: The run failed, such as for a judge that nobody named.
        RunPaused: Its budget was reached; `stagebook.resume` goes on with a higher one.
    """
    chosen = Measures(metrics=metrics, **measures)
    rows = stored_rows(results, table) if isinstance(results, str | Path) else results
    if chosen.asks:
        from stagebook_pipelines.prompt_batch.evaluation.pipeline import evaluate_in_run  # noqa: PLC0415  needed here only

        return evaluate_in_run(rows, references, chosen, ledger=ledger, budget=budget)
    evaluator = _evaluator(references, chosen, chosen.means())
    remaining = iter(rows)
    while batch := list(islice(remaining, _AT_ONCE)):
        evaluator.count(evaluator.score(batch))
    return evaluator.evaluation()


def _evaluator(references: Given, measures: Measures, means: Means) -> Evaluator:
    known = read_references(references)
    return Evaluator(
        chosen_metrics(measures.metrics, known, means),
        known,
        means,
        failed=measures.failed,
        keep_scores=measures.keep_scores,
    )


async def _batched(rows: AsyncIterable[T]) -> AsyncIterator[list[T]]:
    batch: list[T] = []
    async for row in rows:
        batch.append(row)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
