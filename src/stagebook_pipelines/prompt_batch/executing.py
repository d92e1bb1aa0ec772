"""The operations `execute_batch` and `run_pipeline`: runs of prompt-batch, from Python."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagebook import Endpoint, Outcome, RunResult, run
from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt, Extraction
from stagebook_pipelines.prompt_batch.endpoint import RequestOptions, called, endpoint_of
from stagebook_pipelines.prompt_batch.given_prompts import INLINE, lay_down, read_given
from stagebook_pipelines.prompt_batch.models import Batch, Summary
from stagebook_pipelines.prompt_batch.pipeline import pipeline
from stagebook_pipelines.prompt_batch.problem import BatchError
from stagebook_pipelines.prompt_batch.responses import (
    answered_result,
    failed_result,
    place_of,
    record_key,
    response_of,
)
from stagebook_pipelines.prompt_batch.results import BatchResult, Response

if TYPE_CHECKING:
    from stagebook_pipelines.prompt_batch.models import Answer

CONCURRENCY: Final = 16


def execute_batch(
    prompts: Iterable[str | ExtractedPrompt] | Extraction,
    *,
    model: str | None = None,
    model_endpoint: str | None = None,
    batch_size: int = 100,
    max_concurrency: int = CONCURRENCY,
    request_options: RequestOptions | Mapping[str, Any] | None = None,
    system: str | None = None,
    ledger: str | Path | None = None,
    reuse: bool = False,
    **settings: Any,
) -> BatchResult:
    """Send prompts to a model, or to an HTTP endpoint of any shape, many at once; a prompt that fails stops no other.

    Every call is recorded. A call that was interrupted (its process killed, a budget reached) and is made again goes on
    where it stopped and pays for nothing twice, but for what was in flight. A call that came to its end and is made
    again asks anew, unless `reuse` is set.

    The prompts are laid down in a file beside the ledger, in its folder `prompts`, where an interrupted run finds them.

    Args:
        prompts: What is asked: texts, or what `extract_prompts` found, whose file and index the metadata then tells;
            the same text may stand there twice and is asked twice.
        model: `provider:name`; with an endpoint, what the endpoint calls it.
        model_endpoint: Address of an endpoint that is asked instead of a provider.
        batch_size: How many prompts errors count as one batch; no more than these are asked at once.
        max_concurrency: How many are asked at once. No batch waits for the end of the one before it.
        request_options: How the endpoint is asked: method, headers, body, timeout in milliseconds, answer.
        system: What the model is told before every prompt.
        ledger: Where calls are recorded, as in `stagebook.run`.
        reuse: Take over answers to the very same requests from earlier runs of the ledger; `metadata` then says
            `reused`.
        settings: More for `stagebook.run`: budget, limits, prices, tags.

    Returns:
        A response for every prompt, in their order. `metadata.record_key` says by what it is known: stored by
        `store_results`, a prompt that failed and is answered by a later call has one row.

    Raises:
        BatchError: The prompts are of another type, or nobody is named who could be asked.
        UsageError: A name, an option or a setting cannot be used.
        RunPaused: A budget was reached; what was answered is kept.
    """
    begun = time.monotonic()
    if model is None and model_endpoint is None:
        raise BatchError("nobody is named who is asked; give model='provider:name', or model_endpoint='https://...'")
    given = prompts.prompts if isinstance(prompts, Extraction) else prompts
    originals = given if isinstance(given, str | bytes) or not isinstance(given, Iterable) else list(given)
    laid = read_given(originals)
    ended = _run(
        Batch(prompts_file=lay_down(laid, ledger), system=system),
        model=model,
        model_endpoint=model_endpoint,
        request_options=request_options,
        concurrency=min(batch_size, max_concurrency),
        until="respond",
        ledger=ledger,
        reuse=reuse,
        **settings,
    )
    result = _in_order(ended, laid, system or "", batch_size)
    for number, (one, original) in enumerate(zip(laid, originals, strict=True)):
        if one.text != (original.text if isinstance(original, ExtractedPrompt) else original):
            result.errors.append(f"{_place(one, number, batch_size)}: halves of characters were replaced")
    result.total_duration_ms = round((time.monotonic() - begun) * 1000)
    return result


def run_pipeline(
    *,
    model: str | None = None,
    model_endpoint: str | None = None,
    request_options: RequestOptions | Mapping[str, Any] | None = None,
    max_concurrency: int = CONCURRENCY,
    ledger: str | Path | None = None,
    reuse: bool = False,
    settings: Mapping[str, Any] | None = None,
    **batch: Any,
) -> Summary:
    """Extract, ask, store, evaluate, and tell a webhook: what `stagebook run prompt-batch` does.

    A call that was interrupted, or whose run failed for good, goes on where it stopped when it is made again: with the
    files that it had found. A call that came to its end and is made again is a new run.

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
    if (prompts := batch.pop("prompts", None)) is not None:
        batch["prompts_file"] = lay_down(read_given(prompts), ledger)
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
        name = called(model, model_endpoint)
        endpoints = {name: endpoint_of(model_endpoint, request_options, model)}
        model = f"endpoint:{name}"
    elif request_options is not None:
        raise ValueError("request_options say how an endpoint is asked; name it by model_endpoint")
    return run(pipeline, given, model=model, endpoints=endpoints, go_on=True, **settings)


def _in_order(ended: RunResult, laid: list[ExtractedPrompt], system: str, batch_size: int) -> BatchResult:
    """Put responses into the order of their prompts.

    Args:
        ended: The run.
        laid: What was asked.
        system: What the model was told before.
        batch_size: Prompts that count as one batch.
    """
    failed = {one.item.rpartition("/")[2]: one for one in ended.outcomes("respond") if one.status != "completed"}
    prompts: list[ExtractedPrompt] = ended.get("extract-prompts") or []
    answers: list[Answer] = ended.get("respond") or []
    answered = (one.key for one in prompts if one.key not in failed)  # both stages' outputs come in the items' order
    found = dict(zip(answered, answers, strict=True))
    responses = [_response(one, found.get(one.key), failed.get(one.key), system) for one in laid]
    errors = [
        f"{_place(prompt, number, batch_size)}: {one.error}"
        for number, (prompt, one) in enumerate(zip(laid, responses, strict=True))
        if not one.success
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


def _response(prompt: ExtractedPrompt, answer: "Answer | None", failed: Outcome | None, system: str) -> Response:
    result = failed_result(prompt, failed) if answer is None else answered_result(prompt, answer)
    key = record_key(f"{INLINE}/{prompt.key}", result, None, system)
    return response_of(result._replace(known_by=key))


def _place(prompt: ExtractedPrompt, number: int, batch_size: int) -> str:
    """Name a prompt in an error."""
    return f"{place_of(prompt)}, batch {number // batch_size + 1}"
