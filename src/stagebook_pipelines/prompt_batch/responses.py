"""Prompts, answers and failures put together again: one response for every prompt, in order, one at a time."""

from collections.abc import AsyncIterator, Mapping, Sequence

from stagebook import Outcome, Rows
from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
from stagebook_pipelines.prompt_batch.models import Answer
from stagebook_pipelines.prompt_batch.results import Response, ResponseMetadata
from stagebook_pipelines.prompt_batch.storing.record import key_of

NEVER_ASKED = "it was not asked"


def failures(outcomes: Sequence[Outcome], stage: str) -> dict[str, Outcome]:
    """Give the steps of a stage that have no output, by item."""
    return {one.item: one for one in outcomes if one.stage == stage and one.status != "completed"}


async def responses(
    prompts: Rows[ExtractedPrompt], answers: Rows[Answer], failed: Mapping[str, Outcome]
) -> AsyncIterator[tuple[str, ExtractedPrompt, Response]]:
    """Put a response together for every prompt.

    Args:
        prompts: All of them.
        answers: Of those that were answered.
        failed: Why others were not, by item.

    Yields:
        The item's key, its prompt and what became of it.
    """
    async for item, prompt in prompts.items():
        answer = None if item in failed else await answers.get(item)
        told = failed.get(item)
        yield item, prompt, response_of(prompt, answer, told.reason if told else None, told.asked if told else None)


def response_of(
    prompt: ExtractedPrompt, answer: Answer | None, reason: str | None = None, asked: str | None = None
) -> Response:
    """Put one together; what it is made of was validated when it was read.

    Args:
        prompt: What was asked.
        answer: What came; None where the prompt failed.
        reason: Why it failed.
        asked: Who was asked in vain.
    """
    known = {"file": prompt.file, "index": prompt.index, "conversation": prompt.conversation}
    told = {name: value for name, value in known.items() if value is not None}
    if answer is None:
        return Response.model_construct(
            prompt=prompt.text,
            response=None,
            model=asked,
            timestamp=None,
            success=False,
            error=reason or NEVER_ASKED,
            metadata=_metadata(None, None, told),
        )
    call = answer.call
    used = None if call.input_tokens is None and call.output_tokens is None else (
        (call.input_tokens or 0) + (call.output_tokens or 0)
    )  # fmt: skip
    more = {
        "answered_by": call.model,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost_usd": call.cost_usd,
        "finish_reason": call.finish_reason,
    }
    return Response.model_construct(
        prompt=prompt.text,
        response=answer.text,
        model=call.asked,
        timestamp=call.finished_at,
        success=True,
        error=None,
        metadata=_metadata(call.duration_ms, used, {**told, **more}),
    )


def _metadata(duration: int | None, tokens: int | None, more: dict[str, object]) -> ResponseMetadata:
    made = ResponseMetadata.model_construct(duration_ms=duration, tokens_used=tokens)
    made.__pydantic_extra__ = more
    return made


def record_key(item: str, response: Response, experiment: str | None, system: str) -> str:
    """Say by what a result of a batch is known: what was asked (an item's key holds a hash of it), of whom, for what.

    An answer does not change it, so that a prompt that failed and is answered by a later run is one row; and another
    model, another system text or another experiment is another.
    """
    return key_of("prompt-batch", experiment, response.model, system, item)
