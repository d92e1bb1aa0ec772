"""What the fake model says: by script, by the schema, or a sentence; always the same for the same request."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stagebook.model.usage import Usage
from stagebook.testing.provider_faults import AnyFault, EmptyChoices, JobFails, Refusal, Truncated, WrongSchema
from stagebook.testing.provider_instance import WORDS, Draw, make_instance
from stagebook.testing.provider_request import ChatRequest, count_tokens
from stagebook.testing.provider_script import Ruling, ScriptedCall, ScriptPlayer

_FEWEST_WORDS: Final = 20
_SPREAD_WORDS: Final = 40
"""An answer without a schema has from `_FEWEST_WORDS` up to so many more."""
_RING: Final = WORDS * 4
_SCHEMA_SIGNS: Final = ("properties", "$defs", "$ref", "anyOf")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says to one request, before it is put on the wire."""

    content: str | None
    """The message's content."""
    refusal: str | None
    """The message's refusal."""
    finish_reason: str
    """Why it stopped: `stop` or `length`."""
    empty: bool
    """Whether the list of choices is empty."""
    usage: Usage
    """Tokens, counted as `count_tokens` does."""
    calls: tuple[tuple[str, ScriptedCall], ...] = ()
    """Tools that it wants called, each with an id."""
    failed: bool = False
    """Whether it could not be given (responses only)."""

    def completion(self, request: ChatRequest, created: float) -> bytes:
        """The body of the answer, in the shape of OpenAI's chat completions.

        Args:
            request: What is answered.
            created: The moment, in Unix seconds.
        """
        usage = self.usage
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.content,
            "refusal": self.refusal,
            "annotations": [],
        }
        if self.calls:
            message["tool_calls"] = [
                {"id": key, "type": "function", "function": {"name": call.name, "arguments": arguments_of(call)}}
                for key, call in self.calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": "tool_calls" if self.calls else self.finish_reason,
        }
        return orjson.dumps(
            {
                "id": f"chatcmpl-{request.number}-{request.sha256[:16]}",
                "object": "chat.completion",
                "created": int(created),
                "model": request.model,
                "choices": [] if self.empty else [choice],
                "usage": {
                    "prompt_tokens": usage.input_tokens,
                    "completion_tokens": usage.output_tokens,
                    "total_tokens": usage.input_tokens + usage.output_tokens,
                    "prompt_tokens_details": {"cached_tokens": usage.cache_read_input_tokens, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens, "audio_tokens": 0},
                },
                "service_tier": "default",
                "system_fingerprint": "fp_stagebook_fake",
            }
        )


