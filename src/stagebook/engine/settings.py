"""What is chosen for one run; kept with the run, so that resume goes on as it began."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation

import orjson

from stagebook.definition.graph import Graph, ReadKind, StageSpec
from stagebook.door.rate import Limit, read_limit
from stagebook.door.retry import RetryPolicy
from stagebook.llm.batch_policy import BatchPolicy
from stagebook.llm.batches import takes
from stagebook.llm.endpoint import Endpoint
from stagebook.llm.plain_endpoint import ENDPOINT
from stagebook.llm.prices import PriceBook, given_rate
from stagebook.llm.providers import alternatives, split_model
from stagebook.llm.worst_case import price_list
from stagebook.model.errors import NotFound, UsageError
from stagebook.model.usage import PICODOLLARS

Dollars = Decimal | float | str
"""An amount of US dollars as it is given: a number, or its text."""
MOST_DOLLARS = 9_000_000
"""What still fits into 64 bits as picodollars."""
ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
"""What an endpoint may be called: names of models as they are in use, `meta-llama/Llama-3-8B` among them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run goes."""

    model: str | None = None
    """Asked by every prompt instead of its own model."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Stage -> model; stronger than `model`."""
    until: str | None = None
    """Last stage: it and everything above it runs."""
    concurrency: int = 16
    """Most steps at once."""
    lenient: bool = False
    """Accept a prompt's last answer with a warning when its tries are used up."""
    tries: int | None = None
    """Answers asked for before a prompt fails, instead of the stage's own number."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When the door tries again."""
    request_timeout: float = 600.0
    """Seconds that one sending may take."""
    budget: int | None = None
    """Picodollars that the run may cost, from its first drive to its last; None: anything."""
    prices: Mapping[str, str] = field(default_factory=dict)
    """Model -> what it costs, as typed: dollars for a million tokens read, a slash, for a million written."""

    limits: Mapping[str, str] = field(default_factory=dict)
    """`provider:model` or `provider` -> what it lets through in a minute, as typed: requests, a slash, tokens."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    """Endpoints of one's own, asked as `endpoint:NAME`."""
    reuse: bool = False
    """Take over what other runs of the pipeline were answered to the very same request."""

    provider_batch: bool = False
    """Whether mapped prompts are answered by the providers' batches, at half price and within a day."""
    batching: BatchPolicy = field(default_factory=BatchPolicy)
    """How patiently those are gathered and polled."""

    def with_budget(self, budget: "Dollars | None") -> "Settings":
        """Change the budget; None keeps the one that there is.

        Raises:
            UsageError: It is no amount.
        """
        return self if budget is None else replace(self, budget=picodollars(budget))

    def price_book(self) -> PriceBook:
        """Make the prices that count for the run.

        Raises:
            NotFound: A provider is unknown.
            UsageError: A price is none.
        """
        named = {split_model(model): text for model, text in self.prices.items()}
        return PriceBook({(price_list(provider), name): given_rate(text) for (provider, name), text in named.items()})

    def rate_limits(self) -> dict[str, Limit]:
        """Read what providers let through.

        Raises:
            NotFound: A provider is unknown.
            UsageError: A limit is none.
        """
        found = {}
        for name, text in self.limits.items():
            split_model(name if ":" in name else f"{name}:any")
            try:
                found[name] = read_limit(text)
            except ValueError:
                raise UsageError(
                    f"the limit {text!r} of {name} is none; write requests and tokens a minute, for example 3000/2M"
                ) from None
        return found

    def model_of(self, spec: StageSpec) -> str | None:
        """Name the model that a stage asks."""
        return self.models.get(spec.name) or self.model or spec.model

    def models_of(self, graph: Graph) -> dict[str, str]:
        """Name the model of every stage that asks one and has one."""
        asking = (
            (spec, self.model_of(spec) or (spec.prompt.model if spec.prompt else None))
            for spec in graph.stages.values()
        )
        return {spec.name: model for spec, model in asking if model is not None and asks(spec)}

    def how_asked(self, model: str) -> str:
        """Tell endpoints of one name apart by a hash of what is declared of them; empty for other models."""
        names = [split_model(one) for one in alternatives(model)]
        own = [self.endpoints[name] for provider, name in names if provider == ENDPOINT and name in self.endpoints]
        return "|".join(one.identity for one in own)

    def check(self, graph: Graph) -> None:
        """See that every name is one of the pipeline.

        Raises:
            NotFound: A stage or provider is unknown.
            UsageError: A number is out of range, or a stage that asks no model is given one.
        """
        for name in (*self.models, *([self.until] if self.until is not None else ())):
            if name not in graph.stages:
                raise NotFound(f"{graph.name} has no stage {name!r}; it has: {', '.join(graph.stages)}")
        for name in self.models:
            if not asks(graph.stages[name]):
                asking = ", ".join(one.name for one in graph.stages.values() if asks(one)) or "none"
                raise UsageError(f"the stage {name} asks no model, so none can be given to it; those that do: {asking}")
        for model in (*self.models.values(), *([self.model] if self.model is not None else ())):
            for one in alternatives(model):
                split_model(one)
        unclear = next((name for name in self.endpoints if not ENDPOINT_NAME.fullmatch(name)), None)
        if unclear is not None:
            raise UsageError(f"an endpoint cannot be called {unclear!r}; use letters, digits and . _ - / : @ +")
        self.price_book()
        self.rate_limits()
        if self.concurrency < 1:
            raise UsageError(f"the concurrency is {self.concurrency}; it must be at least 1")

    def dump(self) -> bytes:
        """Write as JSON; what is as by default is left out."""
        default = Settings()
        names = (one.name for one in fields(self))
        return orjson.dumps(
            {name: getattr(self, name) for name in names if getattr(self, name) != getattr(default, name)},
            default=_plain,
        )

    @classmethod
    def load(cls, data: bytes) -> "Settings":
        """Read what `dump` wrote; names that this version does not know are passed over."""
        known = {one.name for one in fields(cls)}
        found = {key: value for key, value in orjson.loads(data).items() if key in known}
        if "retry" in found:
            found["retry"] = RetryPolicy(**found["retry"])
        if "endpoints" in found:
            found["endpoints"] = {name: Endpoint(**told) for name, told in found["endpoints"].items()}
        if "batching" in found:
            found["batching"] = BatchPolicy(**found["batching"])
        return cls(**found)


