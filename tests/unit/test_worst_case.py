"""What a request can cost at most: never less than its answer costs."""

import pytest

from stagebook.llm.prices import PriceBook
from stagebook.llm.providers import PROVIDERS
from stagebook.llm.worst_case import UNSEEN, WorstCases
from stagebook.model.errors import UsageError
from stagebook.model.exchange import Request
from stagebook.model.prompt import Message, Prompt, Sampling
from stagebook.model.usage import PICODOLLARS, Usage


def request(provider: str, model: str, prompt: Prompt) -> Request:
    segments = PROVIDERS[provider].codec.encode(prompt, model)
    return Request("POST", "https://x", segments, kind="model", provider=provider, model=model)


def prompt(text: str, max_tokens: int | None = None) -> Prompt:
    return Prompt((Message("user", (text,)),), Sampling(max_tokens=max_tokens))


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4.1-mini"),
        ("openai-responses", "gpt-5"),
        ("anthropic", "claude-haiku-4-5"),
        ("openrouter", "openai/gpt-4.1-mini"),
        ("mistral", "mistral-large-latest"),
    ],
)
def test_no_use_within_a_requests_limits_costs_more(provider: str, model: str) -> None:
    asked = request(provider, model, prompt("wörd " * 500, 300))
    worst = WorstCases().of(asked)
    rate = PriceBook().rate(PROVIDERS[provider].price_list, model)
    assert rate is not None
    tokens = len(asked.body)
    for cached, written in ((0, 0), (tokens, 0), (0, tokens)):
        assert rate(Usage(tokens, 300, cached, written)) <= worst
    assert worst < PICODOLLARS // 10


def test_an_answer_without_a_limit_is_as_long_as_the_model_can_write() -> None:
    worst = WorstCases()
    limited = worst.of(request("openai", "gpt-4.1-mini", prompt("x", 32_768)))
    free = worst.of(request("openai", "gpt-4.1-mini", prompt("x")))
    assert 0 <= limited - free <= 100 * 400_000, "they differ by the bytes of the limit"
    assert worst.of(request("openai", "gpt-4.1-mini", prompt("x", 10))) < free / 50


def test_several_answers_to_one_request_count_each() -> None:
    body = b'{"model":"gpt-4.1-mini","max_tokens":1000,"n":5,"messages":[]}'
    five = Request("POST", "https://x", (body,), kind="model", provider="openai", model="gpt-4.1-mini")
    price = PriceBook().rate("openai", "gpt-4.1-mini")
    assert price is not None
    assert WorstCases().of(five) == price(Usage(len(body) + UNSEEN, 5000))


def test_what_stands_elsewhere_counts_as_the_whole_window() -> None:
    def cost(body: bytes) -> int:
        one = Request("POST", "https://x", (body,), kind="model", provider="openai", model="gpt-4.1-mini")
        return WorstCases().of(one)

    inline = cost(b'{"max_tokens":1,"messages":[]}')
    for reference in (b'"previous_response_id": "resp_1"', b'"url":"https://x/y.png"', b'"file_id":"f"'):
        assert cost(b'{"max_tokens":1,"messages":[],' + reference + b"}") > 100 * inline
    picture = b'{"max_tokens":1,"messages":[],"url":"data:image/png;base64,' + b"A" * 9_000_000 + b'"}'
    assert cost(picture) <= cost(b'{"max_tokens":1,"file_id":"f"}'), "never more than the window"


def test_what_asks_no_model_and_what_runs_here_costs_nothing() -> None:
    assert WorstCases().of(Request("GET", "https://x", ())) == 0
    assert WorstCases().of(Request("POST", "local:", (), kind="model", provider="local", model="smollm2")) == 0
    WorstCases().check("local:smollm2|vllm:any|ollama:any", None)


@pytest.mark.parametrize(
    ("model", "max_tokens", "reason"),
    [
        ("openai:gpt-99", 10, "no price is known for openai:gpt-99"),
        ("openai:gpt-4.1|together:unheard/of", 10, "no price is known for together:unheard/of"),
        ("groq:llama-3.3-70b-versatile", None, "give its stage max_tokens="),
    ],
)
def test_what_nobody_knows_is_refused_with_its_mend(model: str, max_tokens: int | None, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        WorstCases().check(model, max_tokens)


def test_an_unknown_servers_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no price is known for models\.corp:gpt-x"):
        WorstCases().of(Request("POST", "https://x", (b"{}",), kind="model", provider="models.corp", model="gpt-x"))
