import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.llm.codec import Unreadable
from stagebook.llm.openai_chat import decode, encode, explain, metered
from stagebook.llm.strict_schema import strict
from stagebook.model.errors import ContextTooLong
from stagebook.model.exchange import Response
from stagebook.model.prompt import Message, Prompt, Sampling

SCHEMA = b'{"properties":{"a":{"default":1,"title":"A","type":"integer"}},"title":"Thing","type":"object"}'

pieces = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6).map(tuple)


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), pieces), max_size=4))
def test_a_body_cut_into_pieces_is_the_same_json_as_one_written_whole(messages: list[Message]) -> None:
    body = orjson.loads(b"".join(encode(Prompt(tuple(messages)), "m")))
    assert body["messages"] == [{"role": one.role, "content": one.text} for one in messages]
    assert body["model"] == "m"


def test_a_large_value_stands_alone_in_a_segment() -> None:
    value = 'said "so"\n' * 100
    segments = encode(Prompt((Message("user", ("before ", value, " after")),)), "m")
    assert orjson.dumps(value)[1:-1] in segments


def test_a_schema_is_sent_where_the_provider_holds_answers_to_it() -> None:
    body = orjson.loads(b"".join(encode(Prompt((), Sampling(max_tokens=9), "Thing", SCHEMA), "m", limit_field="max")))
    sent = body["response_format"]["json_schema"]
    assert sent["strict"] is True
    assert sent["schema"] == {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert body["max"] == 9


def test_a_schema_becomes_an_instruction_where_the_provider_only_promises_json() -> None:
    body = orjson.loads(b"".join(encode(Prompt((), schema_name="Thing", schema=SCHEMA), "m", structured="json_object")))
    assert body["response_format"] == {"type": "json_object"}
    assert SCHEMA.decode() in body["messages"][0]["content"]


def test_an_object_with_free_keys_cannot_be_held_strictly() -> None:
    free = {"type": "object", "properties": {"x": {"type": "object", "additionalProperties": {"type": "string"}}}}
    assert strict(free) == (False, free)


def test_a_property_named_like_a_keyword_is_kept() -> None:
    held, schema = strict({"type": "object", "properties": {"title": {"type": "string", "title": "Title"}}})
    assert held
    assert schema["properties"] == {"title": {"type": "string"}}


def answer(**message: object) -> bytes:
    return orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]})


def test_text_is_read_whether_it_comes_whole_or_in_parts() -> None:
    assert decode(answer(content="hello")).text == "hello"
    assert decode(answer(content=[{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}])).text == "hello"


def test_a_refusal_and_a_content_filter_are_told_apart_from_an_answer() -> None:
    assert decode(answer(content=None, refusal="no")).refusal == "no"
    filtered = orjson.dumps({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]})
    assert "filter" in (decode(filtered).refusal or "")


def test_an_answer_cut_at_its_limit_is_truncated() -> None:
    cut = orjson.dumps({"choices": [{"message": {"content": "half"}, "finish_reason": "length"}]})
    assert decode(cut).truncated


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"choices":[]}', b'{"choices":[{"message":null}]}'])
def test_a_body_that_is_no_completion_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)


def test_cached_and_reasoning_tokens_are_inside_input_and_output() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 80},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    found = metered(orjson.dumps({"model": "m-1", "choices": [{"finish_reason": "stop"}], "usage": usage}))
    assert found is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (100, 50)
    assert (found.usage.cache_read_input_tokens, found.usage.reasoning_output_tokens) == (80, 30)
    assert found.model == "m-1"
    assert orjson.loads(found.raw or b"") == usage


@given(st.binary(max_size=80))
def test_reading_usage_never_raises(body: bytes) -> None:
    metered(body)


def test_a_context_that_is_too_long_is_told_as_that() -> None:
    body = orjson.dumps({"error": {"code": "context_length_exceeded", "message": "9000 tokens, 8192 fit"}})
    assert isinstance(explain(Response(400, {}, body)), ContextTooLong)
    assert explain(Response(400, {}, b"{}")) is None
    assert explain(Response(400, {}, b"[1]")) is None