def _plain(value: object) -> object:
    """Give an endpoint as JSON has it."""
    if isinstance(value, Endpoint):
        return value.model_dump(mode="json", exclude_defaults=True)
    raise TypeError(type(value).__name__)


def goes_by_batch(spec: StageSpec, settings: Settings) -> bool:
    """Whether a stage's answers come by batches: it is a prompt with many items, and its provider takes batches."""
    if not settings.provider_batch or spec.prompt is None or not spec.axis:
        return False
    return takes(settings.model_of(spec) or spec.prompt.model or "")


def asks(spec: StageSpec) -> bool:
    """Whether a stage asks a model: it is a prompt, or its function takes `Llm`."""
    return spec.prompt is not None or any(read.kind is ReadKind.LLM for read in spec.reads)


def picodollars(budget: Dollars) -> int | None:
    """Read a budget.

    Args:
        budget: Dollars; infinity (or the text `none`) for no limit.

    Returns:
        Picodollars, or None where there is no limit.

    Raises:
        UsageError: It is no amount that could be spent.
    """
    text = str(budget).strip().removeprefix("$")
    try:
        amount = Decimal("Infinity" if text == "none" else text)
    except InvalidOperation:
        raise UsageError(f"the budget {text!r} is no amount; write dollars, for example 2.50") from None
    if amount.is_nan() or amount < 0:
        raise UsageError(f"the budget is {text}; it must be 0 dollars or more")
    if amount.is_infinite():
        return None
    if amount > MOST_DOLLARS:
        raise UsageError(f"the budget is {text} dollars, which is past any bill; leave it away for no limit")
    return int(amount * PICODOLLARS)
