"""The summary of a batch."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from stagebook import Outcome, Rows
from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation, Experiment
from stagebook_pipelines.prompt_batch.models import Answer, Summary
from stagebook_pipelines.prompt_batch.responses import place_of
from stagebook_pipelines.prompt_batch.results import Stored

MOST_ERRORS: Final = 1000
"""Errors that a summary tells one by one."""


class Totals:
    """What all answers took together."""

    def __init__(self) -> None:
        self.input_tokens = 0
        self.output_tokens = 0
        self._cost = Decimal(0)
        self._priced = False
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        call = answer.call
        self.input_tokens += call.input_tokens or 0
        self.output_tokens += call.output_tokens or 0
        if call.cost_usd is not None:
            self._cost += Decimal(call.cost_usd)
            self._priced = True
        if call.finished_at is not None:
            begun = call.finished_at - timedelta(milliseconds=call.duration_ms or 0)
            self._first = begun if self._first is None else min(begun, self._first)
            self._last = call.finished_at if self._last is None else max(call.finished_at, self._last)

    @property
    def cost_usd(self) -> str | None:
        """What they cost; None where no price is known."""
        return f"{self._cost.normalize():f}" if self._priced else None

    @property
    def duration_ms(self) -> int:
        """Milliseconds from the first request to the last answer."""
        if self._first is None or self._last is None:
            return 0
        return round((self._last - self._first) / timedelta(milliseconds=1))


async def summed(
    prompts: Rows[ExtractedPrompt],
    answers: Rows[Answer],
    outcomes: Sequence[Outcome],
    files: int,
    stored: Stored | None,
    evaluation: Evaluation | None,
) -> Summary:
    """Put everything into one.

    Args:
        prompts: All of them.
        answers: Those that there are.
        outcomes: What became of the steps that read and asked.
        files: How many there were.
        stored: What became of storing.
        evaluation: What the answers are worth.
    """
    totals = Totals()
    async for answer in answers:
        totals.add(answer)
    errors: list[str] = []
    unread = 0
    for one in outcomes:
        if one.stage == "respond":
            if one.status == "failed" and len(errors) <= MOST_ERRORS:
                prompt = await prompts.get(one.item)
                where = one.item if prompt is None else place_of(prompt)
                errors.append(f"{where}: {one.reason}")
            elif one.status == "failed":
                errors.append("")
            continue
        unread += one.status == "failed"
        errors += [one.reason] if one.status == "failed" and one.reason else []
        errors += one.warnings
    if stored is not None:
        errors += stored.errors
    if evaluation is not None:
        errors += evaluation.errors
    return Summary(
        total=len(prompts),
        successful=len(answers),
        failed=len(prompts) - len(answers),
        files_processed=files - unread,
        total_duration_ms=totals.duration_ms,
        input_tokens=totals.input_tokens,
        output_tokens=totals.output_tokens,
        cost_usd=totals.cost_usd,
        stored=None if stored is None else stored.stored,
        already_stored=None if stored is None else stored.already_stored,
        evaluation=None
        if evaluation is None
        else Experiment(**{name: getattr(evaluation, name) for name in Experiment.model_fields}),
        errors=_first(errors),
        finished_at=datetime.now(UTC),
    )


def _first(errors: list[str]) -> list[str]:
    """Keep so many that a summary can be read and sent."""
    if len(errors) <= MOST_ERRORS:
        return errors
    return [*errors[:MOST_ERRORS], f"and {len(errors) - MOST_ERRORS:,} more; they stand in the ledger"]
