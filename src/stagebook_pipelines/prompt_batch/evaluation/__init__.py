"""Scores the answers of a batch: against right answers, by a schema, by their meaning, or by a model that judges.

```python
from stagebook_pipelines.prompt_batch.evaluation import evaluate
```
"""

from stagebook_pipelines.prompt_batch.evaluation.evaluating import evaluate, evaluate_rows
from stagebook_pipelines.prompt_batch.evaluation.intervals import Interval
from stagebook_pipelines.prompt_batch.evaluation.measures import Measures
from stagebook_pipelines.prompt_batch.evaluation.models import Corpus, Evaluation, Experiment, MetricSummary, Score
from stagebook_pipelines.prompt_batch.evaluation.registry import METRICS

__all__ = [
    "METRICS",
    "Corpus",
    "Evaluation",
    "Experiment",
    "Interval",
    "Measures",
    "MetricSummary",
    "Score",
    "evaluate",
    "evaluate_rows",
]
