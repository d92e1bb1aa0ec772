"""Adds up scores as they come: no answer is kept, only sums and counts."""

from stagebook_pipelines.prompt_batch.evaluation.bleu import CorpusBleu
from stagebook_pipelines.prompt_batch.evaluation.intervals import Moments, student, wilson
from stagebook_pipelines.prompt_batch.evaluation.metric import Metric, Scored
from stagebook_pipelines.prompt_batch.evaluation.models import Corpus, Experiment, MetricSummary


class MetricTally:
    """The scores of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._moments = Moments()
        self._unscored = 0
        self._corpus: CorpusBleu | None = None

    def add(self, scored: Scored) -> None:
        """Count what the metric says of an answer."""
        if scored.value is None:
            self._unscored += 1
            return
        self._moments.add(scored.value)
        if scored.counts is not None:
            self._corpus = self._corpus or CorpusBleu()
            self._corpus.add(scored.counts)

    def summary(self) -> MetricSummary:
        """What the metric says of all of them."""
        moments, (worst, best) = self._moments, self._metric.scale
        corpus = None
        if self._corpus is not None and (value := self._corpus.value()) is not None:
            corpus = Corpus(value=value, interval=self._corpus.interval())
        return MetricSummary(
            mean=moments.mean if moments.count else None,
            interval=wilson(moments.mean * moments.count, moments.count)
            if self._metric.binary
            else student(moments, self._metric.scale),
            count=moments.count,
            unscored=self._unscored,
            worst=worst,
            best=best,
            corpus=corpus,
        )


class ExperimentTally:
    """All metrics of one experiment."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = {metric.name: MetricTally(metric) for metric in metrics}
        self.count = 0
        """Responses."""
        self.failed = 0
        """Those without an answer."""

    def add(self, scores: dict[str, Scored], *, failed: bool) -> None:
        """Count a response."""
        self.count += 1
        self.failed += failed
        for name, scored in scores.items():
            self._metrics[name].add(scored)

    def summary(self) -> Experiment:
        """What is said of the experiment."""
        metrics = {name: tally.summary() for name, tally in self._metrics.items()}
        return Experiment(metrics=metrics, count=self.count, failed=self.failed)
