"""Our requests, and the fake provider's answers, held against the types of OpenAI's and Anthropic's own packages."""

import warnings
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import orjson
import pytest
from typing_extensions import get_type_hints, is_typeddict

from stagebook.llm.codec import Codec, JobFailed
from stagebook.llm.providers import PROVIDERS
from stagebook.model.image import Image
from stagebook.model.prompt import Message, Prompt, Sampling, ToolCall, ToolSpec
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_answers import Answerer
from stagebook.testing.provider_faults import JobFails, Refusal, Truncated
from stagebook.testing.provider_formats import CHAT, MESSAGES, RESPONSES, Format
from stagebook.testing.provider_request import ChatRequest
from stagebook.testing.provider_responses import Job, document
from stagebook.testing.provider_script import Rule, Script, ScriptedCall, ScriptPlayer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the packages say of pydantic is not ours
    from anthropic.types import Message as AnthropicMessage
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as MessageParams
    from openai.types.chat import ChatCompletion
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
    from openai.types.responses import Response
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as ResponseParams

PNG = Image.from_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
SCHEMA = b'{"type":"object","properties":{"word":{"type":"string","maxLength":9}},"required":["word"],"title":"Thing"}'
TOOL = ToolSpec("look", "Look it up.", b'{"type":"object","properties":{"at":{"type":"string"}},"required":["at"]}')
CALLS = (ToolCall("c1", "look", '{"at":"a"}'), ToolCall("c2", "look", '{"at":"b"}'))
EVERYTHING = Prompt(
    (
        Message("system", ("Be brief.",)),
        Message("user", ("What is ", PNG, " and ", PNG, "?")),
        Message("assistant", ("I will look.",), CALLS),
        Message("tool", ("a gate",), call_id="c1"),
        Message("tool", ("a tower",), call_id="c2"),
        Message("assistant", ("A gate.",)),
        Message("user", ("And the other?",)),
    ),
    Sampling(max_tokens=500, temperature=0.5, top_p=0.9, seed=7, reasoning_effort="low"),
    "Thing",
    SCHEMA,
    (TOOL,),
)
BARE = Prompt((Message("user", ("Say something.",)),))
FORMATS = [
    pytest.param("openai", ChatParams, ChatCompletion, CHAT, id="chat"),
    pytest.param("openai-responses", ResponseParams, Response, RESPONSES, id="responses"),
    pytest.param("openai-background", ResponseParams, Response, RESPONSES, id="background"),
    pytest.param("anthropic", MessageParams, AnthropicMessage, MESSAGES, id="messages"),
]
every = pytest.mark.parametrize(("provider", "params", "answered", "form"), FORMATS)


