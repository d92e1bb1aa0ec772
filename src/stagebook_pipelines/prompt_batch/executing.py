"""The operations `execute_batch` and `run_pipeline`: runs of prompt-batch, from Python."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagebook import Endpoint, RunResult, run
from stagebook_pipelines.prompt_batch.endpoint import RequestOptions, called, endpoint_of
from stagebook_pipelines.prompt_batch.models import Batch, Summary
from stagebook_pipelines.prompt_batch.pipeline import pipeline
from stagebook_pipelines.prompt_batch.responses import answered_result, failed_result, response_of
from stagebook_pipelines.prompt_batch.results import BatchResult

if TYPE_CHECKING:
    from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
    from stagebook_pipelines.prompt_batch.models import Answer

CONCURRENCY: Final = 16
_FAILED: Final = re.compile(r"respond\[(?P<item>[^\]]*)\]: (?P<reason>.*)", re.DOTALL)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
"""Halves of characters: nothing that is sent can hold them."""


def execute_batch(
    prompts: Sequence[str],
    *,
    model: str | None = None,
    model_endpoint: str | None = None,
    batch_size: int = 100,
    max_concurrency: int = CONCURRENCY,
    request_options: RequestOptions | Mapping[str, Any] | None = None,
    system: str | None = None,
    ledger: str | Path | None = None,
    reuse: bool = True,
    **settings: Any,
) -> BatchResult:
    """Send prompts to a model, or to an HTTP endpoint of any shape, many at once; a prompt that fails stops no other.

    Every call is recorded. A call that was interrupted and is made again asks only for what is not answered yet.

    Args:
        prompts: What is asked; the same text may stand there twice and is asked twice.
        model: `provider:name`; with an endpoint, what the endpoint calls it.
        model_endpoint: Address of an endpoint that is asked instead of a provider.
        batch_size: How many prompts errors count as one batch; no more than these are asked at once.
        max_concurrency: How many are asked at once. No batch waits for the end of the one before it.
        request_options: How the endpoint is asked: method, headers, body, timeout in milliseconds, answer.
        system: What the model is told before every prompt.
        ledger: Where calls are recorded, as in `stagebook.run`.
        reuse: Take over answers to the very same requests from earlier runs of the ledger.
        settings: More for `stagebook.run`: budget, limits, prices, tags.

    Raises:
        UsageError: A name, an option or a setting cannot be used.
        RunPaused: A budget was reached; what was answered is kept.
    """
    begun = time.monotonic()
    texts = [_SURROGATES.sub("\ufffd", text) for text in prompts]
    ended = _run(
        Batch(prompts=texts, system=system),
        model=model,
        model_endpoint=model_endpoint,
        request_options=request_options,
        concurrency=min(batch_size, max_concurrency),
        until="respond",
        ledger=ledger,
        reuse=reuse,
        **settings,
    )
    asked = model if model_endpoint is None else f"endpoint:{called(model)}"
    result = _in_order(ended, asked, batch_size)
    replaced = [number for number, (one, text) in enumerate(zip(prompts, texts, strict=True), 1) if one != text]
    result.errors += [f"{_place(number, batch_size)}: halves of characters were replaced" for number in replaced]
    result.total_duration_ms = round((time.monotonic() - begun) * 1000)
    return result


def run_pipeline(
    *,
    model: str | None = None,
    model_endpoint: str | None = None,
    request_options: RequestOptions | Mapping[str, Any] | None = None,
    max_concurrency: int = CONCURRENCY,
    ledger: str | Path | None = None,
    reuse: bool = True,
    settings: Mapping[str, Any] | None = None,
    **batch: Any,
) -> Summary:
    """Extract, ask, store, evaluate, and tell a webhook: what `stagebook run prompt-batch` does.

    ```python
    from stagebook_pipelines.prompt_batch import run_pipeline

    run_pipeline(source="archives/", model="openai:gpt-4.1-mini", store="results.db", references="right.jsonl")
    ```

    Args:
        model: As in `execute_batch`.
        model_endpoint: As in `execute_batch`.
        request_options: As in `execute_batch`.
        max_concurrency: How many prompts are asked at once.
        ledger: Where all of it is recorded, as in `stagebook.run`.
        reuse: Take over answers to the very same requests from earlier runs of the ledger.
        settings: More for `stagebook.run`: budget, limits, prices, tags.
        batch: Fields of the pipeline's input (`stagebook_pipelines.prompt_batch.Batch`): source or prompts, pattern,
            max_prompts, unique, store, table, experiment_name, tags, references, metrics, webhook, webhook_secret, ...

    Raises:
        ValidationError: A field of the input cannot be used.
        UsageError: A name, an option or a setting cannot be used.
        RunFailed: A stage failed for good: the store cannot be written, the webhook cannot be told. All that was paid
            for is kept.
        RunPaused: A budget was reached.
    """
    ended = _run(
        Batch.model_validate(batch),
        model=model,
        model_endpoint=model_endpoint,
        request_options=request_options,
        concurrency=max_concurrency,
        ledger=ledger,
        reuse=reuse,
        **(settings or {}),
    )
    found: Summary = ended[Summary]
    return found


def _run(
    given: Batch,
    *,
    model: str | None,
    model_endpoint: str | None,
    request_options: RequestOptions | Mapping[str, Any] | None,
    **settings: Any,
) -> RunResult:
    """Run the pipeline, on an endpoint where one is named.

    Raises:
        ValueError: Options are given, and no endpoint that they are for.
    """
    endpoints: dict[str, Endpoint] = {}
    if model_endpoint is not None:
        endpoints = {called(model): endpoint_of(model_endpoint, request_options, model)}
        model = f"endpoint:{called(model)}"
    elif request_options is not None:
        raise ValueError("request_options say how an endpoint is asked; name it by model_endpoint")
    return run(pipeline, given, model=model, endpoints=endpoints, **settings)


def _in_order(ended: RunResult, asked: str | None, batch_size: int) -> BatchResult:
    """Put responses into the order of their prompts.

    Args:
        ended: The run.
        asked: The model that was chosen for it.
        batch_size: Prompts that count as one batch.
    """
    reasons = {}
    for told in ended.errors:
        match = _FAILED.fullmatch(told)
        if match is not None:
            reasons[match["item"].rpartition("/")[2]] = match["reason"]
    prompts: list[ExtractedPrompt] = ended.get("extract-prompts") or []
    answers: list[Answer] = ended.get("respond") or []
    left = iter(answers)
    found = {}
    for prompt in prompts:  # outputs of both stages come in the order of the items
        reason = reasons.get(prompt.key)
        result = answered_result(prompt, next(left)) if reason is None else failed_result(prompt, reason, asked)
        found[prompt.index] = response_of(result)
    responses = [found[index] for index in sorted(found)]
    errors = [
        f"{_place(number, batch_size)}: {one.error}" for number, one in enumerate(responses, 1) if not one.success
    ]
    return BatchResult(
        responses=responses,
        total=len(responses),
        successful=len(answers),
        failed=len(responses) - len(answers),
        total_duration_ms=0,
        errors=errors,
        run_id=ended.run_id,
    )


def _place(number: int, batch_size: int) -> str:
    return f"batch {(number - 1) // batch_size + 1}, prompt {number}"
