"""Scores responses batch by batch, and adds up what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stagebook_pipelines.prompt_batch.evaluation.metric import Means, Metric, Sample, Scored
from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation, Score
from stagebook_pipelines.prompt_batch.evaluation.references import References
from stagebook_pipelines.prompt_batch.evaluation.rows import ResponseRow, Row, read_row
from stagebook_pipelines.prompt_batch.evaluation.tally import ExperimentTally

Failed = Literal["leave-out", "empty"]
"""What becomes of a response without an answer: it is counted apart, or also scored as an empty answer."""

_MOST_ERRORS: Final = 100
_MOST_EXPERIMENTS: Final = 1000
"""Names of experiments that are told apart: a column that holds something else must not fill the memory."""


@dataclass(slots=True)
class Case:
    """One response on its way."""

    row: Row
    sample: Sample | None
    """None where there is nothing to score."""
    scores: dict[str, Scored] = field(default_factory=dict)


class Evaluator:
    """Holds sums and, where they are wanted, scores; no prompt and no answer stays.

    Args:
        metrics: What is measured.
        references: Right answers.
        means: What metrics need besides.
        failed: What becomes of responses without an answer.
        keep_scores: Whether the evaluation holds every score.

    Raises:
        ValueError: A metric lacks what it needs.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        references: References,
        means: Means,
        *,
        failed: Failed = "leave-out",
        keep_scores: bool = True,
    ) -> None:
        self._metrics = list(metrics)
        self._pure = {metric.name: metric.pure(means) for metric in metrics if metric.pure}
        self._asking = {metric.name: metric.asking(means) for metric in metrics if metric.asking}
        self._references = references
        self._failed = failed
        self._keep = keep_scores
        self._all = ExperimentTally(self._metrics)
        self._experiments: dict[str, ExperimentTally] = {}
        self._seen = 0
        self._errors: list[str] = []
        self._more_errors = 0
        self._scores: list[Score] = []
        for error in references.errors:
            self._tell(error)
        if not metrics:
            self._tell("nothing is measured: there are no references, and no schema, embedder or judge was given")

    def score(self, responses: Sequence[ResponseRow]) -> list[Case]:
        """Read responses and compute what can be computed; may run in a thread."""
        cases = []
        for given in responses:
            self._seen += 1
            try:
                row = read_row(given)
            except ValueError as error:
                self._tell(f"response {self._seen}: {error}")
                continue
            case = Case(row, self._sample(row))
            if case.sample is not None:
                for name, scorer in self._pure.items():
                    case.scores[name] = scorer(case.sample)
            cases.append(case)
        return cases

    async def ask(self, cases: Sequence[Case]) -> None:
        """Ask for the scores that a model gives."""
        asked = [(case, case.sample) for case in cases if case.sample is not None]
        for name, scorer in self._asking.items():
            answers = await scorer([sample for _, sample in asked])
            for (case, _), scored in zip(asked, answers, strict=True):
                case.scores[name] = scored

    def count(self, cases: Sequence[Case]) -> None:
        """Add up; cases are let go after it."""
        for case in cases:
            failed = case.row.answer is None
            for tally in self._tallies(case.row.experiment):
                tally.add(case.scores, failed=failed)
            for name, scored in case.scores.items():
                if scored.error is not None:
                    self._tell(f"{case.row.key}: {name}: {scored.error}")
                if self._keep:
                    reason = scored.reason or scored.error
                    self._scores.append(Score(item=case.row.key, metric=name, value=scored.value, reason=reason))

    def evaluation(self) -> Evaluation:
        """What came of it."""
        more = [f"and {self._more_errors} more"] if self._more_errors else []
        return Evaluation(
            **dict(self._all.summary()),
            experiments={name: tally.summary() for name, tally in self._experiments.items()},
            errors=[*self._errors, *more],
            scores=self._scores,
        )

    def _sample(self, row: Row) -> Sample | None:
        if row.answer is None and self._failed == "leave-out":
            return None
        return Sample(row.prompt, row.answer or "", row.references or self._references.of(row.prompt))

    def _tallies(self, experiment: str | None) -> list[ExperimentTally]:
        if experiment is None:
            return [self._all]
        if experiment not in self._experiments:
            if len(self._experiments) >= _MOST_EXPERIMENTS:
                return [self._all]
            self._experiments[experiment] = ExperimentTally(self._metrics)
        return [self._all, self._experiments[experiment]]

    def _tell(self, error: str) -> None:
        if len(self._errors) < _MOST_ERRORS:
            self._errors.append(error)
        else:
            self._more_errors += 1
