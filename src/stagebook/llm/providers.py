"""Who answers: addresses, keys and formats of the providers, and endpoints of one's own."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from stagebook.door.secrets import resolve
from stagebook.llm.anthropic_messages import Messages
from stagebook.llm.codec import Codec
from stagebook.llm.endpoint import Endpoint
from stagebook.llm.openai_chat import ChatCompletions
from stagebook.llm.openai_responses import Responses
from stagebook.llm.plain_endpoint import ENDPOINT, PlainEndpoint
from stagebook.model.errors import InputError, MissingKey, NotFound

LOCAL = "local"
"""The provider of models that run in this process."""
CHAT = ChatCompletions()
JSON_ONLY = ChatCompletions("json_object")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider."""

    name: str
    """As in `provider:model`."""
    base_url: str
    """What all of its paths begin with."""
    base_env: str
    """Environment variable that moves it."""
    key_env: str | None
    """Environment variable of its key; None where none is needed."""
    codec: Codec = CHAT
    """The format that it speaks."""
    priced_as: str | None = None
    """Whose price list counts, where it goes by another name there."""

    @property
    def price_list(self) -> str:
        """The provider's name in price lists."""
        return self.priced_as or self.name


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            "OPENAI_BASE_URL",
            "OPENAI_API_KEY",
            ChatCompletions(limit_field="max_completion_tokens"),
        ),
        Provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", Messages()),
        Provider(
            "openai-responses",
            "https://api.openai.com/v1",
            "OPENAI_BASE_URL",
            "OPENAI_API_KEY",
            Responses(),
            priced_as="openai",
        ),
        Provider(
            "openai-background",
            "https://api.openai.com/v1",
            "OPENAI_BASE_URL",
            "OPENAI_API_KEY",
            Responses(background=True),
            priced_as="openai",
        ),
        Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_BASE_URL", "OPENROUTER_API_KEY"),
        Provider("groq", "https://api.groq.com/openai/v1", "GROQ_BASE_URL", "GROQ_API_KEY", JSON_ONLY),
        Provider("mistral", "https://api.mistral.ai/v1", "MISTRAL_BASE_URL", "MISTRAL_API_KEY"),
        Provider("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_BASE_URL", "DEEPSEEK_API_KEY", JSON_ONLY),
        Provider("together", "https://api.together.xyz/v1", "TOGETHER_BASE_URL", "TOGETHER_API_KEY"),
        Provider("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_BASE_URL", "FIREWORKS_API_KEY"),
        Provider("xai", "https://api.x.ai/v1", "XAI_BASE_URL", "XAI_API_KEY"),
        Provider("ollama", "http://127.0.0.1:11434/v1", "OLLAMA_BASE_URL", None),
        Provider("vllm", "http://127.0.0.1:8000/v1", "VLLM_BASE_URL", None),
        Provider(LOCAL, "local:", "", None),
    )
}
"""Addresses and variables as each provider's own documentation gives them (2026-11)."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A provider as it is reached from here."""

    provider: Provider
    url: str
    """Where requests are sent."""
    headers: Mapping[str, str]
    """With the key as a reference."""


@lru_cache(maxsize=256)
def alternatives(model: str) -> tuple[str, ...]:
    """Part models that stand in for each other: `openai:gpt-4.1-mini|anthropic:claude-haiku-4-5`."""
    return tuple(one.strip() for one in model.split("|"))


def split_model(model: str) -> tuple[str, str]:
    """Split `provider:name`.

    Raises:
        NotFound: There is no such provider, or the form is another.
    """
    provider, colon, name = model.partition(":")
    if not colon or not name:
        raise NotFound(f"a model is written provider:name, for example openai:gpt-4.1-mini, not {model!r}")
    if provider not in PROVIDERS and provider != ENDPOINT:
        near = difflib.get_close_matches(provider, PROVIDERS, n=3) or sorted(PROVIDERS)
        raise NotFound(f"no provider is called {provider!r} (in the model {model!r}); there are: {', '.join(near)}")
    return provider, name


def reach(name: str, environment: Mapping[str, str]) -> Reached:
    """Say where a provider is reached.

    Args:
        name: One of PROVIDERS.
        environment: For addresses and keys; the key's value is looked at only to see that it is there.

    Raises:
        MissingKey: The provider needs a key and none is set.
        InputError: The address that its variable gives is none.
    """
    provider = PROVIDERS[name]
    moved = environment.get(provider.base_env, "").strip().rstrip("/") if provider.base_env else ""
    if moved and not _is_address(moved):
        raise InputError(f"{provider.base_env} is not an address; set it to one such as {provider.base_url}")
    base = moved or provider.base_url
    key = provider.key_env if environment.get(provider.key_env or "", "").strip() else None
    if key is None and provider.key_env is not None and not moved:  # a server of one's own may need no key
        raise MissingKey(
            f"no key for {name}: set {provider.key_env}"
            f" (or {provider.base_env} to a server of your own, or use --model local:smollm2)"
        )
    return Reached(provider, base + provider.codec.path, provider.codec.headers(key))


def reach_own(name: str, endpoints: Mapping[str, Endpoint], environment: Mapping[str, str]) -> Reached:
    """Say where an endpoint of one's own is reached.

    Args:
        name: What it is called.
        endpoints: Those that the run was given.
        environment: Where its references are looked up.

    Raises:
        NotFound: The run has no endpoint of that name.
        MissingKey: A variable that it refers to is not set.
    """
    codec = own_codec(name, endpoints)
    declared = endpoints[name]
    resolve({**declared.headers, "": declared.url}, environment)
    return Reached(Provider(ENDPOINT, declared.url, "", None, codec), declared.url, codec.headers(None))


def own_codec(name: str, endpoints: Mapping[str, Endpoint]) -> PlainEndpoint:
    """Make the codec of an endpoint of one's own.

    Raises:
        NotFound: The run has no endpoint of that name.
    """
    declared = endpoints.get(name)
    if declared is None:
        given = f"the run has: {', '.join(endpoints)}" if endpoints else "the run has none"
        raise NotFound(
            f"no endpoint is called {name!r} ({given}); declare it with --endpoint {name}=FILE.json,"
            f" or with endpoints={{{name!r}: Endpoint(url=...)}} in Python"
        )
    return PlainEndpoint(name, declared)


def codec_of(model: str, endpoints: Mapping[str, Endpoint]) -> Codec:
    """Give the format in which a model is asked.

    Raises:
        NotFound: There is no such provider, or no such endpoint.
    """
    provider, name = split_model(model)
    return own_codec(name, endpoints) if provider == ENDPOINT else PROVIDERS[provider].codec


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that hold no IPv6 address
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and " " not in text
