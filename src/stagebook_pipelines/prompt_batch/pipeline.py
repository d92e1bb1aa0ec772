"""Extract prompts from archives, send them to a model, store and evaluate the answers."""

# ruff: noqa: ARG001  a prompt's parameters are read by its template

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from stagebook import Door, From, Llm, Outcome, Pipeline, Rows, Skip, Warn
from stagebook_pipelines.prompt_batch.archives.export import destination, exported
from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
from stagebook_pipelines.prompt_batch.evaluation.evaluating import evaluate_rows
from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation
from stagebook_pipelines.prompt_batch.evaluation.references import read_references
from stagebook_pipelines.prompt_batch.evaluation.rows import ResponseRow
from stagebook_pipelines.prompt_batch.files import prompts_of, wanted_files
from stagebook_pipelines.prompt_batch.models import Answer, Batch, BatchFile, Exported, Notified, Preparation, Summary
from stagebook_pipelines.prompt_batch.preparing import heading_of, see_to
from stagebook_pipelines.prompt_batch.responses import failures, record_key, results
from stagebook_pipelines.prompt_batch.results import Stored
from stagebook_pipelines.prompt_batch.storing.address import open_store
from stagebook_pipelines.prompt_batch.storing.chunks import Chunks
from stagebook_pipelines.prompt_batch.storing.store import StoreError
from stagebook_pipelines.prompt_batch.summing import summed
from stagebook_pipelines.prompt_batch.webhook import secret_of, signed

Failures = Annotated[list[Outcome], From("respond")]
"""What became of prompts that were not simply answered."""

pipeline = Pipeline("prompt-batch", input=Batch, model="openai:gpt-4.1-mini")


@pipeline.stage()
def preparation(given: Batch, warn: Warn) -> Preparation:
    """See to everything that is named before anything is paid for: table, references, metrics, webhook."""
    for problem in see_to(given, os.environ):
        warn(problem)
    return Preparation(system=given.system or "")


@pipeline.stage()
def archive_files(given: Batch, ready: Preparation, warn: Warn) -> Iterator[BatchFile]:
    """List the files of the source, and say how many prompts each may give."""
    found = False
    for file in wanted_files(given):
        found = True
        yield file
    if not found:
        warn(f"no file of {given.source} is called {given.pattern}, so there are no prompts")


@pipeline.stage(each=BatchFile, on_error="collect")
def extract_prompts(file: BatchFile, given: Batch, warn: Warn) -> Iterator[ExtractedPrompt]:
    """Read the prompts of a file, whatever its shape; what cannot be read is told and stops nothing else."""
    return prompts_of(file, given, warn)


@pipeline.stage()
def export_prompts(given: Batch, files: list[BatchFile]) -> Exported | Skip:
    """Write the prompts to a file, whole or not at all; read once more, so that nobody waits for it who needs none."""
    goes_to = destination(given.export, given.export_path)
    if goes_to is None:
        return Skip("no export is asked for")
    count = 0
    with exported(*goes_to) as export:
        for file in files:
            for prompt in prompts_of(file, given, _told_elsewhere, whole=False):
                export.write(prompt)
                count += 1
    return Exported(path=str(goes_to[0].absolute()), prompts=count)


def _told_elsewhere(_problem: str) -> None:
    """What cannot be read is told where prompts are extracted."""


@pipeline.prompt(
    each=ExtractedPrompt,
    on_error="collect",
    returns=Answer,
    text="## system\n{{ ready.system }}\n\n## user\n{{ prompt.text }}\n",
)
def respond(prompt: ExtractedPrompt, ready: Preparation) -> None:
    """Send a prompt to the model."""


@pipeline.stage()
async def store_results(
    given: Batch, prompts: Rows[ExtractedPrompt], answers: Rows[Answer], outcomes: Failures, warn: Warn
) -> Stored | Skip:
    """Store every result in the table or file that is named, in chunks; none twice."""
    if given.store is None:
        return Skip("no store is named, so results stay in the ledger")
    heading = heading_of(given)
    place = await asyncio.to_thread(open_store, given.store, given.table, heading, os.environ)
    chunks = Chunks(place, heading)
    try:
        async for item, result in results(prompts, answers, failures(outcomes, "respond")):
            key = record_key(item, result, given.experiment_name, given.system or "")
            chunks.add(result._replace(known_by=key))
            if chunks.full:
                await asyncio.to_thread(chunks.keep)
        account = await asyncio.to_thread(chunks.end)
    finally:
        await asyncio.to_thread(chunks.close)
    if chunks.refused_chunks:
        raise StoreError(
            f"{account.failed} results could not be stored, {account.stored} could: {account.errors[0]};"
            " see to it and resume: nothing is stored or paid for twice"
        )
    for problem in (*account.errors, *account.warnings):
        warn(problem)
    return account


@pipeline.stage()
async def evaluate(
    given: Batch,
    prompts: Rows[ExtractedPrompt],
    answers: Rows[Answer],
    outcomes: Failures,
    llm: Llm,
    door: Door,
) -> Evaluation | Skip:
    """Score the answers against the right ones that are known, by a schema, or by a judge."""
    known = read_references(given.references)
    named = read_references(given.references)
    own: dict[str, list[str]] = {}  # one question may have another answer in another file
    async for item, prompt in prompts.items():
        right = prompt.references or ([prompt.reference] if prompt.reference else [])
        if right:
            own[item] = [*right, *named.of(prompt.text)]
            known.add(prompt.text, right)
    if not len(known) and not given.metrics and not given.asks and given.answer_schema is None:
        return Skip("there are no right answers, and nothing else to measure by is named")

    async def rows() -> AsyncIterator[ResponseRow]:
        async for item, result in results(prompts, answers, failures(outcomes, "respond")):
            yield {
                "key": item,
                "prompt": result.prompt,
                "response": result.response,
                "success": result.success,
                "error": result.error,
                "experiment_name": given.experiment_name,
                "references": own.get(item),
            }

    return await evaluate_rows(rows(), known.by_prompt(), given, llm=llm, door=door)


@pipeline.stage()
async def summary(
    files: Rows[BatchFile],
    prompts: Rows[ExtractedPrompt],
    answers: Rows[Answer],
    outcomes: Annotated[list[Outcome], From("archive-files", "extract-prompts", "respond")],
    stored: Stored | None,
    evaluation: Evaluation | None,
) -> Summary:
    """Put everything into one."""
    return await summed(prompts, answers, outcomes, len(files), stored, evaluation)


@pipeline.stage()
async def notify(summary: Summary, given: Batch, door: Door) -> Notified | Skip:
    """Tell the webhook, once: the message is named by what it says, so that a second delivery is known as one."""
    if given.webhook is None:
        return Skip("no webhook is named")
    import orjson  # noqa: PLC0415  as the door writes it

    document = {
        "type": "prompt-batch.completed",
        "timestamp": summary.finished_at.isoformat(),
        "data": summary.model_dump(mode="json"),
    }
    secret = secret_of(given.webhook_secret or "", os.environ)
    headers = signed(orjson.dumps(document), int(time.time()), secret)
    answer = await door.post(given.webhook, json=document, headers=headers, named=True)
    return Notified(id=headers["webhook-id"], status=answer.status)
