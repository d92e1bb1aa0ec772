"""Extract prompts from archives, send them to a model, store and evaluate the answers.

A draft of the declaration: what its computing stages do is not written yet.
"""

from collections.abc import AsyncIterator, Iterator

from batch_models import (
    ArchiveFile,
    Batch,
    Evaluation,
    ExtractedPrompt,
    Extraction,
    FileReport,
    Notified,
    Response,
    Stored,
    Summary,
)

from stagebook import Children, Door, Llm, Pipeline, Rows, Skip

batch = Pipeline("prompt-batch", input=Batch, model="openai:gpt-4.1-nano")


@batch.stage
async def archive_files(given: Batch, door: Door) -> AsyncIterator[ArchiveFile]: ...


@batch.stage(each=ArchiveFile, on_error="collect")
def extract_prompts(file: ArchiveFile, given: Batch) -> Iterator[ExtractedPrompt]: ...


@batch.stage(each=ExtractedPrompt, on_error="collect", concurrency=64)
async def respond(prompt: ExtractedPrompt, file: ArchiveFile, given: Batch, llm: Llm) -> Response: ...


@batch.stage(each=ArchiveFile)
def file_report(file: ArchiveFile, prompts: Children[ExtractedPrompt], responses: Children[Response]) -> FileReport: ...


@batch.stage
def extraction(reports: list[FileReport]) -> Extraction: ...


@batch.stage
async def store_results(responses: Rows[Response], given: Batch) -> Stored | Skip: ...


@batch.stage
async def evaluate(responses: Rows[Response], given: Batch) -> Evaluation | Skip: ...


@batch.stage
async def summary(
    responses: Rows[Response], extraction: Extraction, stored: Stored | None, evaluation: Evaluation | None
) -> Summary: ...


@batch.stage
async def notify(summary: Summary, given: Batch, door: Door) -> Notified | Skip: ...
