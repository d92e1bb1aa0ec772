"""A small real language model in this process, asked like any provider."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from stagebook.llm.local.request import ChatRequest, Refused, is_json
from stagebook.llm.local.server import Decoded, LocalServer, ServerError
from stagebook.llm.weights import find_weights, known

SAMPLING: Mapping[str, Any] = {"temperature": 0.3, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "seed": 1}
"""How it writes where a request does not say. The seed is fixed: the same request gets the same answer."""

JSON_SAMPLING: Mapping[str, Any] = {**SAMPLING, "repeat_penalty": 1.1, "repeat_last_n": 64}
"""Tried on prompts of 400 to 4,200 tokens: without a penalty every entry of a list is the first one again; with a
longer one, or DRY, it costs too much to close a string, as quotation marks and commas are repetitions too."""

TEXT_SAMPLING: Mapping[str, Any] = {
    **SAMPLING,
    "temperature": 0.4,
    "repeat_penalty": 1.1,
    "repeat_last_n": 256,
    "dry_multiplier": 0.8,
    "dry_base": 1.75,
    "dry_allowed_length": 4,
    "dry_penalty_last_n": 1024,
}
"""Without these a long text of this model is one sentence again and again. DRY makes it dear to go on with a sequence
that has stood there before: https://github.com/oobabooga/text-generation-webui/pull/5677."""

ANSWER_TOKENS = 1200
"""The limit of an answer where a request sets none."""

FORM_TOKENS = 1500
"""What the longest form of an answer may take, whatever the request's limit: that is set with large models in mind. A
schema that asks for more gets more. Most answers take a third of it."""

FEWEST_ANSWER_TOKENS = 64
"""A prompt that leaves less than this does not fit."""

MOST_THREADS = 4
"""More gain nothing on a model of this size, and a container may see cores that it cannot use."""


class LocalModel:
    """One model. Calls are answered one at a time, off the event loop; more at once would gain nothing on two cores.

    It is loaded by the first call. The same request gets the same answer, whatever was asked before.

    Args:
        name: One of `stagebook.llm.weights.MODELS`.
        threads: For reading prompts; None takes the cores that this process may use, up to four. One writes answers.
        context: Tokens of prompt and answer together; at most and without a value as many as the model was trained on.

    Raises:
        NotFound: There is no local model of that name.
    """

    def __init__(self, name: str = "smollm2", *, threads: int | None = None, context: int | None = None) -> None:
        self._weights = known(name)
        self._threads = threads or min(_cores(), MOST_THREADS)
        self._context = min(context or self._weights.context_window, self._weights.context_window)
        self._server: LocalServer | None = None
        self._turn = asyncio.Lock()

    @property
    def context_window(self) -> int:
        """Tokens of prompt and answer together."""
        return self._context

    async def complete(self, body: bytes, *, on_tokens: Callable[[int], None] | None = None) -> bytes:
        """Answer a request.

        Of a request these fields are read: messages, max_tokens or max_completion_tokens, temperature, top_p, seed,
        presence_penalty, frequency_penalty, stop, and response_format:

        - `{"type": "json_schema", "json_schema": {"schema": S}}`: the answer is JSON that fits S.
        - `{"type": "json_object"}`: the answer is some JSON object.
        - `{"type": "text", "schema": S}`: plain text that fits the string schema S; see `text_form`.

        Args:
            body: An OpenAI chat completions request.
            on_tokens: Told how many tokens of this answer are written so far, at each token.

        Returns:
            An OpenAI chat completion, with `usage` and llama.cpp's `timings`. For a request that cannot be answered,
            OpenAI's error document `{"error": {"message", "type", "param", "code"}}`, to be read as status 400; its
            code is `context_length_exceeded` where the prompt is too long.

        Raises:
            ModelNotInstalled: The weights or the library are not on this machine.
        """
        try:
            request = ChatRequest(body)
        except Refused as refusal:
            return refusal.document()
        async with self._turn:
            try:
                return await self._answer(body, request, on_tokens)
            except Refused as refusal:
                return refusal.document()
            except ServerError as error:
                return Refused(f"the local model failed: {error}", "server_error", None).document()

    async def count_tokens(self, text: str) -> int:
        """Count the tokens of a text, as this model cuts it; loads the model if it is not loaded yet.

        Raises:
            ModelNotInstalled: The weights or the library are not on this machine.
        """
        return len(await self._load().tokenize(text))

    async def close(self) -> None:
        """Unload the model; idempotent. It is loaded anew if it is asked again."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _load(self) -> LocalServer:
        if self._server is None:
            weights = find_weights(self._weights.name)
            self._server = LocalServer(weights, context=self._context, threads=self._threads)
        return self._server

    async def _answer(self, body: bytes, request: ChatRequest, on_tokens: Callable[[int], None] | None) -> bytes:
        server = self._load()
        prompt = await server.render(request.messages)
        room = self._context - len(prompt)
        if room < FEWEST_ANSWER_TOKENS:
            raise self._too_long(len(prompt))
        limit = min(request.max_tokens or ANSWER_TOKENS, room)
        form = request.form(min(limit, FORM_TOKENS))
        if request.max_tokens is None:
            limit = min(max(limit, form.most_tokens), room)
        options = {
            **(JSON_SAMPLING if request.is_json else TEXT_SAMPLING),
            **request.sampling,
            "n_predict": limit,
            "grammar": form.grammar,
        }
        decoded = await server.decode(prompt, options, on_tokens)
        if request.is_json and not decoded.cut and not is_json(decoded.text):
            raise Refused("the local model cannot be held to this schema", "invalid_json_schema", "response_format")
        return self._completion(body, len(prompt), decoded)

    def _too_long(self, tokens: int) -> Refused:
        return Refused(
            f"This model's maximum context length is {self._context} tokens. Your messages resulted in {tokens} tokens,"
            f" and an answer needs {FEWEST_ANSWER_TOKENS} or more. Please reduce the length of the messages.",
            "context_length_exceeded",
            "messages",
        )

    def _completion(self, body: bytes, prompt_tokens: int, decoded: Decoded) -> bytes:
        message = {"role": "assistant", "content": decoded.text, "refusal": None}
        document = {
            "id": f"chatcmpl-{hashlib.blake2b(body, digest_size=12).hexdigest()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._weights.name,
            "choices": [{"index": 0, "message": message, "finish_reason": "length" if decoded.cut else "stop"}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": decoded.tokens,
                "total_tokens": prompt_tokens + decoded.tokens,
                "prompt_tokens_details": {"cached_tokens": int(decoded.timings.get("cache_n", 0))},
            },
            "timings": dict(decoded.timings),
        }
        return orjson.dumps(document)


def _cores() -> int:
    """Count the cores that this process may use; where the system does not tell, those of the machine."""
    tell = getattr(os, "sched_getaffinity", None)
    return len(tell(0)) if tell is not None else os.cpu_count() or 1
