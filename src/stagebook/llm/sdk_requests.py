"""Recognises what an SDK sends: which provider and model it asks, and what the answer cost, streamed or whole."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from stagebook.door.recognised import Recognised
from stagebook.llm.codec import Codec
from stagebook.llm.openai_chat import ChatCompletions
from stagebook.llm.prices import PriceBook
from stagebook.llm.providers import PROVIDERS
from stagebook.model.exchange import Response
from stagebook.model.usage import Charge

STREAM = "text/event-stream"
EMBEDDINGS = "/embeddings"
"""Where vectors are made (OpenAI API reference, "Create embeddings"); usage stands there as in a chat completion."""


class SdkRequests:
    """Tells requests that ask a model from others, by their address.

    Args:
        environment: Where providers are moved to other addresses.
        prices: What answers cost.
    """

    def __init__(self, environment: Mapping[str, str], prices: PriceBook) -> None:
        self._prices = prices
        self._known: dict[str, tuple[str, str, Codec]] = {}
        for provider in PROVIDERS.values():
            moved = environment.get(provider.base_env, "").strip() if provider.base_env else ""
            for base in filter(None, (moved, provider.base_url)):
                for path in paths(provider.codec):
                    self._known.setdefault(
                        base.rstrip("/") + path, (provider.name, provider.price_list, provider.codec)
                    )

    def recognise(self, url: str, body: bytes) -> Recognised | None:
        """Look at a request; one in a known format to an unknown host is metered, and no price is known for it."""
        address = url.partition("?")[0]
        found = self._known.get(address) or self._by_path(address)
        model = _asked(body) if found is not None else None
        if found is None or model is None:
            return None
        provider, price_list, codec = found

        def meter(response: Response) -> Charge | None:
            kind = response.headers.get("content-type", "")
            told = whole(response.body) if kind.startswith(STREAM) else response.body
            metered = codec.metered(told)
            return self._prices.charge(price_list, model, metered) if metered else None

        return Recognised(provider, model, meter)

    def _by_path(self, address: str) -> tuple[str, str, Codec] | None:
        host = urlsplit(address).netloc
        for provider in PROVIDERS.values():
            if any(address.endswith(path) for path in paths(provider.codec)):
                return host, host, provider.codec
        return None


def paths(codec: Codec) -> tuple[str, ...]:
    """Name the addresses of a format, below the provider's own: who speaks chat completions makes embeddings, too."""
    return (codec.path, EMBEDDINGS) if isinstance(codec, ChatCompletions) else (codec.path,)


def whole(stream: bytes) -> bytes:
    """Make of a stream's events what its answer would have been without streaming, as far as usage goes.

    Chat completions tell usage in their last chunk (if `stream_options` ask for it), responses in their last event,
    messages in their first and their last.
    """
    told: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    finish: str | None = None
    for event in _events(stream):
        part = next((event[key] for key in ("response", "message") if isinstance(event.get(key), dict)), event)
        told |= {key: part[key] for key in ("model", "status", "incomplete_details") if part.get(key) is not None}
        if isinstance(part.get("usage"), dict):
            usage |= part["usage"]
        ended = [event.get("delta"), *(event.get("choices") or [])]
        for one in ended:
            if isinstance(one, dict):
                finish = one.get("stop_reason") or one.get("finish_reason") or finish
    if not usage:
        return b"{}"
    return orjson.dumps({**told, "usage": usage, "stop_reason": finish, "choices": [{"finish_reason": finish}]})


def _events(stream: bytes) -> Iterator[dict[str, Any]]:
    """Read the JSON of a stream's data lines (server-sent events, WHATWG HTML 9.2; providers write one line each)."""
    for line in stream.splitlines():
        if line.startswith(b"data:"):
            try:
                event = orjson.loads(line[5:])
            except orjson.JSONDecodeError:
                continue  # `[DONE]`
            if isinstance(event, dict):
                yield event


def _asked(body: bytes) -> str | None:
    try:
        model = orjson.loads(body)["model"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return model if isinstance(model, str) else None