class Answerer:
    """Decides the content of answers, and counts their tokens."""

    def __init__(self, player: ScriptPlayer, *, seed: int = 0) -> None:
        """Answer by a script.

        Args:
            player: The script in progress; it counts the answers of each rule.
            seed: Another seed makes other contents. Scripted ones stay.
        """
        self._player = player
        self._seed = seed
        engine = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        self._templates: list[list[Template]] = [
            [engine.from_string(text) for text in _listed(rule.template)] if rule.template is not None else []
            for rule in player.script.rules
        ]

    def answer(self, request: ChatRequest, ruling: Ruling) -> Answer:
        """Answer a request.

        Args:
            request: What is asked.
            ruling: What the script says about it; of its fault, the part that changes the content is applied.

        Raises:
            Exception: Whatever a scripted function or template raises, or `UnsupportedSchemaError`.
        """
        fault = ruling.fault
        if isinstance(fault, Refusal):
            return self._counted(request, ruling, None, refusal=fault.text)
        if isinstance(fault, EmptyChoices):
            return self._counted(request, ruling, None, empty=True)
        if isinstance(fault, WrongSchema):
            return self._counted(request, ruling, self._of_another_shape(request))
        if isinstance(fault, JobFails):
            return Answer(None, None, "failed", False, Usage(), failed=True)
        turn, rule = request.tool_turns, ruling.rule
        if rule and request.tools and turn < len(rule.calls):
            calls = tuple((f"call_{request.sha256[:12]}_{index}", call) for index, call in enumerate(rule.calls[turn]))
            return replace(self._counted(request, ruling, None), calls=calls)
        content = self._content(request, ruling)
        if isinstance(fault, Truncated) or (request.max_tokens and count_tokens(content) > request.max_tokens):
            return self._counted(request, ruling, _shortened(content, request, fault), finish_reason="length")
        return self._counted(request, ruling, content)

    def _counted(
        self,
        request: ChatRequest,
        ruling: Ruling,
        content: str | None,
        *,
        refusal: str | None = None,
        finish_reason: str = "stop",
        empty: bool = False,
    ) -> Answer:
        rule = ruling.rule
        reasoning = rule.reasoning_tokens if rule else 0
        input_tokens = request.input_tokens
        usage = Usage(
            input_tokens=input_tokens,
            output_tokens=count_tokens(content or refusal or "") + reasoning,
            cache_read_input_tokens=min(rule.cached_tokens, input_tokens) if rule else 0,
            reasoning_output_tokens=reasoning,
        )
        return Answer(content, refusal, finish_reason, empty, usage)

    def _content(self, request: ChatRequest, ruling: Ruling) -> str:
        rule = ruling.rule
        count = self._player.next_answer(ruling, request) if rule else 0
        if rule and rule.template is not None:
            templates = self._templates[ruling.place]
            return templates[min(count, len(templates)) - 1].render(
                text=request.last_text,
                messages=request.messages,
                model=request.model,
                match=ruling.groups,
                sha256=request.sha256,
                count=count,
            )
        if rule and rule.answer is not None:
            answers = _listed(rule.answer)
            said = answers[min(count, len(answers)) - 1]
            said = said(request) if callable(said) else said
            return said if isinstance(said, str) else orjson.dumps(said).decode()
        made = self._made(request)
        if rule and rule.fields is not None:
            made = {**made, **rule.fields} if isinstance(made, dict) else rule.fields
        return made if request.format == "text" and isinstance(made, str) else orjson.dumps(made).decode()

    def _made(self, request: ChatRequest) -> Any:
        if request.format == "text":
            return _plain_text(request, self._seed)
        draw = Draw(int(request.sha256[:16], 16) + self._seed)
        if request.format == "json_schema":
            return make_instance(request.schema or {}, draw)
        schema = next((found for text in request.system_texts() for found in _schemas_in(text)), None)
        return make_instance(schema, draw) if schema else {}

    def _of_another_shape(self, request: ChatRequest) -> str:
        wanted = self._made(request)
        other = {"items": wanted} if isinstance(wanted, list) else ["an answer of another shape"]
        return orjson.dumps(other).decode()


def arguments_of(call: ScriptedCall) -> str:
    """A call's arguments as models write them: JSON text."""
    return call.arguments if isinstance(call.arguments, str) else orjson.dumps(call.arguments).decode()


def _plain_text(request: ChatRequest, seed: int) -> str:
    """A text cut out of a ring of words by the request's hash, and marked with it, so that no two are the same.

    Made without a random generator, as seeding one is a tenth of what a benched answer takes.
    """
    choice = int(request.sha256[:8], 16) + seed
    start, length = choice % len(WORDS), _FEWEST_WORDS + choice // len(WORDS) % _SPREAD_WORDS
    return f"Note {request.sha256[:16]}: {' '.join(_RING[start : start + length])}."


def _shortened(content: str, request: ChatRequest, fault: AnyFault | None) -> str:
    kept = content[: len(content) // 2] if isinstance(fault, Truncated) else content
    while request.max_tokens and count_tokens(kept) > request.max_tokens:
        kept = kept[: len(kept) * request.max_tokens // count_tokens(kept)]
    return kept


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _schemas_in(text: str) -> Iterator[dict[str, Any]]:
    """Find the JSON objects in a text that look like a schema."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            end = at + 1
        else:
            if any(sign in found for sign in _SCHEMA_SIGNS):
                yield found
        at = text.find("{", end)
