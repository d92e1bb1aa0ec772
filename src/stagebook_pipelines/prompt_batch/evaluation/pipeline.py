"""A pipeline of one stage that evaluates: for evaluations from Python that ask a model."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from pydantic import BaseModel

from stagebook import Door, Llm, Pipeline, run
from stagebook_pipelines.prompt_batch.evaluation.evaluating import evaluate_rows
from stagebook_pipelines.prompt_batch.evaluation.measures import Measures
from stagebook_pipelines.prompt_batch.evaluation.metric import Need
from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation
from stagebook_pipelines.prompt_batch.evaluation.references import Given, read_references
from stagebook_pipelines.prompt_batch.evaluation.rows import ResponseRow, read_row


class Answered(BaseModel):
    """One response, as far as an evaluation reads it."""

    key: str
    prompt: str
    response: str | None
    """Null where the call failed."""
    experiment_name: str | None = None


class Responses(BaseModel):
    """What is evaluated."""

    responses: list[Answered]
    references: dict[str, list[str]] = {}
    """Right answers, by prompt."""
    unread: list[str] = []
    """What could not be read, and why."""
    measures: Measures = Measures()


evaluation = Pipeline("evaluation", input=Responses)


@evaluation.stage()
async def judged(given: Responses, llm: Llm, door: Door) -> Evaluation:
    """Score all responses; a model judges, or makes vectors."""
    return await _evaluated(given, llm, door)


compared = Pipeline("evaluation-by-vectors", input=Responses)


@compared.stage()
async def scored(given: Responses, door: Door) -> Evaluation:
    """Score all responses; no model is asked but the one that makes vectors."""
    return await _evaluated(given, None, door)


async def _evaluated(given: Responses, llm: Llm | None, door: Door) -> Evaluation:
    async def rows() -> AsyncIterator[ResponseRow]:
        for response in given.responses:
            yield response

    found = await evaluate_rows(rows(), given.references, given.measures, llm=llm, door=door)
    return found.model_copy(update={"errors": [*given.unread, *found.errors]})


def evaluate_in_run(
    rows: Iterable[ResponseRow], references: Given, measures: Measures, ledger: str | Path | None
) -> Evaluation:
    """Run the pipeline over responses, which its input holds; see `evaluate`."""
    known = read_references(references)
    responses, unread = [], list(known.errors)
    for number, given in enumerate(rows, 1):
        try:
            row = read_row(given)
        except ValueError as error:
            unread.append(f"response {number}: {error}")
            continue
        responses.append(Answered(key=row.key, prompt=row.prompt, response=row.answer, experiment_name=row.experiment))
    whole = Responses(responses=responses, references=known.by_prompt(), unread=unread, measures=measures)
    asks_judge = measures.wants(Need.JUDGE)
    ended = run(
        evaluation if asks_judge else compared,
        whole,
        model=measures.judge_model if asks_judge else None,
        ledger=ledger,
    )
    found: Evaluation = ended[Evaluation]
    return found
