import orjson
import pytest

from stagebook.llm.prices import PriceBook
from stagebook.llm.sdk_requests import SdkRequests
from stagebook.model.exchange import Response
from stagebook.model.usage import Charge, Usage

BODY = b'{"model":"gpt-4.1-mini","messages":[]}'


def requests(**environment: str) -> SdkRequests:
    return SdkRequests(environment, PriceBook())


def stream(*events: dict[str, object]) -> Response:
    lines = [b"event: x\ndata: " + orjson.dumps(event) + b"\n" for event in events]
    return Response(200, {"content-type": "text/event-stream"}, b"\n".join([*lines, b"data: [DONE]", b""]))


def charge(url: str, body: bytes, response: Response) -> Charge:
    known = requests().recognise(url, body)
    assert known is not None
    charged = known.meter(response)
    assert charged is not None
    return charged


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1/chat/completions", "openai"),
        ("https://api.openai.com/v1/responses?beta=true", "openai-responses"),
        ("https://api.anthropic.com/v1/messages", "anthropic"),
        ("http://127.0.0.1:7/v1/chat/completions", "openai"),
        ("https://gateway.example:8443/openai/chat/completions", "gateway.example:8443"),
    ],
)
def test_a_request_is_known_by_its_address(url: str, provider: str) -> None:
    known = requests(OPENAI_BASE_URL="http://127.0.0.1:7/v1/").recognise(url, BODY)
    assert known is not None
    assert (known.provider, known.model) == (provider, "gpt-4.1-mini")


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://api.openai.com/v1/files", BODY),
        ("https://api.openai.com/v1/chat/completions", b""),
        ("https://api.openai.com/v1/chat/completions", b"[]"),
        ("https://api.openai.com/v1/chat/completions", b'{"model":7}'),
    ],
)
def test_what_asks_no_model_is_not_known(url: str, body: bytes) -> None:
    assert requests().recognise(url, body) is None


def test_a_stream_of_chat_completions_tells_usage_in_its_last_chunk() -> None:
    told = charge(
        "https://api.openai.com/v1/chat/completions",
        BODY,
        stream(
            {"model": "gpt-4.1-mini", "choices": [{"delta": {"content": "a"}, "finish_reason": None}], "usage": None},
            {"model": "gpt-4.1-mini", "choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"model": "gpt-4.1-mini", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}},
        ),
    )
    assert (told.usage, told.finish_reason) == (Usage(10, 2), "stop")
    assert told.cost == 10 * 400_000 + 2 * 1_600_000


def test_a_stream_of_messages_tells_usage_in_its_first_event_and_in_its_last() -> None:
    told = charge(
        "https://api.anthropic.com/v1/messages",
        b'{"model":"claude-haiku-4-5"}',
        stream(
            {
                "type": "message_start",
                "message": {
                    "model": "claude-haiku-4-5",
                    "usage": {"input_tokens": 8, "cache_read_input_tokens": 30, "output_tokens": 1},
                },
            },
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
        ),
    )
    assert told.usage == Usage(38, 4, cache_read_input_tokens=30)
    assert told.finish_reason == "end_turn"


def test_a_stream_of_a_response_tells_usage_in_its_last_event() -> None:
    told = charge(
        "https://api.openai.com/v1/responses",
        BODY,
        stream(
            {"type": "response.created", "response": {"model": "gpt-4.1-mini", "status": "queued", "usage": None}},
            {"type": "response.output_text.delta", "delta": "a"},
            {
                "type": "response.completed",
                "response": {
                    "model": "gpt-4.1-mini",
                    "status": "completed",
                    "usage": {"input_tokens": 9, "output_tokens": 3},
                },
            },
        ),
    )
    assert told.usage == Usage(9, 3)
    assert told.model_returned == "gpt-4.1-mini"


def test_a_stream_that_tells_no_usage_is_not_charged() -> None:
    known = requests().recognise("https://api.openai.com/v1/chat/completions", BODY)
    assert known is not None
    assert known.meter(stream({"choices": [{"delta": {"content": "a"}}]})) is None


def test_an_unknown_hosts_tokens_are_counted_and_its_price_is_not_known() -> None:
    answer = Response(200, {}, b'{"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}')
    told = charge("https://gateway.example/v1/chat/completions", BODY, answer)
    assert (told.usage, told.cost, told.price_source) == (Usage(3, 1), None, None)
