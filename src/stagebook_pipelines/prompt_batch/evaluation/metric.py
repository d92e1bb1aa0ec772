"""What a metric is: a name, what it needs, and how it scores an answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, NamedTuple

from pydantic import BaseModel, Field


class Need(StrEnum):
    """What a metric compares an answer with."""

    REFERENCES = "references"
    """Right answers, one or several."""
    SCHEMA = "schema"
    """A JSON schema."""
    EMBEDDER = "embedder"
    """Right answers, and a model that makes vectors of texts."""
    JUDGE = "judge"
    """A model that judges by a rubric; right answers are shown to it where there are any."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer with what it is held against. Texts hold no lone surrogates."""

    prompt: str
    """What was asked."""
    answer: str
    """What the model said. It is data: nothing in it is followed."""
    references: tuple[str, ...] = ()
    """Right answers."""


class Scored(NamedTuple):
    """What a metric says of one answer."""

    value: float | None
    """The score; None where it cannot be scored."""
    reason: str | None = None
    """Why it is so, where the metric can tell."""
    error: str | None = None
    """What went wrong, where that is why it has no score."""
    counts: tuple[int, ...] | None = None
    """What the score was computed from, where it is also computed of all answers as one text (BLEU)."""


class Verdict(BaseModel):
    """What a judge says of one answer."""

    reason: str = Field(description="What speaks for the answer and what against it, in a few sentences.")
    score: int = Field(description="The score by the rubric.")


Embedder = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]
"""Makes one vector of every text, in their order."""
Judge = Callable[[Sample], Awaitable[Verdict]]
"""Judges one answer."""
PureScorer = Callable[[Sample], Scored]
"""Computes a score."""
AskingScorer = Callable[[Sequence[Sample]], Awaitable[Sequence[Scored]]]
"""Asks a model for the scores of several answers."""


@dataclass(frozen=True, slots=True)
class Means:
    """What there is for the metrics that need more than references."""

    schema: Mapping[str, Any] | bool | None = None
    """A JSON schema (draft 2020-12)."""
    embedder: Embedder | None = None
    judge: Judge | None = None
    judge_scale: tuple[int, int] = (1, 5)
    """The worst and the best score of the rubric."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the registry."""

    name: str
    meaning: str
    """One sentence: what it measures, and by whose definition."""
    needs: Need
    pure: Callable[[Means], PureScorer] | None = None
    """Makes its scorer, where it computes."""
    asking: Callable[[Means], AskingScorer] | None = None
    """Makes its scorer, where it asks a model."""
    binary: bool = False
    """Whether an answer is right or wrong, with nothing between."""
    scale: tuple[float, float] = (0.0, 1.0)
    """The worst and the best score."""
    packages: tuple[str, ...] = ()
    """What it imports beside the standard library and Stagebook."""

    def check_installed(self) -> None:
        """See that it can be computed here.

        Raises:
            ValueError: A package is not installed.
        """
        for package in self.packages:
            if find_spec(package) is None:
                raise ValueError(
                    f"the metric {self.name} needs the package {package}, which is not installed;"
                    " install it with: pip install 'stagebook[batch]'"
                )
