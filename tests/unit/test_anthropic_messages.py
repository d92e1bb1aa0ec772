"""Anthropic's messages, as pure functions."""

import base64
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.door.retry import RETRIED_STATUSES
from stagebook.llm.anthropic_messages import MAX_TOKENS, Messages, decode, encode, explain, metered
from stagebook.llm.codec import Unreadable
from stagebook.llm.narrow_schema import narrow
from stagebook.llm.prices import PriceBook
from stagebook.model.errors import ContextTooLong
from stagebook.model.exchange import Response
from stagebook.model.image import Image
from stagebook.model.prompt import Message, Native, Prompt, Sampling, ToolCall, ToolSpec
from stagebook.model.usage import PICODOLLARS
from stagebook.testing.provider_anthropic import read
from stagebook.testing.provider_request import ChatRequest

SCHEMA = b'{"properties":{"a":{"minimum":3,"title":"A","type":"integer"}},"title":"Thing","type":"object"}'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(600)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
pieces = st.lists(words, min_size=1, max_size=4).map(tuple)


def written(prompt: Prompt) -> dict[str, object]:
    body: dict[str, object] = orjson.loads(b"".join(encode(prompt, "claude-haiku-4-5")))
    return body


def said(**more: object) -> bytes:
    whole = {"type": "message", "model": "claude-haiku-4-5", "content": [], "stop_reason": "end_turn"}
    return orjson.dumps({**whole, **more})


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), pieces), min_size=1, max_size=5))
def test_every_conversation_that_begins_with_the_user_is_one_that_the_provider_takes(messages: list[Message]) -> None:
    messages = [Message("user", ("begin",)), *messages]
    body = b"".join(encode(Prompt(tuple(messages)), "m"))
    taken = read(1, body, "0" * 64, Messages().headers(None))
    assert isinstance(taken, ChatRequest), taken
    document = orjson.loads(body)
    speakers = [turn["role"] for turn in document["messages"]]
    assert all(before != after for before, after in pairwise(speakers))
    texts = [block["text"] for turn in document["messages"] for block in turn["content"]]
    assert texts == [one.text for one in messages if one.role != "system"]
    system = [block["text"] for block in document.get("system", ())]
    assert system == [one.text for one in messages if one.role == "system"]


def test_a_prompt_of_the_system_alone_is_said_by_the_user() -> None:
    body = written(Prompt((Message("system", ("Say something.",)),)))
    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say something."}]}]


def test_the_limit_of_an_answer_is_always_given() -> None:
    asked = (Message("user", ("hi",)),)
    assert written(Prompt(asked))["max_tokens"] == MAX_TOKENS
    assert written(Prompt(asked, Sampling(max_tokens=7)))["max_tokens"] == 7


def test_what_the_format_has_no_field_for_is_left_out() -> None:
    body = written(Prompt((Message("user", ("hi",)),), Sampling(temperature=0.5, top_p=0.9, seed=3)))
    assert body.keys() == {"model", "max_tokens", "messages"}


def test_a_schema_is_held_by_the_output_format_and_its_sizes_are_told_in_words() -> None:
    body = written(Prompt((Message("user", ("hi",)),), Sampling(reasoning_effort="minimal"), "Thing", SCHEMA))
    assert body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"a": {"type": "integer", "description": "(minimum: 3)"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        },
        "effort": "low",
    }


