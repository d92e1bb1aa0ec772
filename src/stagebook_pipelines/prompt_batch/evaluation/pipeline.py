"""A pipeline that evaluates and then tidies up: for evaluations from Python that ask a model."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

import orjson
from pydantic import BaseModel

from stagebook import Door, Llm, Pipeline, RunFailed, RunInterrupted, run
from stagebook_pipelines.prompt_batch.evaluation.evaluating import evaluate_rows
from stagebook_pipelines.prompt_batch.evaluation.measures import Measures
from stagebook_pipelines.prompt_batch.evaluation.metric import Need
from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation
from stagebook_pipelines.prompt_batch.evaluation.references import Given, read_references
from stagebook_pipelines.prompt_batch.evaluation.rows import ResponseRow, read_row
from stagebook_pipelines.prompt_batch.evaluation.stored import rows_of

_PREFIX: Final = "stagebook-evaluation-"
_RESPONSES: Final = "responses.jsonl"
_REFERENCES: Final = "references.jsonl"


class Responses(BaseModel):
    """What is evaluated."""

    folder: str
    """Where the responses and the right answers lie as JSON lines, until the run is done."""
    unread: list[str] = []
    """What could not be read, and why."""
    measures: Measures = Measures()
    """What is measured."""


class Tidied(BaseModel):
    """What was removed."""

    folder: str
    """The folder with the responses, which nothing reads any more."""


evaluation = Pipeline("evaluation", input=Responses)


@evaluation.stage()
async def judged(given: Responses, llm: Llm, door: Door) -> Evaluation:
    """Score all responses; a model judges, or makes vectors."""
    return await _evaluated(given, llm, door)


@evaluation.stage()
def tidied(given: Responses, done: Evaluation) -> Tidied:  # noqa: ARG001  it comes after the evaluation is kept
    """Remove the folder, also where a paused run was resumed by somebody else."""
    return _tidied(given)


compared = Pipeline("evaluation-by-vectors", input=Responses)


@compared.stage()
async def scored(given: Responses, door: Door) -> Evaluation:
    """Score all responses; no model is asked but the one that makes vectors."""
    return await _evaluated(given, None, door)


@compared.stage()
def cleared(given: Responses, done: Evaluation) -> Tidied:  # noqa: ARG001  as above
    """Remove the folder, also where a run that was interrupted was resumed by somebody else."""
    return _tidied(given)


def _tidied(given: Responses) -> Tidied:
    if Path(given.folder).name.startswith(_PREFIX):  # none but ours, whatever an input says
        shutil.rmtree(given.folder, ignore_errors=True)
    return Tidied(folder=given.folder)


async def _evaluated(given: Responses, llm: Llm | None, door: Door) -> Evaluation:
    folder = Path(given.folder)

    async def rows() -> AsyncIterator[ResponseRow]:
        for response in rows_of(folder / _RESPONSES):
            yield response

    found = await evaluate_rows(rows(), folder / _REFERENCES, given.measures, llm=llm, door=door)
    return found.model_copy(update={"errors": [*given.unread, *found.errors]})


def evaluate_in_run(
    rows: Iterable[ResponseRow],
    references: Given,
    measures: Measures,
    *,
    ledger: str | Path | None,
    budget: Decimal | float | str | None,
) -> Evaluation:
    """Run the pipeline over responses; see `evaluate`.

    They are laid down in a folder for temporary files, not in the run's input: they may be many, and what looks like a
    key in one of them is no reason to refuse them all. The folder goes when the run is done, resumed or not; a paused
    run that nobody resumes keeps it.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        unread = [*_lay_down(rows, folder / _RESPONSES), *_lay_down_references(references, folder / _REFERENCES)]
        asks_judge = measures.wants(Need.JUDGE)
        ended = run(
            evaluation if asks_judge else compared,
            Responses(folder=str(folder), unread=unread, measures=measures),
            model=measures.judge_model if asks_judge else None,
            ledger=ledger,
            budget=budget,
        )
    except (RunFailed, RunInterrupted):
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    found: Evaluation = ended[Evaluation]
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _lay_down(rows: Iterable[ResponseRow], path: Path) -> list[str]:
    """Write responses as JSON lines; returns what could not be read."""
    unread: list[str] = []
    with path.open("wb") as file:
        for number, given in enumerate(rows, 1):
            try:
                row = read_row(given)
            except ValueError as error:
                unread.append(f"response {number}: {error}")
                continue
            line = {
                "key": row.key,
                "prompt": row.prompt,
                "response": row.answer,
                "experiment_name": row.experiment,
                "references": list(row.references),
            }
            file.write(orjson.dumps(line) + b"\n")
    return unread


def _lay_down_references(references: Given, path: Path) -> list[str]:
    known = read_references(references)
    with path.open("wb") as file:
        for prompt, right in known.by_prompt().items():
            file.write(orjson.dumps({"prompt": prompt, "references": right}) + b"\n")
    return known.errors
