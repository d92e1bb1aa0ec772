"""What a run will ask, take and cost, before anyone is asked: pure.

What can be told from the input alone is counted; for the rest the pipeline's recorded runs speak; where there are none,
the most that a stage's own limits allow is given, and what has no limit is unknown.
"""

from dataclasses import dataclass
from statistics import median
from typing import Final

import orjson
from pydantic import BaseModel

from stagebook.definition.graph import Graph, PromptSpec, ReadKind, StageSpec
from stagebook.engine.plan import scope
from stagebook.engine.settings import Settings, goes_by_batch
from stagebook.insight.history import History
from stagebook.insight.limited_time import at_least, limited_time
from stagebook.insight.longest_answer import longest
from stagebook.insight.trend import NOTHING, Range, predict
from stagebook.llm.prices import PriceBook, Rate
from stagebook.llm.providers import alternatives, codec_of, split_model
from stagebook.llm.worst_case import is_free, price_list
from stagebook.model.prompt import Prompt
from stagebook.model.usage import Usage

BYTES_PER_TOKEN: Final = 4
"""Bytes of a request to a token where no recorded call says better: OpenAI's rule of thumb for English text is four
characters ("What are tokens and how to count them?", help.openai.com)."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage; None is what nobody can say."""

    name: str
    number: int | None
    """Published number."""
    model: str | None
    """Whom it asks; None for one that only computes."""
    calls: Range | None
    input_tokens: Range | None
    output_tokens: Range | None
    cost: Range | None
    """Picodollars."""
    seconds: Range | None
    source: str
    """Where this comes from: `from the input`, `from 12 runs`, both, `computes`, `unknown`."""
    bounded: bool = False
    """Whether the output, and so the cost, is the most that the stage's limits allow."""

    @property
    def title(self) -> str:
        """Number and name."""
        return self.name if self.number is None else f"{self.number} {self.name}"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A whole run."""

    pipeline: str
    input_size: int
    """Bytes, JSON."""
    runs: int
    """Recorded runs that something was learned from."""
    stages: tuple[StageEstimate, ...]
    """Those in scope, in the order of their declaration."""
    seconds: Range | None
    """Of the whole: stages may be at work side by side."""

    def total(self, name: str) -> Range:
        """Add up one quantity over the stages of which it is known.

        Args:
            name: `calls`, `input_tokens`, `output_tokens` or `cost`.
        """
        known = (getattr(stage, name) for stage in self.stages)
        return sum((one for one in known if one is not None), NOTHING)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Stages whose cost nobody can say: the total is without them."""
        return tuple(stage.name for stage in self.stages if stage.cost is None)

    @property
    def bounded(self) -> bool:
        """Whether a stage's most is part of what the total costs."""
        return any(stage.bounded and stage.cost is not None for stage in self.stages)


def estimate(
    graph: Graph, settings: Settings, given: BaseModel, size: int, past: History, prices: PriceBook | None = None
) -> Estimate:
    """Estimate a run.

    Args:
        graph: The pipeline.
        settings: How the run would go.
        given: Its input.
        size: Bytes of the input, JSON.
        past: What recorded runs took.
        prices: What tokens cost.
    """
    book = prices or PriceBook()
    chosen = scope(graph, settings.until)
    specs = sorted((graph.stages[name] for name in chosen), key=lambda spec: spec.position)
    stages = tuple(_Stage(spec, settings, given, size, past, book).estimate() for spec in specs)
    learned = max((len(past.stages.get(spec.name, ())) for spec in specs), default=0)
    seconds = predict(past.runs, size, grows=False)
    asked = [
        (one.model, one.calls, one.input_tokens, one.output_tokens)
        for spec, one in zip(specs, stages, strict=True)
        if not goes_by_batch(spec, settings)  # what goes by batch is limited apart
    ]
    limited = limited_time(asked, settings.rate_limits())
    if limited is not None:
        seconds = at_least(seconds or NOTHING, limited)
    return Estimate(graph.name, size, learned, stages, seconds)


BATCH_SHARE: Final = 0.5
"""Share of the price list that an answer through a provider's batch costs."""


