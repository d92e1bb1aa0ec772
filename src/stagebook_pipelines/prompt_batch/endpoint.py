"""An endpoint of any shape, asked for a batch, as `execute_batch` takes it."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from stagebook import Endpoint

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_OTHER: Final = re.compile(r"[^A-Za-z0-9._:/@+-]+")
UNNAMED: Final = "batch"
"""What an endpoint is called of which neither a model nor a host is known."""


class RequestOptions(BaseModel):
    """How an endpoint is asked."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    """HTTP method."""
    headers: dict[str, str] = {}
    """Sent with each request; secrets as references, as in `Bearer env:MY_KEY`."""
    body: JsonValue = None
    """What is sent, with `{{ prompt }}` (or `{{ messages }}`, `{{ system }}`, `{{ model }}`) where that belongs; an
    object without any of these has the prompt put in as `prompt`."""
    timeout: float | None = Field(default=None, gt=0)
    """Milliseconds that one try may take; by default ten minutes."""
    answer: str | None = None
    """Where the answer's text is, as `data.items[0].text`; by default it is looked for in all shapes in wide use."""


def endpoint_of(url: str, options: RequestOptions | Mapping[str, Any] | None, model: str | None) -> Endpoint:
    """Declare an endpoint.

    Args:
        url: Where it is asked.
        options: How.
        model: What `{{ model }}` becomes.

    Raises:
        UsageError: It cannot be asked so, or a literal secret stands in it.
        ValidationError: An option is unknown or of another type.
    """
    chosen = options if isinstance(options, RequestOptions) else RequestOptions.model_validate(options or {})
    body = chosen.body
    if isinstance(body, dict) and b"{{" not in orjson.dumps(body):
        body = {**body, "prompt": "{{ prompt }}"}
    return Endpoint(
        url=url,
        method=chosen.method,
        headers=chosen.headers,
        body=body,
        answer=chosen.answer,
        timeout=None if chosen.timeout is None else chosen.timeout / 1000,
        model=model,
    )


def called(model: str | None, url: str) -> str:
    """Name an endpoint after the model that it is asked for, as that is given; where none is, after its host."""
    if model is not None:
        return model if _NAME.fullmatch(model) else _OTHER.sub("-", model).strip("-./:@+_") or UNNAMED
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # brackets that hold no IPv6 address; told when the endpoint is declared
        host = ""
    return host if _NAME.fullmatch(host) else UNNAMED
