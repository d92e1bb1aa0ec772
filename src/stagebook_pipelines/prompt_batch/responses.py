"""Prompts, answers and failures put together again: one result for every prompt, in order, one at a time."""

from collections.abc import AsyncIterator, Mapping, Sequence

from stagebook import Outcome, Rows
from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
from stagebook_pipelines.prompt_batch.models import Answer
from stagebook_pipelines.prompt_batch.results import Response, ResponseMetadata
from stagebook_pipelines.prompt_batch.storing.record import KEY, Result, key_of

NEVER_ASKED = "it was not asked"


def failures(outcomes: Sequence[Outcome], stage: str) -> dict[str, Outcome]:
    """Give the steps of a stage that have no output, by item."""
    return {one.item: one for one in outcomes if one.stage == stage and one.status != "completed"}


async def results(
    prompts: Rows[ExtractedPrompt], answers: Rows[Answer], failed: Mapping[str, Outcome]
) -> AsyncIterator[tuple[str, Result]]:
    """Put a result together for every prompt.

    Args:
        prompts: All of them.
        answers: Of those that were answered.
        failed: Why others were not, by item.

    Yields:
        The item's key, and what became of it.
    """
    async for item, prompt in prompts.items():
        told = failed.get(item)
        if told is not None:
            yield item, failed_result(prompt, told)
            continue
        answer = await answers.get(item)
        yield item, failed_result(prompt, None) if answer is None else answered_result(prompt, answer)


def answered_result(prompt: ExtractedPrompt, answer: Answer) -> Result:
    """Put the result of a prompt together that was answered."""
    call = answer.call
    read, wrote = call.input_tokens, call.output_tokens
    facts = {
        **_origin(prompt),
        "answered_by": call.model,
        "input_tokens": read,
        "output_tokens": wrote,
        "cost_usd": call.cost_usd,
        "finish_reason": call.finish_reason,
    }
    if call.reused:
        facts["reused"] = True
    used = None if read is None and wrote is None else (read or 0) + (wrote or 0)
    return Result(
        prompt.text,
        answer.text,
        call.asked,
        True,
        None,
        call.finished_at,
        call.duration_ms,
        used,
        facts,
        asked_how=call.asked_how,
    )


def failed_result(prompt: ExtractedPrompt, told: Outcome | None) -> Result:
    """Put the result of a prompt together that was not.

    Args:
        prompt: What was asked.
        told: What became of it; None where it was never asked.
    """
    if told is None:
        return Result(prompt.text, None, None, False, NEVER_ASKED, None, None, None, _origin(prompt))
    reason = told.reason or NEVER_ASKED
    return Result(
        prompt.text,
        None,
        told.asked,
        False,
        reason,
        told.ended_at,
        told.duration_ms,
        None,
        _origin(prompt),
        asked_how=told.asked_how,
    )


def response_of(result: Result) -> Response:
    """Give a result as a response; by what it is known stands in its metadata."""
    facts = result.facts if result.known_by is None else {**result.facts, KEY: result.known_by}
    metadata = ResponseMetadata(duration_ms=result.duration_ms, tokens_used=result.tokens_used, **facts)
    return Response(
        prompt=result.prompt,
        response=result.response,
        model=result.model,
        timestamp=result.timestamp,
        success=result.success,
        error=result.error,
        metadata=metadata,
    )


def record_key(item: str, result: Result, experiment: str | None, system: str) -> str:
    """Say by what a result of a batch is known: what was asked (an item's key holds a hash of it), of whom, for what.

    An answer does not change it, so that a prompt that failed and is answered by a later run is one row; and another
    model, another endpoint or another way to ask it, another system text or another experiment is another.
    """
    how = (result.asked_how,) if result.asked_how else ()
    return key_of("prompt-batch", experiment, result.model, system, item, *how)


def place_of(prompt: ExtractedPrompt) -> str:
    """Name a prompt in an error."""
    return f"{prompt.file}, prompt index {prompt.index}"


def _origin(prompt: ExtractedPrompt) -> dict[str, object]:
    """Say where a prompt stood."""
    told: dict[str, object] = {"file": prompt.file, "index": prompt.index}
    if prompt.conversation is not None:
        told["conversation"] = prompt.conversation
    return told
