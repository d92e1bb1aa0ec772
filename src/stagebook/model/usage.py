"""Tokens and money."""

from decimal import Decimal
from typing import Final, NamedTuple

PICODOLLARS: Final = 10**12
"""Picodollars in one US dollar. The cheapest listed token (about $1e-8) is 10,000 of them, so that sums are exact."""


class Usage(NamedTuple):
    """What a model call used, normalised over providers; names after OpenTelemetry's `gen_ai.usage.*` attributes.

    Cached and reasoning tokens are inside input and output, as OpenTelemetry counts them.
    """

    input_tokens: int = 0
    """All tokens read, cached ones included."""
    output_tokens: int = 0
    """All tokens written, reasoning included."""
    cache_read_input_tokens: int = 0
    """Input tokens that the provider had cached."""
    cache_creation_input_tokens: int = 0
    """Input tokens that the provider put into its cache."""
    reasoning_output_tokens: int = 0
    """Output tokens spent on reasoning that is not shown."""


class Charge(NamedTuple):
    """What an answer used and cost; stored in the same commit as the answer."""

    usage: Usage
    """Normalised tokens."""
    raw_usage: bytes | None
    """The provider's own usage object, JSON as it came."""
    cost: int | None
    """Picodollars; None where no price is known."""
    price_version: str | None
    """Version of the price table."""
    price_source: str | None
    """Where the price came from: `genai-prices`, `provider`, `given` (by the user), `local` (free)."""
    model_returned: str | None = None
    """The model that the provider says answered."""
    finish_reason: str | None = None
    """Why the model stopped, in the provider's word."""


def dollars(picodollars: int | None) -> str:
    """Write an amount as an exact decimal string of US dollars, without exponent: `0.001234`."""
    if not picodollars:
        return "0"
    return format((Decimal(picodollars) / PICODOLLARS).normalize(), "f")