def misfits(value: Any, hint: Any, where: str = "body") -> list[str]:
    """Say what of a value is not as a type of the packages has it (pydantic cannot read all of these TypedDicts)."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Required, NotRequired, Annotated}:
        return misfits(value, arguments[0], where)
    if origin in {Union, UnionType}:
        return min((misfits(value, one, where) for one in arguments), key=len)
    if origin is Literal:
        return [] if value in arguments else [f"{where} is {value!r}, not one of {arguments}"]
    if is_typeddict(hint):
        return _of_typed_dict(value, hint, where)
    if origin is not None and origin is not dict:
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [wrong for place, one in enumerate(value) for wrong in misfits(one, arguments[0], f"{where}[{place}]")]
    kind = {float: (int, float), Any: object}.get(hint, origin or hint)
    fits = isinstance(value, kind)
    return [] if fits else [f"{where} is {value!r}, no {hint}"]


def _of_typed_dict(value: Any, hint: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    hints = get_type_hints(hint, include_extras=True)
    required = {name for name, one in hints.items() if get_origin(one) is Required} | hint.__required_keys__
    wrong = [f"{where} has no {name}" for name in sorted(required) if name not in value]
    for name, one in value.items():
        wrong += misfits(one, hints[name], f"{where}.{name}") if name in hints else [f"{where}.{name} is unknown"]
    return wrong


def test_what_does_not_fit_a_type_is_found() -> None:
    whole = {"model": "m", "max_tokens": 1, "messages": [], "output_config": {"format": {"type": "json_schema"}}}
    assert misfits({**whole, "seed": 1}, MessageParams) == [
        "body.output_config.format has no schema",
        "body.seed is unknown",
    ]
    assert misfits({"model": 3, "max_tokens": "1", "messages": {}}, MessageParams) != []
    assert misfits({"model": "m", "messages": []}, MessageParams) == ["body has no max_tokens"]


def received(form: Format, codec: Codec, prompt: Prompt) -> ChatRequest:
    headers = {**codec.headers("KEY"), "Authorization": "Bearer x"}
    taken = form.read(1, b"".join(codec.encode(prompt, "m")), "ab" * 32, headers)
    assert isinstance(taken, ChatRequest), taken
    return taken


@every
@pytest.mark.parametrize("prompt", [EVERYTHING, BARE], ids=["everything", "bare"])
def test_a_request_is_one_of_the_package_s_type(
    provider: str, params: Any, answered: Any, form: Format, prompt: Prompt
) -> None:
    codec = PROVIDERS[provider].codec
    body = orjson.loads(b"".join(codec.encode(prompt, "m")))
    assert misfits(body, params) == []
    request = received(form, codec, prompt)
    assert request.images == (2 if prompt is EVERYTHING else 0)
    assert request.tools == (("look",) if prompt is EVERYTHING else ())


@every
@pytest.mark.parametrize(
    "rule",
    [
        Rule(answer="A tower.", cached_tokens=3, reasoning_tokens=5),
        Rule(calls=((ScriptedCall(name="look", arguments={"at": "c"}),),) * 3, reasoning_tokens=5),
        Rule(faults=(Refusal(),)),
        Rule(faults=(Truncated(),)),
    ],
    ids=["text", "calls", "refusal", "truncated"],
)
def test_an_answer_of_the_fake_provider_is_one_of_the_package_s_type_and_read_as_what_it_is(
    provider: str, params: Any, answered: Any, form: Format, rule: Rule
) -> None:
    codec = PROVIDERS[provider].codec
    request = received(form, codec, EVERYTHING)
    player = ScriptPlayer(Script(rules=(rule,)))
    answer = Answerer(player).answer(request, player.rule_on(request))
    body = form.answer(answer, request, 1.8e9)
    assert answered.model_validate_json(body).model == request.model
    found = codec.metered(body)
    reply = codec.decode(body)
    assert (reply.text, reply.refusal, reply.truncated) == (
        answer.content or "",
        answer.refusal,
        answer.finish_reason == "length",
    )
    assert [(call.id, call.name) for call in reply.calls] == [(key, call.name) for key, call in answer.calls]
    assert found is not None
    assert found.usage == answer.usage


def test_a_failed_job_is_one_of_the_package_s_responses_and_read_as_failed() -> None:
    codec = PROVIDERS["openai-background"].codec
    request = received(RESPONSES, codec, EVERYTHING)
    player = ScriptPlayer(Script(rules=(Rule(faults=(JobFails(),)),)))
    answer = Answerer(player).answer(request, player.rule_on(request))
    job = Job(document(answer, request, 1.8e9), ready_at=2e9)
    waiting = Response.model_validate_json(job.at(1.9e9))
    assert (waiting.status, waiting.background) == ("in_progress", True)
    assert codec.decode(job.at(1.9e9)).job == waiting.id
    assert Response.model_validate_json(job.at(2.1e9)).status == "failed"
    with pytest.raises(JobFailed, match="server_error"):
        codec.decode(job.at(2.1e9))


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/messages", {"messages": []}, "model: Field required"),
        ("/v1/messages", {"model": "m", "messages": []}, "max_tokens: Field required"),
        ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": []}, "at least one message"),
        ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": [{"role": "system", "content": "x"}]}, "system"),
        ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": " "}]}, "whitespace"),
        ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": [], "seed": 1}, "seed: Extra inputs"),
        ("/v1/messages", {"model": "m", "max_tokens": 1, "messages": [], "temperature": 1}, "temperature: Extra"),
        ("/v1/responses", {"model": "m", "messages": []}, "Unknown parameter: 'messages'"),
        ("/v1/responses", {"model": "m", "input": []}, "Missing required parameter: 'input'"),
        ("/v1/responses", {"model": "m", "input": "x", "max_output_tokens": 3}, "Expected a value >= 16"),
        ("/v1/responses", {"model": "m", "input": "x", "seed": 3}, "Unknown parameter: 'seed'"),
        (
            "/v1/responses",
            {"model": "m", "input": [{"type": "function_call_output", "call_id": "c", "output": ""}]},
            "No tool call found",
        ),
        (
            "/v1/responses",
            {"model": "m", "input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
            "Supported values are: input_file, input_image, input_text",
        ),
        (
            "/v1/chat/completions",
            {"model": "m", "messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
            "must be a response to a preceeding message",
        ),
    ],
)
async def test_the_fake_provider_refuses_what_the_real_one_does(path: str, body: Any, told: str) -> None:
    import aiohttp

    async with FakeProvider() as provider, aiohttp.ClientSession() as session:
        headers = {"anthropic-version": "2023-06-01"}
        async with session.post(provider.url + path, data=orjson.dumps(body), headers=headers) as answer:
            document = orjson.loads(await answer.read())
    assert answer.status == 400
    assert told in document["error"]["message"]
    assert ("request_id" in document) is (path == "/v1/messages")
