"""Requests to endpoints of any shape, and what is read out of their answers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook import Endpoint
from stagebook.llm.codec import Unreadable
from stagebook.llm.plain_endpoint import PlainEndpoint
from stagebook.llm.prices import PriceBook, given_rate
from stagebook.llm.worst_case import WorstCases
from stagebook.model.errors import InputError, RequestRefused, SecretInInput, StagebookError, UsageError
from stagebook.model.exchange import Response
from stagebook.model.image import Image
from stagebook.model.prompt import Message, Prompt, ToolSpec
from stagebook.model.usage import Usage

URL = "https://api.example.com/ask"
words = st.text(st.characters(exclude_categories=["Cs"]))


def asking(*texts: str, system: str | None = None) -> Prompt:
    roles = ("user", "assistant")
    turns = tuple(Message(roles[index % 2], (text,)) for index, text in enumerate(texts))  # type: ignore[arg-type]
    return Prompt((Message("system", (system,)), *turns) if system is not None else turns)


def codec(**fields: Any) -> PlainEndpoint:
    return PlainEndpoint("mine", Endpoint(**{"url": URL, **fields}))


def sent(prompt: Prompt, **fields: Any) -> Any:
    return orjson.loads(codec(**fields).request(prompt).body)


@given(words)
def test_whatever_is_asked_arrives_as_it_is(text: str) -> None:
    assert sent(asking(text)) == {"prompt": text}
    assert sent(asking(text), body={"in": ["<{{prompt}}>", 1, None], "x": "{{ model }}"}, model="m") == {
        "in": [f"<{text}>", 1, None],
        "x": "m",
    }


@given(words)
def test_a_form_a_text_and_an_address_hold_it_as_well(text: str) -> None:
    form = codec(body={"q": "{{ prompt }}", "n": 2}, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert dict(parse_qsl(form.request(asking(text)).body.decode(), keep_blank_values=True)) == {"q": text, "n": "2"}
    plain = codec(body="Q: {{ prompt }}", headers={"content-type": "text/plain; charset=utf-8"})
    assert plain.request(asking(text)).body == f"Q: {text}".encode()
    got = codec(url=URL + "?q={{ prompt }}&key=env:KEY", method="GET").request(asking(text))
    assert (got.method, got.body) == ("GET", b"")
    assert dict(parse_qsl(urlsplit(got.url).query, keep_blank_values=True)) == {"q": text, "key": "env:KEY"}


def test_a_prompt_that_names_a_secret_in_an_address_is_not_given_it() -> None:
    request = codec(url=URL + "?q={{ prompt }}", method="GET").request(asking("env:OPENAI_API_KEY"))
    assert "env:" not in request.url


def test_a_conversation_is_a_list_or_one_text() -> None:
    prompt = asking("Why?", "Because.", "Shorter!", system="Be brief.")
    told = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    told.append({"role": "user", "content": "Shorter!"})
    assert sent(prompt, body={"m": "{{ messages }}"}) == {"m": [{"role": "system", "content": "Be brief."}, *told]}
    apart = sent(prompt, body={"m": "{{ messages }}", "s": "{{ system }}"})
    assert apart == {"m": told, "s": "Be brief."}
    assert sent(prompt) == {"prompt": "Be brief.\n\nUser:\nWhy?\n\nAssistant:\nBecause.\n\nUser:\nShorter!"}
    assert sent(asking("Why?", system="Be brief."), body=["{{ system }}|{{ prompt }}"]) == ["Be brief.|Why?"]
    assert sent(asking("Why?"), body=["{{ system }}|{{ prompt }}"]) == ["|Why?"]


def test_a_schema_is_asked_for_in_words() -> None:
    prompt = Prompt((Message("user", ("Why?",)),), schema_name="A", schema=b'{"type":"object"}')
    assert sent(prompt)["prompt"].endswith('{"type":"object"}\n\nWhy?')


def test_a_large_value_stands_alone_in_a_segment() -> None:
    value = 'said "so"\n' * 100
    segments = codec().request(Prompt((Message("user", ("before ", value, " after")),))).segments
    assert orjson.dumps(value)[1:-1] in segments


def test_pictures_and_tools_are_refused_with_the_mend() -> None:
    picture = Image.from_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with pytest.raises(InputError, match="endpoint:mine is sent text, and the prompt has a picture"):
        codec().request(Prompt((Message("user", ("see", picture)),)))
    with pytest.raises(InputError, match="cannot be given tools"):
        codec().request(Prompt((Message("user", ("see",)),), tools=(ToolSpec("t", "", b"{}"),)))


SHAPES: Mapping[str, object] = {
    "a plain string": "so",
    "response": {"response": "so", "id": 7},
    "content": {"content": "so"},
    "text": {"text": "so"},
    "completion": {"completion": "so"},
    "choices": {"choices": [{"message": {"role": "assistant", "content": "so"}}]},
    "choices in parts": {"choices": [{"message": {"content": [{"type": "text", "text": "s"}, {"text": "o"}]}}]},
    "choices of text": {"choices": [{"text": "so"}]},
    "responses": {
        "output": [
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
            {
                "type": "message",
                "content": [{"type": "output_text", "text": "s"}, {"type": "output_text", "text": "o"}],
            },
        ]
    },
    "output text": {"output_text": "so"},
    "blocks": {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}]},
    "a message": {"message": {"role": "assistant", "content": "so"}},
    "wrapped": {"response": {"text": "so"}},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_the_text_is_found_in_every_known_shape(shape: object) -> None:
    assert codec().decode(orjson.dumps(shape)).text == "so"


def test_a_body_that_is_a_text_is_the_answer() -> None:
    assert codec().decode("So it is: ä".encode()).text == "So it is: ä"
    assert codec(answer="").decode(b'{"word": "so"}').text == '{"word": "so"}'
    assert codec().decode(b'{"response": ""}').text == ""


@pytest.mark.parametrize("place", ["data.items[0].t/x", "/data/items/0/t~1x"], ids=["dotted", "pointer"])
def test_the_text_is_found_where_it_is_said_to_be(place: str) -> None:
    mine = codec(answer=place)
    assert mine.decode(b'{"data": {"items": [{"t/x": "so"}]}, "text": "no"}').text == "so"
    assert mine.decode(b'{"data": {"items": [{"t/x": {"a": 1}}]}}').text == '{"a":1}'
    with pytest.raises(Unreadable, match=r"endpoint:mine answered without anything at .*'\{\"data\": 1\}'; set answer"):
        mine.decode(b'{"data": 1}')


UNREADABLE = {
    "an empty body": (b" \n", "answered with an empty body"),
    "html": (
        b"<!DOCTYPE html>\n<title>Log in</title>",
        "page of HTML: '<!DOCTYPE html> <title>Log in</title>'; check its",
    ),
    "half a document": (b'{"response": "s', "not JSON"),
    "another shape": ('{"error": "\u202eno", "n": 1}'.encode(), r"say where it is, as in answer: data"),
    "an error told as a message": (b'{"message": "no such key"}', "without a text in any known place"),
    "a number": (b"7", "without a text in any known place: '7'"),
    "nested without end": (b'{"response":' * 500 + b"1" + b"}" * 500, "without a text in any known place"),
}


@pytest.mark.parametrize(("body", "told"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_an_answer_without_text_is_named_quoted_and_mended(body: bytes, told: str) -> None:
    with pytest.raises(Unreadable, match=told) as caught:
        codec().decode(body)
    said = str(caught.value)
    assert said.startswith("endpoint:mine answered with")
    assert said.isprintable()
    assert len(said) < 400


COUNTS: Mapping[str, tuple[object, Usage]] = {
    "openai": ({"usage": {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}}, Usage(5, 0)),
    "anthropic": ({"usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}}, Usage(8, 2, 3)),
    "a sum": ({"tokens_used": 9}, Usage(9)),
    "nothing used": ({"tokens_used": 0}, Usage(0)),
    "in metadata": ({"metadata": {"tokens_used": 4}}, Usage(4)),
}


@pytest.mark.parametrize(("told", "usage"), COUNTS.values(), ids=list(COUNTS))
def test_what_an_answer_used_is_read_and_a_count_of_0_is_0(told: object, usage: Usage) -> None:
    metered = codec().metered(orjson.dumps(told))
    assert metered is not None
    assert metered.usage == usage


@pytest.mark.parametrize("body", [b"so", b"{}", b'{"usage": null}', b'{"tokens_used": "9"}', b'"so"'])
def test_an_answer_that_tells_no_use_has_none(body: bytes) -> None:
    assert codec().metered(body) is None


def test_what_an_answer_used_is_found_where_it_is_said_to_be() -> None:
    metered = codec(tokens="stats.tokens", model="llama").metered(b'{"stats": {"tokens": {"input_tokens": 3}}}')
    assert metered is not None
    assert (metered.usage, metered.raw, metered.model) == (Usage(3), b'{"input_tokens":3}', "llama")


def test_an_answer_cut_at_its_limit_and_a_refusal_are_recognised() -> None:
    cut = codec().decode(b'{"choices": [{"message": {"content": "s"}, "finish_reason": "length"}]}')
    declined = codec().decode(b'{"choices": [{"message": {"content": "", "refusal": "no"}}]}')
    assert (cut.truncated, declined.refusal) == (True, "no")


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (302, {"location": "https://api.example.com/v2"}, "leads to https://api.example.com/v2; give that address"),
        (413, {}, "answered 413: 'too <b>large</b>'; send it a shorter prompt"),
        (401, {}, "check the credential"),
        (400, {}, "check what it takes as its body"),
    ],
)
def test_a_refused_request_is_explained(status: int, headers: dict[str, str], told: str) -> None:
    error = codec().explain(Response(status, headers, b"too\n<b>large</b>"))
    assert isinstance(error, RequestRefused)
    assert told in str(error)


def test_what_a_status_asks_to_wait_is_kept() -> None:
    error = codec().explain(Response(429, {"retry-after": "3"}, b""))
    assert error is not None
    assert (error.retry_after, str(error)) == (3.0, "endpoint:mine answered 429: nothing")


REFUSED: Mapping[str, tuple[dict[str, Any], type[StagebookError], str]] = {
    "no address": ({"url": "example.com"}, InputError, "'example.com' is none"),
    "a password": ({"url": "https://me:secret@example.com"}, SecretInInput, "holds a password"),
    "a key in the address": ({"url": f"{URL}?k=sk-proj-{'a' * 24}"}, SecretInInput, "literal key"),
    "a literal credential": ({"headers": {"Authorization": "Bearer hush"}}, SecretInInput, "env:NAME in its place"),
    "a literal key": ({"headers": {"x": "sk-proj-" + "a" * 24}}, SecretInInput, "literal key"),
    "a key in the body": ({"body": ["{{ prompt }}", "gsk_" + "a" * 24]}, SecretInInput, "literal key"),
    "a reference in the body": ({"body": ["{{ prompt }}", "env:KEY"]}, InputError, "send it as a header"),
    "two headers in one": ({"headers": {"x": "a\r\ny: b"}}, InputError, "write a name and one line"),
    "an unknown place": ({"body": "{{ prompt | upper }}"}, InputError, "nothing fills; there are: {{ prompt }}"),
    "an unknown place in the address": ({"url": URL + "/{{ id }}"}, InputError, "nothing fills"),
    "nothing is asked": ({"body": {"q": "hello"}}, InputError, "nothing that is sent"),
    "a conversation in a text": ({"body": "so: {{ messages }}"}, InputError, "is a list, not a text"),
    "a conversation in the address": ({"url": URL + "?{{ messages }}"}, InputError, "write {{ prompt }}"),
    "a host that is asked for": ({"url": "https://{{ prompt }}/ask"}, InputError, "not for a prompt to say"),
    "a host that goes on": ({"url": "https://api.example.com{{ prompt }}"}, InputError, "not for a prompt to say"),
    "a secret address that goes on": ({"url": "env:BASE{{ prompt }}"}, InputError, "not for a prompt to say"),
    "a GET with a body": ({"method": "GET", "body": {}}, InputError, "which a GET has not"),
    "a GET that asks nothing": ({"method": "GET"}, InputError, "nothing that is sent"),
    "a form of lists": (
        {"headers": {"content-type": "application/x-www-form-urlencoded"}, "body": {"q": ["{{ prompt }}"]}},
        InputError,
        "object of texts",
    ),
    "no place": ({"answer": "a[x]"}, InputError, "'a[x]' is no place"),
}


@pytest.mark.parametrize(("fields", "kind", "told"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_asked_is_refused_when_it_is_declared(
    fields: dict[str, Any], kind: type[StagebookError], told: str
) -> None:
    with pytest.raises(kind) as caught:
        Endpoint(**{"url": URL, **fields})
    assert told in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_a_budget_is_kept_where_price_and_limit_are_told() -> None:
    prices = PriceBook({("endpoint", "mine"): given_rate("1/2")})
    limited = Endpoint(url=URL, body={"prompt": "{{ prompt }}", "max_tokens": 100})
    worst = WorstCases(prices, {"mine": limited})
    worst.check("endpoint:mine", None)
    assert worst.of(PlainEndpoint("mine", limited).request(asking("Why?"))) >= 100 * 2 * 10**6
    with pytest.raises(UsageError, match="write max_tokens into its body"):
        WorstCases(prices, {"mine": Endpoint(url=URL)}).check("endpoint:mine", None)
    with pytest.raises(UsageError, match="no price is known for endpoint:mine"):
        WorstCases(PriceBook(), {"mine": limited}).check("endpoint:mine", None)
    free = WorstCases(PriceBook({("endpoint", "mine"): given_rate("0/0")}), {"mine": Endpoint(url=URL)})
    free.check("endpoint:mine", None)
    assert free.of(codec().request(asking("Why?"))) == 0


def test_a_form_tells_its_longest_answer_as_well() -> None:
    form = Endpoint(
        url=URL,
        body={"q": "{{ prompt }}", "max_tokens": 10},
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    worst = WorstCases(PriceBook({("endpoint", "mine"): given_rate("0/1")}), {"mine": form})
    worst.check("endpoint:mine", None)
    assert worst.of(PlainEndpoint("mine", form).request(asking("Why?"))) == 10 * 10**6
    yes = Endpoint(url=URL, body={"prompt": "{{ prompt }}", "max_tokens": True})
    with pytest.raises(UsageError, match="write max_tokens into its body"):
        WorstCases(PriceBook({("endpoint", "mine"): given_rate("0/1")}), {"mine": yes}).check("endpoint:mine", None)


@pytest.mark.parametrize("step", [".", ".."])
def test_what_is_asked_leads_nowhere_else(step: str) -> None:
    with pytest.raises(InputError, match="means another address"):
        codec(url=URL + "/{{ prompt }}/go", method="GET").request(asking(step))
    assert codec(url=URL + "/{{ prompt }}/go", method="GET").request(asking("../x")).url == f"{URL}/..%2Fx/go"
    assert codec(url="env:BASE/{{ prompt }}", method="GET").request(asking("x")).url == "env:BASE/x"


def test_a_header_tells_endpoints_apart() -> None:
    big, small = (codec(headers={"x-model": name}).request(asking("Why?")).read_as for name in ("big", "small"))
    assert big != small


def test_a_redirect_says_nothing_of_its_query() -> None:
    error = codec().explain(Response(302, {"location": "/login?key=s3cr3t+abc"}, b""))
    assert "leads to /login;" in str(error)


def test_an_endpoint_of_any_name_has_no_listed_price() -> None:
    assert PriceBook().rate("endpoint", "gpt-4.1-mini") is None
