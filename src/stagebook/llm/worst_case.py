"""What a request can cost at most, told from its bytes and its model's price before it is sent."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from stagebook.llm.endpoint import Endpoint
from stagebook.llm.plain_endpoint import ENDPOINT
from stagebook.llm.prices import PriceBook, Rate
from stagebook.llm.providers import PROVIDERS, alternatives, split_model
from stagebook.llm.sdk_requests import EMBEDDINGS
from stagebook.model.errors import UsageError
from stagebook.model.exchange import Request
from stagebook.model.usage import Usage

UNSEEN: Final = 1000
"""Input tokens that a provider may add to what was sent. Anthropic's pages on tool use name up to 700 for the prompt
that it writes before tools, OpenAI's cookbook a handful for each message, which its JSON framing outweighs."""

LIMIT_FIELDS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""What a request's own limit of its answer is called; reasoning counts against it at every provider."""

OUTPUT_LIMITS: Final[Mapping[str, int]] = {
    "gpt-5": 128_000,
    "gpt-4.1": 32_768,
    "gpt-4o": 16_384,
    "gpt-4-turbo": 4_096,
    "gpt-4": 8_192,
    "gpt-3.5-turbo": 4_096,
    "o1-mini": 65_536,
    "o1": 100_000,
    "o3": 100_000,
    "o4-mini": 100_000,
}
"""Most output tokens by the beginning of a model's name, where a request has no limit: "max output tokens" on OpenAI's
model pages (2026-11). Anthropic's requests always have a limit; of other models the context window is the limit."""

_ELSEWHERE: Final = re.compile(
    rb'"(?:previous_response_id|conversation|file_id|file_url)"\s*:\s*"|"url"\s*:\s*"https?:'
)
"""What a model reads besides the request's own bytes: a conversation or a file kept by the provider, a picture on the
web."""


class WorstCases:
    """Says what requests can cost at most.

    A token is at least one byte of UTF-8 in the byte-level encodings that models read, so a body has no more tokens
    than bytes, and never more than the model's context window is charged. The output is taken as long as the request
    allows.

    Args:
        prices: What tokens cost.
        endpoints: Endpoints of one's own, by name.
    """

    def __init__(self, prices: PriceBook | None = None, endpoints: Mapping[str, Endpoint] | None = None) -> None:
        self._prices = prices or PriceBook()
        self._endpoints = endpoints or {}

    def check(self, model: str, max_tokens: int | None) -> None:
        """See that a budget can be kept with a model, and with each that would stand in for it.

        Args:
            model: `provider:name`, or several with `|` between.
            max_tokens: The limit of an answer, where its prompt sets one.

        Raises:
            UsageError: Its price or its longest answer is not known.
        """
        for one in alternatives(model):
            provider, name = split_model(one)
            if not self._costs_nothing(provider, name):
                self._rate(provider, name)
                if provider == ENDPOINT:
                    self._limited(name)
                elif max_tokens is None and provider != "anthropic":
                    self._longest(provider, name)

    def of(self, request: Request) -> int:
        """Say what a request can cost at most, picodollars; 0 for one that asks no model, or one that costs nothing.

        Raises:
            UsageError: The price or the longest answer of its model is not known.
        """
        provider, name = request.provider or "", request.model or ""
        if request.kind != "model" or self._costs_nothing(provider, name):
            return 0
        rate = self._rate(provider, name)
        if provider == ENDPOINT and not rate(Usage(1, 1)):
            return 0
        body = request.body
        window = self._prices.context_window(price_list(provider), name)
        read = len(body) + UNSEEN
        if _ELSEWHERE.search(body):
            read = max(read, window or read)
        elif window is not None:
            read = min(read, window)
        asked = _fields(body) or self._declared(name if provider == ENDPOINT else "")
        written = 0 if request.url.endswith(EMBEDDINGS) else _limit(asked)
        if written is None:
            written = self._longest(provider, name)
        copies = asked.get("n")
        usage = Usage(read, written * (copies if isinstance(copies, int) else 1))
        worst = max(rate(usage), rate(usage._replace(cache_creation_input_tokens=read)))
        return -(-worst // 2) if request.by_batch else worst

    def _costs_nothing(self, provider: str, name: str) -> bool:
        return is_free(provider) and not self._prices.is_given(price_list(provider), name)

    def _rate(self, provider: str, name: str) -> Rate:
        rate = self._prices.rate(price_list(provider), name)
        if rate is None:
            raise UsageError(
                f"no price is known for {provider}:{name}, so no budget can be kept with it; say what it costs in"
                f" dollars per million tokens, read/written: --price {provider}:{name}=0.40/1.60"
                " (pip install -U genai-prices brings newer prices)"
            )
        return rate

    def _limited(self, name: str) -> None:
        """See that an endpoint's body limits its answer, or that no answer costs anything."""
        if _limit(self._declared(name)) is None and self._rate(ENDPOINT, name)(Usage(1, 1)):
            raise UsageError(
                f"nobody says how long an answer of {ENDPOINT}:{name} can be, so no budget can be kept with it;"
                " write max_tokens into its body, or leave the budget away"
            )

    def _declared(self, name: str) -> Mapping[str, Any]:
        """Give the body that an endpoint is sent, as it is declared: what is sent may be a form."""
        declared = self._endpoints.get(name)
        return declared.body if declared is not None and isinstance(declared.body, dict) else {}

    def _longest(self, provider: str, name: str) -> int:
        """Say how long an answer without a limit of its own can be."""
        ours = name.removeprefix("openai/") if provider == "openrouter" else name
        if price_list(provider) == "openai" or ours != name:
            known = [begin for begin in OUTPUT_LIMITS if ours.startswith(begin)]
            if known:
                return OUTPUT_LIMITS[max(known, key=len)]
        window = self._prices.context_window(price_list(provider), name)
        if window is None:
            raise UsageError(
                f"nobody says how long an answer of {provider}:{name} can be, so no budget can be kept with it;"
                " give its stage max_tokens=, or leave the budget away"
            )
        return window


def is_free(provider: str) -> bool:
    """Whether a provider's models cost nothing: they run here, or on a server of one's own, which wants no key."""
    return provider in PROVIDERS and PROVIDERS[provider].key_env is None


def price_list(provider: str) -> str:
    """The provider's name in price lists."""
    return PROVIDERS[provider].price_list if provider in PROVIDERS else provider


def _limit(asked: Mapping[str, Any]) -> int | None:
    """Find a request's own limit of its answer."""
    found = (asked.get(field) for field in LIMIT_FIELDS)
    return next((most for most in found if isinstance(most, int) and not isinstance(most, bool)), None)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
