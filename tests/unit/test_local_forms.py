"""The forms that the local model is held to, without the model."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.llm.local.json_grammar import UnusableSchema, json_form
from stagebook.llm.local.number_patterns import integer_pattern, number_pattern
from stagebook.llm.local.request import ChatRequest, Refused
from stagebook.llm.local.text_grammar import text_form


@given(st.integers(-20_000, 20_000), st.integers(0, 3_000), st.integers(-25_000, 25_000))
def test_the_pattern_of_integers_matches_those_in_range_and_no_other(low: int, span: int, tried: int) -> None:
    pattern, most = integer_pattern({"minimum": low, "maximum": low + span})
    for number in (tried, low, low + span, low - 1, low + span + 1, low + span // 2):
        found = re.fullmatch(pattern, str(number))
        assert bool(found) == (low <= number <= low + span)
        assert not found or len(str(number)) <= most


def test_integers_have_one_spelling() -> None:
    pattern, _ = integer_pattern({"minimum": -5, "maximum": 500})
    assert not any(re.fullmatch(pattern, text) for text in ("-0", "00", "007", "+1", "1.0", ""))


@given(st.integers(-300, 300), st.integers(0, 300), st.integers(-700, 700))
def test_the_pattern_of_numbers_matches_no_number_out_of_range(low: int, span: int, tried: int) -> None:
    minimum, maximum = low / 10, (low + span) / 10
    schema = {"minimum": minimum, "maximum": maximum}
    try:
        pattern, most = number_pattern(schema)
    except ValueError:
        assert span < 2  # not one hundredth lies strictly between
        return
    text = f"{tried / 10:.1f}"
    if re.fullmatch(pattern, text):
        assert minimum <= tried / 10 <= maximum
        assert len(text) <= most


def test_an_exclusive_bound_is_left_out() -> None:
    pattern, _ = integer_pattern({"exclusiveMinimum": 0, "exclusiveMaximum": 10})
    assert [number for number in range(-2, 13) if re.fullmatch(pattern, str(number))] == list(range(1, 10))


def test_an_impossible_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="between 5 and 4"):
        integer_pattern({"minimum": 5, "maximum": 4})


def test_bounds_get_tighter_until_the_longest_answer_fits() -> None:
    schema = {"properties": {"notes": {"type": "array", "items": {"type": "string"}}}}
    most = [json_form(schema, tokens).most_tokens for tokens in (2000, 500, 100, 20)]
    assert all(form <= tokens for form, tokens in zip(most, (2000, 500, 100, 20), strict=True))
    assert most == sorted(most, reverse=True)


def test_what_a_schema_asks_for_at_least_is_kept_whatever_it_costs() -> None:
    schema = {"type": "array", "items": {"type": "string", "minLength": 80}, "minItems": 10, "maxItems": 40}
    form = json_form(schema, 50)
    assert '(", " T0){9,9}' in form.grammar
    assert form.most_tokens > 10 * 80 / 3


def test_recursion_ends() -> None:
    node = {"properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}, "required": ["kids"]}
    form = json_form({"$defs": {"Node": node}, "$ref": "#/$defs/Node"}, 500)
    assert '"[]"' in form.grammar


ENDLESS = {"properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "#/$defs/Node", "$defs": {"Node": ENDLESS}}, "without an end"),
        ({"$ref": "#/$defs/Gone"}, "Gone"),
        ({"enum": []}, "enum"),
        ({"type": "string", "minLength": 5, "maxLength": 4}, "at least 5"),
    ],
)
def test_a_schema_that_no_bounded_answer_fits_is_an_error(schema: dict[str, object], reason: str) -> None:
    with pytest.raises(UnusableSchema, match=reason):
        json_form(schema, 500)


def test_a_long_text_is_as_many_paragraphs_as_its_length_needs() -> None:
    for least in (600, 3000, 9000):
        grammar = text_form({"minLength": least}, 4000).grammar
        found = re.search(r"\{(\d+)\}\nPARAGRAPH: .*?\{(\d+),", grammar)
        assert found
        assert (int(found[1]) + 1) * (int(found[2]) + 2) >= least


def test_an_article_has_one_title_and_two_to_six_sections() -> None:
    for least, sections in ((600, 2), (3000, 4), (12000, 6)):
        grammar = text_form({"minLength": least, "contentMediaType": "text/markdown"}, 4000).grammar
        assert f"section{{{sections}}}" in grammar


def body(extra: str) -> bytes:
    return b'{"messages":[{"role":"user","content":"Hi"}]%s}' % extra.encode()


@pytest.mark.parametrize(
    ("given_body", "param"),
    [
        (body(',"tools":[{"type":"function"}]'), "tools"),
        (body(',"stream":true'), "stream"),
        (body(',"n":2'), "n"),
        (body(',"max_tokens":0'), "max_tokens"),
        (b'{"messages":[]}', "messages"),
        (b'{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}', "messages"),
        (b"[1]", None),
        (b"{", None),
    ],
)
def test_a_request_for_what_it_does_not_do_is_refused(given_body: bytes, param: str | None) -> None:
    with pytest.raises(Refused) as refused:
        ChatRequest(given_body)
    assert refused.value.param == param


def test_a_schema_that_cannot_be_held_is_refused_in_openai_s_words() -> None:
    request = ChatRequest(body(',"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"#/x"}}}'))
    with pytest.raises(Refused) as refused:
        request.form(500)
    assert b'"code":"invalid_json_schema"' in refused.value.document()


def test_the_pieces_of_a_message_are_one_text() -> None:
    parts = b'{"messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}'
    assert ChatRequest(parts).messages == [{"role": "system", "content": "ab"}]