def test_an_object_that_holds_itself_becomes_an_instruction() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "properties": {"first": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    assert narrow(schema) == (False, schema)
    body = written(Prompt((Message("user", ("hi",)),), schema_name="List", schema=orjson.dumps(schema)))
    assert "output_config" not in body
    assert "valid under this JSON schema" in str(body["system"])


def test_a_picture_is_a_block_in_its_place_and_its_bytes_are_a_segment_of_their_own() -> None:
    image = Image.from_bytes(PNG)
    prompt = Prompt((Message("user", ("Look: ", image, "What is it?")),))
    blocks = written(prompt)["messages"][0]["content"]  # type: ignore[index]  # parsed JSON
    data = base64.b64encode(PNG).decode()
    assert blocks == [
        {"type": "text", "text": "Look: "},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        {"type": "text", "text": "What is it?"},
    ]
    assert data.encode() in encode(prompt, "m")


def test_results_of_one_turn_s_calls_are_one_message_right_after_it() -> None:
    calls = (ToolCall("a", "add", '{"x":1}'), ToolCall("b", "add", '{"x":2}'))
    turns = (Message("user", ("go",)), Message("assistant", ("Let me see.",), calls))
    results = (Message("tool", ("1",), call_id="a"), Message("tool", ("2",), call_id="b"))
    spec = ToolSpec("add", "Adds.", b'{"type":"object","properties":{"x":{"type":"integer"}}}')
    body = b"".join(encode(Prompt((*turns, *results), tools=(spec,)), "m"))
    taken = read(1, body, "0" * 64, Messages().headers(None))
    assert isinstance(taken, ChatRequest), taken
    document = orjson.loads(body)
    assert [block["tool_use_id"] for block in document["messages"][2]["content"]] == ["a", "b"]
    assert document["messages"][1]["content"][1] == {"type": "tool_use", "id": "a", "name": "add", "input": {"x": 1}}
    assert document["tools"] == [
        {"name": "add", "description": "Adds.", "input_schema": orjson.loads(spec.parameters)},
    ]


def test_a_turn_of_this_provider_goes_back_as_it_came_and_one_of_another_as_text_and_calls() -> None:
    content = [{"type": "thinking", "thinking": "hm", "signature": "mh"}, {"type": "tool_use", "id": "a", "name": "f"}]
    native = Native("anthropic", orjson.dumps(content))
    call = ToolCall("a", "f", "no JSON")
    for turn, sent in (
        (native, content),
        (Native("responses", b"[1]"), [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]),
    ):
        body = written(Prompt((Message("user", ("go",)), Message("assistant", (), (call,), native=turn))))
        assert body["messages"][1]["content"] == sent  # type: ignore[index]  # parsed JSON


def test_thinking_is_no_part_of_the_text() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    body = said(content=[thought, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}])
    assert decode(body).text == "ab"


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_an_answer_that_stopped_at_a_limit_is_truncated(reason: str) -> None:
    assert decode(said(stop_reason=reason)).truncated
    assert not decode(said()).truncated


def test_a_refusal_is_one_with_or_without_an_explanation() -> None:
    told = said(stop_reason="refusal", stop_details={"type": "refusal", "explanation": "not that"})
    assert decode(told).refusal == "not that"
    assert decode(said(stop_reason="refusal", stop_details=None)).refusal
    assert decode(said()).refusal is None


def test_calls_are_read_with_the_turn_as_it_came() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "mh"},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"x": 1}},
    ]
    reply = decode(said(content=content, stop_reason="tool_use"))
    assert reply.calls == (ToolCall("toolu_1", "add", '{"x":1}'),)
    assert reply.native is not None
    assert orjson.loads(reply.native.content) == content


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"content":null,"stop_reason":null}'])
def test_a_body_that_is_no_message_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)


def test_what_was_cached_is_inside_the_input_and_priced_as_that() -> None:
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 10,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    found = metered(said(usage=usage))
    assert found is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (1110, 50)
    assert (found.usage.cache_read_input_tokens, found.usage.cache_creation_input_tokens) == (1000, 10)
    assert found.usage.reasoning_output_tokens == 30
    charge = PriceBook().charge("anthropic", "claude-haiku-4-5", found)
    # $1 a million read, $0.10 cached, $1.25 put into the cache, $5 written
    assert charge.cost == (100 * 1_000_000 + 1000 * 100_000 + 10 * 1_250_000 + 50 * 5_000_000) * PICODOLLARS // 10**12
    assert charge.price_source == "genai-prices"


@given(st.binary(max_size=80))
def test_reading_usage_never_raises(body: bytes) -> None:
    metered(body)


def test_overloaded_is_tried_again_and_a_prompt_that_is_too_long_is_not() -> None:
    assert 529 in RETRIED_STATUSES
    error = {"type": "invalid_request_error", "message": "prompt is too long: 215000 tokens > 200000 maximum"}
    body = orjson.dumps({"type": "error", "error": error})
    assert isinstance(explain(Response(400, {}, body)), ContextTooLong)
    overloaded = orjson.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    assert explain(Response(529, {}, overloaded)) is None
    assert explain(Response(400, {}, b"[1]")) is None


def test_a_request_is_read_back_in_words() -> None:
    body = written(Prompt((Message("system", ("be brief",)), Message("user", ("hi", Image.from_bytes(PNG))))))
    assert Messages().spoken(body) == [("system", "be brief"), ("user", "hi[image]")]
