"""OpenAI's responses, as pure functions."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.llm.codec import JobFailed, Unreadable
from stagebook.llm.openai_responses import Responses, decode, encode, metered
from stagebook.llm.prices import PriceBook
from stagebook.model.image import Image
from stagebook.model.prompt import Message, Native, Prompt, Sampling, ToolCall, ToolSpec
from stagebook.testing.provider_request import ChatRequest
from stagebook.testing.provider_responses import read

SCHEMA = b'{"properties":{"a":{"default":1,"title":"A","type":"integer"}},"title":"Thing","type":"object"}'
GIF = b"GIF89a" + bytes(700)

pieces = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4).map(tuple)


def written(prompt: Prompt, *, background: bool = False) -> dict[str, object]:
    body: dict[str, object] = orjson.loads(b"".join(encode(prompt, "gpt-4.1-mini", background=background)))
    return body


def said(**more: object) -> bytes:
    whole = {"id": "resp_1", "object": "response", "model": "gpt-4.1-mini", "status": "completed", "output": []}
    return orjson.dumps({**whole, **more})


def message(*parts: dict[str, object]) -> list[dict[str, object]]:
    return [{"type": "message", "role": "assistant", "content": list(parts)}]


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), pieces), min_size=1, max_size=5))
def test_every_conversation_is_one_that_the_provider_takes(messages: list[Message]) -> None:
    body = b"".join(encode(Prompt((Message("user", ("begin",)), *messages)), "m"))
    taken = read(1, body, "0" * 64, {})
    assert isinstance(taken, ChatRequest), taken
    document = orjson.loads(body)
    turns = [(one.role, one.text) for one in messages if one.role != "system"]
    assert [(item["role"], item["content"]) for item in document["input"]] == [("user", "begin"), *turns]
    assert document.get("instructions", "") == "\n\n".join(one.text for one in messages if one.role == "system")


def test_a_schema_is_held_strictly() -> None:
    asked = (Message("user", ("hi",)),)
    body = written(Prompt(asked, Sampling(max_tokens=90, reasoning_effort="low", seed=3), "Thing", SCHEMA))
    assert body["text"] == {
        "format": {
            "type": "json_schema",
            "name": "Thing",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        }
    }
    assert body["max_output_tokens"] == 90
    assert body["reasoning"] == {"effort": "low"}
    assert "seed" not in body


def test_an_answer_is_left_with_the_provider_only_where_it_must_be_found_again() -> None:
    asked = Prompt((Message("user", ("hi",)),))
    assert written(asked)["store"] is False
    job = written(asked, background=True)
    assert (job["store"], job["background"]) == (True, True)


def test_a_picture_stands_in_its_place_and_its_bytes_are_a_segment_of_their_own() -> None:
    prompt = Prompt((Message("user", ("Look: ", Image.from_bytes(GIF))),))
    data = base64.b64encode(GIF).decode()
    assert written(prompt)["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look: "},
                {"type": "input_image", "detail": "auto", "image_url": f"data:image/gif;base64,{data}"},
            ],
        }
    ]
    assert data.encode() in encode(prompt, "m")


def test_calls_and_their_results_are_items_that_the_provider_takes() -> None:
    calls = (ToolCall("a", "add", '{"x":1}'), ToolCall("b", "add", '{"x":2}'))
    spec = ToolSpec("add", "Adds.", b'{"type":"object","properties":{"x":{"type":"integer"}}}')
    turns = (Message("user", ("go",)), Message("assistant", (), calls))
    results = (Message("tool", ("1",), call_id="a"), Message("tool", ("2",), call_id="b"))
    body = b"".join(encode(Prompt((*turns, *results), tools=(spec,)), "m"))
    taken = read(1, body, "0" * 64, {})
    assert isinstance(taken, ChatRequest), taken
    items = orjson.loads(body)["input"]
    assert [item.get("type") for item in items[1:]] == ["function_call"] * 2 + ["function_call_output"] * 2
    assert items[3] == {"type": "function_call_output", "call_id": "a", "output": "1"}


def test_a_turn_of_this_provider_goes_back_as_it_came() -> None:
    output = [{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "function_call", "call_id": "a"}]
    turn = Message("assistant", (), (ToolCall("a", "f", "{}"),), native=Native("responses", orjson.dumps(output)))
    assert written(Prompt((Message("user", ("go",)), turn)))["input"][1:] == output  # type: ignore[index]  # parsed JSON


def test_text_is_read_and_reasoning_is_not() -> None:
    text = message({"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"})
    assert decode(said(output=[{"type": "reasoning", "summary": []}, *text])).text == "ab"


def test_a_refusal_is_a_part_of_its_own_and_a_filter_is_one_too() -> None:
    assert decode(said(output=message({"type": "refusal", "refusal": "no"}))).refusal == "no"
    filtered = said(status="incomplete", incomplete_details={"reason": "content_filter"})
    assert "filter" in (decode(filtered).refusal or "")
    assert not decode(filtered).truncated


def test_an_answer_cut_at_its_limit_is_truncated() -> None:
    assert decode(said(status="incomplete", incomplete_details={"reason": "max_output_tokens"})).truncated


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_job_at_work_has_its_handle_and_has_cost_nothing(status: str) -> None:
    body = said(status=status, usage=None)
    assert decode(body).job == "resp_1"
    found = metered(body)
    assert found is not None
    assert PriceBook().charge("openai", "gpt-4.1-mini", found).cost == 0
    assert metered(said(usage=None)) is None
    assert decode(said()).job is None


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_failed_says_why(status: str) -> None:
    with pytest.raises(JobFailed, match="server_error: try later"):
        decode(said(status=status, error={"code": "server_error", "message": "try later"}))


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"status":"completed","output":[{}]}'])
def test_a_body_that_is_no_response_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)


def test_cached_and_reasoning_tokens_are_inside_input_and_output() -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 5},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 30},
    }
    found = metered(said(usage=usage))
    assert found is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (100, 50)
    assert (found.usage.cache_read_input_tokens, found.usage.cache_creation_input_tokens) == (80, 5)
    assert found.usage.reasoning_output_tokens == 30
    assert found.finish_reason == "completed"


@given(st.binary(max_size=80))
def test_reading_usage_never_raises(body: bytes) -> None:
    metered(body)


def test_a_request_is_read_back_in_words() -> None:
    call = ToolCall("a", "add", '{"x":1}')
    turns = (Message("system", ("be brief",)), Message("user", ("hi",)), Message("assistant", (), (call,)))
    body = written(Prompt((*turns, Message("tool", ("2",), call_id="a"))))
    assert Responses().spoken(body) == [
        ("system", "be brief"),
        ("user", "hi"),
        ("assistant", '[calls add {"x":1}]'),
        ("tool", "2"),
    ]
