"""What is to be measured, and with what: settings that an input of a pipeline can hold."""

from typing import Self

from pydantic import BaseModel, Field, JsonValue, model_validator

from stagebook import Door, Llm
from stagebook_pipelines.prompt_batch.evaluation.endpoint_embedder import endpoint_embedder
from stagebook_pipelines.prompt_batch.evaluation.evaluator import Failed
from stagebook_pipelines.prompt_batch.evaluation.judge import RUBRIC, llm_judge
from stagebook_pipelines.prompt_batch.evaluation.metric import Embedder, Means, Need
from stagebook_pipelines.prompt_batch.evaluation.minilm import MINILM, minilm_embedder
from stagebook_pipelines.prompt_batch.evaluation.registry import METRICS


class Measures(BaseModel):
    """What is measured, and with what."""

    metrics: list[str] | None = None
    """Names of metrics; null: all that what is there allows, except those that ask a model."""
    answer_schema: dict[str, JsonValue] | bool | None = None
    """A JSON schema (draft 2020-12) that answers are held against."""
    rubric: str | None = None
    """What each score of the judge means; with it, answers are judged."""
    judge_scale: tuple[int, int] = (1, 5)
    """The worst and the best score of the rubric; 0 and 1 are fail and pass."""
    judge_model: str | None = None
    """Who judges, `provider:name`; null: the model of the stage."""
    embedding_model: str | None = None
    """Who makes vectors: `local:minilm`, or a model of an endpoint that speaks OpenAI's embeddings."""
    embedding_url: str | None = None
    """That endpoint, up to `/v1`; null: OPENAI_BASE_URL, else OpenAI."""
    embedding_key: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds its key."""
    failed: Failed = "leave-out"
    """What becomes of responses without an answer: `leave-out` counts them apart, `empty` also scores them as empty."""
    keep_scores: bool = Field(default=True)
    """Whether the evaluation holds the score of every answer."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name in self.metrics or ():
            if name not in METRICS:
                raise ValueError(f"no metric is called {name!r}; there are {', '.join(METRICS)}")
        worst, best = self.judge_scale
        if worst >= best:
            raise ValueError(f"judge_scale goes from the worst score to the best, not from {worst} to {best}")
        if self.wants(Need.SCHEMA) and self.answer_schema is None:
            raise ValueError("the metric json_schema needs answer_schema")
        if self.wants(Need.EMBEDDER) and self.embedding_model is None:
            raise ValueError("the metric embedding_similarity needs embedding_model, such as local:minilm")
        return self

    def wants(self, need: Need) -> bool:
        """Whether a metric with this need is asked for."""
        if self.metrics is not None:
            return any(METRICS[name].needs is need for name in self.metrics)
        given = {
            Need.SCHEMA: self.answer_schema is not None,
            Need.EMBEDDER: self.embedding_model is not None,
            Need.JUDGE: self.rubric is not None,
        }
        return given.get(need, True)

    @property
    def asks(self) -> bool:
        """Whether a model is asked."""
        return self.wants(Need.EMBEDDER) or self.wants(Need.JUDGE)

    def means(self, llm: Llm | None = None, door: Door | None = None) -> Means:
        """Put together what the metrics need.

        Args:
            llm: Who judges.
            door: Through which vectors are asked for.

        Raises:
            ValueError: One of them is needed and not given.
        """
        judge = None
        if self.wants(Need.JUDGE):
            if llm is None:
                raise ValueError("the metric judge needs a model: a stage that takes llm: Llm gives it")
            judge = llm_judge(llm, self.rubric or RUBRIC, scale=self.judge_scale, model=self.judge_model)
        return Means(
            schema=self.answer_schema if self.wants(Need.SCHEMA) else None,
            embedder=self._embedder(door) if self.wants(Need.EMBEDDER) else None,
            judge=judge,
            judge_scale=self.judge_scale,
        )

    def _embedder(self, door: Door | None) -> Embedder:
        if self.embedding_model == MINILM:
            return minilm_embedder()
        if self.embedding_model is None or door is None:
            raise ValueError("the metric embedding_similarity needs a door: a stage that takes door: Door gives it")
        return endpoint_embedder(door, self.embedding_model, base_url=self.embedding_url, key=self.embedding_key)
