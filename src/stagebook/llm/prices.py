"""What an answer costs: prices are looked up once per model, then it is integer arithmetic."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from importlib.metadata import version

from stagebook.llm.codec import Metered
from stagebook.llm.plain_endpoint import ENDPOINT
from stagebook.model.errors import UsageError
from stagebook.model.usage import PICODOLLARS, Charge, Usage

PER_MILLION = 1_000_000

LINEAR = frozenset({"input_mtok", "output_mtok", "cache_read_mtok", "web_searches_kcount", "storage_searches_kcount"})
"""Parts of a price that a plain call is charged by its tokens alone (searches are not made here)."""

Rate = Callable[[Usage], int]
"""Usage to picodollars."""


class PriceBook:
    """Prices of models, from the genai-prices package (its version is kept beside each amount).

    Args:
        given: Prices that the user says, by price list and model; stronger than the package's.
    """

    def __init__(self, given: Mapping[tuple[str, str], Rate] | None = None) -> None:
        self._given = given or {}
        self._rates: dict[tuple[str, str], Rate | None] = {}
        self._windows: dict[tuple[str, str], int | None] = {}
        self._version: str | None = None

    def charge(self, provider: str, model: str, metered: Metered) -> Charge:
        """Say what an answer used and cost.

        Args:
            provider: Its name here.
            model: The model asked for.
            metered: What the answer says of its use.
        """
        cost: int | None
        source: str | None
        price_version: str | None = None
        if provider == "local":
            cost, source = 0, "local"
        elif metered.cost_dollars is not None:
            cost, source = int(Decimal(str(metered.cost_dollars)) * PICODOLLARS), "provider"
        else:
            rate = self.rate(provider, model)
            cost = rate(metered.usage) if rate is not None else None
            if self.is_given(provider, model):
                source = "given"
            elif rate is not None:
                source, price_version = "genai-prices", self._table()
            else:
                source = None
        return Charge(metered.usage, metered.raw, cost, price_version, source, metered.model, metered.finish_reason)

    def _table(self) -> str:
        """Name the version of the price table; reading a package's metadata takes a millisecond, so once."""
        if self._version is None:
            self._version = version("genai-prices")
        return self._version

    def rate(self, provider: str, model: str) -> Rate | None:
        """Find a model's price; None where it is not known."""
        key = provider, model
        if key in self._given:
            return self._given[key]
        if key not in self._rates:
            self._rates[key] = None if provider == ENDPOINT else _look_up(provider, model)
        return self._rates[key]

    def is_given(self, provider: str, model: str) -> bool:
        """Whether the user said what a model costs."""
        return (provider, model) in self._given

    def context_window(self, provider: str, model: str) -> int | None:
        """Say how many tokens a model reads and writes at most in one call; None where it is not known."""
        key = provider, model
        if key not in self._windows:
            self._windows[key] = None if provider == ENDPOINT else _window(provider, model)
        return self._windows[key]


def given_rate(text: str) -> Rate:
    """Read a price as it is typed: dollars for a million tokens read, a slash, dollars for a million written.

    Raises:
        UsageError: It is no price.
    """
    read, slash, written = text.partition("/")
    try:
        per_read, per_written = Decimal(read), Decimal(written)
    except InvalidOperation:
        slash = ""
    if not slash or not all(one.is_finite() and 0 <= one <= PER_MILLION for one in (per_read, per_written)):
        raise UsageError(f"the price {text!r} is none; write dollars per million tokens, read/written: 0.40/1.60")
    in_picodollars, out_picodollars = _picodollars(per_read), _picodollars(per_written)
    return lambda usage: usage.input_tokens * in_picodollars + usage.output_tokens * out_picodollars


def _look_up(provider: str, model: str) -> Rate | None:
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415  0.2 s to import: only runs that call a paid model pay it
    from genai_prices import calc_price  # noqa: PLC0415  as above

    try:
        found = calc_price(PricedUsage(input_tokens=1, output_tokens=1), model, provider_id=provider)
    except LookupError:
        return None
    price = found.model_price
    read, cached, written = price.input_mtok, price.cache_read_mtok, price.output_mtok
    priced = {key: rate for key, rate in vars(price).items() if rate is not None}
    if not (priced.keys() <= LINEAR and all(isinstance(rate, Decimal) for rate in priced.values())):

        def stepped(usage: Usage) -> int:
            total = price.calc_price(
                PricedUsage(
                    input_tokens=usage.input_tokens,
                    output_tokens=usage.output_tokens,
                    cache_read_tokens=usage.cache_read_input_tokens,
                    cache_write_tokens=usage.cache_creation_input_tokens,
                )
            )["total_price"]
            return int(total * PICODOLLARS)

        return stepped
    per_read = _picodollars(read)
    per_cached = per_read if cached is None else _picodollars(cached)
    per_written = _picodollars(written)

    def linear(usage: Usage) -> int:
        fresh = usage.input_tokens - usage.cache_read_input_tokens
        return fresh * per_read + usage.cache_read_input_tokens * per_cached + usage.output_tokens * per_written

    return linear


def _window(provider: str, model: str) -> int | None:
    from genai_prices import Usage as PricedUsage  # noqa: PLC0415  0.2 s to import: only runs with a budget pay it here
    from genai_prices import calc_price  # noqa: PLC0415  as above

    try:
        return calc_price(PricedUsage(), model, provider_id=provider).model.context_window
    except LookupError:
        return None


def _picodollars(per_million: object) -> int:
    """Dollars per million tokens to picodollars per token."""
    return int(Decimal(str(per_million or 0)) * PICODOLLARS / PER_MILLION)
