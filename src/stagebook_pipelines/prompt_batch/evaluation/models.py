"""What an evaluation says: of every answer, of every metric, and of the whole."""

from pydantic import BaseModel

from stagebook_pipelines.prompt_batch.evaluation.intervals import Interval


class Score(BaseModel):
    """What one metric says of one answer."""

    item: str
    """The answer's key: its row's `key` or `id`, else a hash of its prompt."""
    metric: str
    """Name of the metric."""
    value: float | None
    """The score; null where the metric does not apply or could not be computed."""
    reason: str | None = None
    """Why it is so, where the metric can tell: the judge's reasons, what the schema forbids."""


class Corpus(BaseModel):
    """A score of all answers as one text."""

    value: float
    """BLEU of all answers as one text, 0 to 1. It is not the mean of the answers' BLEU."""
    interval: Interval | None
    """Where it lies, with a confidence of 95 %; null of a single answer."""


class MetricSummary(BaseModel):
    """What one metric says of all answers."""

    mean: float | None
    """Mean of the scores; null where there is none."""
    interval: Interval | None
    """Where the mean lies, with a confidence of 95 %; null where there are too few scores."""
    count: int
    """How many answers were scored."""
    unscored: int
    """How many could not be scored: without a reference that the metric can read, or without a verdict."""
    worst: float
    """The worst score that is possible."""
    best: float
    """The best score that is possible."""
    corpus: Corpus | None = None
    """Of BLEU: the score of all answers as one text."""


class Experiment(BaseModel):
    """What is said of one experiment."""

    metrics: dict[str, MetricSummary]
    """Name of the metric -> what it says."""
    count: int
    """How many responses there were, failed ones included."""
    failed: int
    """How many have no answer."""


class Evaluation(Experiment):
    """What is said of all responses."""

    experiments: dict[str, Experiment] = {}
    """The same for every experiment that the responses name."""
    errors: list[str] = []
    """What could not be read or scored, and why; at most 100 of them, and then how many more."""
    scores: list[Score] = []
    """Every score, in the order of the responses."""