class _Stage:
    """One stage, and all that is known about it."""

    def __init__(
        self, spec: StageSpec, settings: Settings, given: BaseModel, size: int, past: History, prices: PriceBook
    ) -> None:
        self._spec = spec
        self._size = size
        self._given = given
        self._prices = prices
        self._endpoints = settings.endpoints
        self._share = BATCH_SHARE if goes_by_batch(spec, settings) else 1.0
        self._past = past
        self._model = settings.model_of(spec) or (spec.prompt.model if spec.prompt is not None else None)
        typed = settings.model is not None or spec.name in settings.models
        points = past.stages.get(spec.name, ())
        alike = [one for one in points if one.models <= {*self._names()}]
        by_code = spec.prompt is None and not typed  # its function may name models by itself
        self._same_model = by_code or any(one.models for one in alike) or not any(one.models for one in points)
        self._points = tuple(alike) if self._same_model and not by_code else points

    def estimate(self) -> StageEstimate:
        """Say what it will take."""
        spec = self._spec
        asks = spec.prompt is not None or any(read.kind is ReadKind.LLM for read in spec.reads)
        if not asks and not any(one.calls for one in self._points):  # an SDK behind the door may ask models as well
            return self._made(NOTHING, NOTHING, NOTHING, NOTHING, "computes", model=None)
        body = self._body(spec.prompt) if spec.prompt is not None else None
        if body is None:
            return self._recorded() if self._points else self._unknown()
        return self._rendered(spec.prompt, body)

    def _names(self) -> tuple[str, ...]:
        return alternatives(self._model) if self._model is not None else ()

    def _body(self, prompt: PromptSpec | None) -> int | None:
        """Bytes of the one request of a prompt that reads the input alone."""
        spec = self._spec
        if (
            prompt is None
            or not prompt.bare
            or spec.axis
            or any(read.kind is not ReadKind.INPUT for read in spec.reads)
        ):
            return None
        messages = prompt.template.render({read.parameter: self._given for read in spec.reads})
        question = Prompt(messages, prompt.sampling, spec.output.__name__ if prompt.schema else None, prompt.schema)
        model = self._names()[0]
        return sum(map(len, codec_of(model, self._endpoints).encode(question, split_model(model)[1])))

    def _rendered(self, prompt: PromptSpec | None, body: int) -> StageEstimate:
        """Count what can be counted, and learn the rest."""
        calls = self._calls() or Range.exactly(1.0)
        each, learned = self._tokens_per_byte()
        read = calls.times(body * each)
        if not learned:
            read = Range(read.low, read.expected, float(body))  # a token is at least one byte
        written = self._learned("output_tokens")
        bounded = written is None
        if written is None:
            most = self._most_written(prompt)
            written = None if most is None else Range.at_most(float(most))
        source = f"from the input, {_runs(len(self._points))}" if self._points else "from the input"
        return self._made(calls, read, written, self._priced(calls, read, written), source, bounded=bounded)

    def _recorded(self) -> StageEstimate:
        """Learn everything."""
        calls = self._calls()
        read, written = self._learned("input_tokens"), self._learned("output_tokens")
        costs = [one.cost for one in self._points]
        known = self._same_model and None not in costs and self._share == 1.0
        cost = self._learned("cost") if known else self._priced(calls, read, written)
        other = "" if self._same_model else " of another model"
        return self._made(calls, read, written, cost, f"from {_runs(len(self._points))}{other}")

    def _unknown(self) -> StageEstimate:
        """Say what is certain all the same."""
        prompt = self._spec.prompt
        once = prompt is not None and not self._spec.axis
        most = self._most_written(prompt) if once else None
        written = None if most is None else Range.at_most(float(most))
        calls = Range.exactly(1.0) if once else None
        cost = (
            NOTHING if self._model is not None and all(is_free(split_model(one)[0]) for one in self._names()) else None
        )
        return self._made(calls, None, written, cost, "unknown", bounded=written is not None)

    def _made(
        self,
        calls: Range | None,
        read: Range | None,
        written: Range | None,
        cost: Range | None,
        source: str,
        *,
        model: str | None = "",
        bounded: bool = False,
    ) -> StageEstimate:
        spec = self._spec
        asked = self._model if model == "" else model
        return StageEstimate(
            spec.name, spec.number, asked, calls, read, written, cost, self._learned("seconds"), source, bounded
        )

    def _calls(self) -> Range | None:
        """Learn how often it asks: a prompt that is not mapped asks as often for a long input as for a short one."""
        if self._spec.prompt is None or self._spec.axis or not self._points:
            return self._learned("calls")
        asked = [one.calls for one in self._points]
        return Range(min(asked), median(asked), max(asked))

    def _learned(self, name: str) -> Range | None:
        """Learn a quantity from the recorded runs; of a mapped stage it grows with the input."""
        points = [(float(one.input_size), float(getattr(one, name) or 0)) for one in self._points]
        return predict(points, self._size, grows=bool(self._spec.axis))

    def _tokens_per_byte(self) -> tuple[float, bool]:
        """How many tokens a byte of a request is: of this stage's calls, else of the pipeline's, else as usual."""
        for points in (self._points, [one for stage in self._past.stages.values() for one in stage]):
            shares = [one.input_tokens / one.sent for one in points if one.sent and one.input_tokens]
            if shares:
                return median(shares), True
        return 1 / BYTES_PER_TOKEN, False

    def _most_written(self, prompt: PromptSpec | None) -> int | None:
        """The longest answer that the stage's limits allow, in tokens: a character is at most one, roughly."""
        if prompt is None:
            return None
        if prompt.sampling.max_tokens is not None:
            return prompt.sampling.max_tokens
        return None if prompt.schema is None else longest(orjson.loads(prompt.schema))

    def _priced(self, calls: Range | None, read: Range | None, written: Range | None) -> Range | None:
        """Price tokens at the rate of the model that will be asked first."""
        names = self._names()
        if not names:
            return None
        provider, name = split_model(names[0])
        prices = price_list(provider)
        if is_free(provider) and not self._prices.is_given(prices, name):
            return NOTHING
        rate = self._prices.rate(prices, name)
        if rate is None or calls is None or read is None or written is None:
            return None
        return Range(
            self._share * _cost(rate, calls.low, read.low, written.low),
            self._share * _cost(rate, calls.expected, read.expected, written.expected),
            self._share * _cost(rate, calls.high, read.high, written.high),
        )


def _cost(rate: Rate, calls: float, read: float, written: float) -> float:
    """Price so many calls, each with its share of the tokens: some prices rise with the length of a request."""
    if not calls:
        return 0.0
    return rate(Usage(round(read / calls), round(written / calls))) * calls


def _runs(number: int) -> str:
    return f"{number:,} run{'' if number == 1 else 's'}"
