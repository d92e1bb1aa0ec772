from stagebook.llm.codec import Metered
from stagebook.llm.prices import PriceBook
from stagebook.model.usage import Usage, dollars


def used(usage: Usage, cost: float | None = None) -> Metered:
    return Metered(usage, b"{}", "m", "stop", cost)


def test_a_known_model_costs_what_its_price_list_says() -> None:
    charge = PriceBook().charge("openai", "gpt-4.1-mini", used(Usage(1_000_000, 1_000_000)))
    assert dollars(charge.cost) == "2"
    assert charge.price_source == "genai-prices"
    assert charge.price_version


def test_cached_tokens_are_charged_at_their_own_price() -> None:
    book = PriceBook()
    plain = book.charge("openai", "gpt-4.1-mini", used(Usage(1000, 0))).cost
    cached = book.charge("openai", "gpt-4.1-mini", used(Usage(1000, 0, cache_read_input_tokens=1000))).cost
    assert plain is not None
    assert cached is not None
    assert cached * 4 == plain


def test_what_the_provider_says_it_charged_is_believed() -> None:
    charge = PriceBook().charge("openrouter", "any/model", used(Usage(5, 5), cost=0.00012))
    assert dollars(charge.cost) == "0.00012"
    assert charge.price_source == "provider"


def test_an_unknown_model_has_no_price_and_a_local_one_is_free() -> None:
    assert PriceBook().charge("openai", "no-such-model-9", used(Usage(5, 5))).cost is None
    assert PriceBook().charge("local", "smollm2", used(Usage(5, 5))).cost == 0


def test_amounts_are_written_exactly() -> None:
    assert dollars(1) == "0.000000000001"
    assert dollars(2_500_000_000_000) == "2.5"
    assert dollars(100 * 10**12) == "100"
    assert dollars(0) == dollars(None) == "0"
