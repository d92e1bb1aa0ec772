"""An endpoint of one's own, as it is declared: its address, what is sent there, and where the answer stands."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic import model_validator as validator

from stagebook.door.secrets import REFERENCE, refuse_literals
from stagebook.llm.answer_shapes import steps_of
from stagebook.llm.body_template import Filling, form, json_body, plain, refuse_in_host, refuse_unknown, slots
from stagebook.model.errors import InputError, SecretInInput
from stagebook.model.exchange import content_hash

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

_CREDENTIALS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "api-key",
        "apikey",
        "x-api-key",
        "x-auth-token",
        "x-access-token",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
    }
)
"""Headers that hold nothing but credentials, whatever these look like."""
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name: a token (RFC 9110, 5.6.2)."""


class Endpoint(BaseModel):
    """An HTTP endpoint of any shape, asked as a model: `endpoint:NAME`.

    `{{ prompt }}` (the whole text of what is asked), `{{ messages }}` (the conversation, a list of objects with role
    and content), `{{ system }}` (what the model is told before) and `{{ model }}` are put in wherever they stand in the
    texts of the body and, but for the conversation, in the address.

    Raises:
        SecretInInput: A literal secret stands where a reference belongs.
        InputError: It cannot be asked as it is declared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Where it is asked; may hold `env:NAME`, or be one."""
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    """HTTP method; a GET has no body, so its address holds what is asked."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Sent with each request; secrets as references, as in `Bearer env:MY_KEY`. `content-type` says how the body is
    written: JSON by default, a form (`application/x-www-form-urlencoded`) or a text (`text/plain`)."""
    body: JsonValue = None
    """What is sent: any JSON with places to be filled; `{"prompt": "{{ prompt }}"}` where nothing is said."""
    answer: str | None = None
    """Where the answer's text is, as `data.items[0].text` or as a JSON pointer (RFC 6901); an empty text means the
    whole body. By default it is looked for where APIs in wide use have it."""
    tokens: str | None = None
    """Where an answer tells what it used: a number, or an object with the counts. By default `usage` and
    `tokens_used`."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds that one try may take; by default ten minutes."""
    model: str | None = None
    """What `{{ model }}` becomes; the endpoint's name where nothing is said."""

    @validator(mode="after")
    def _can_be_asked(self) -> Self:
        self._check_address()
        for name, value in self.headers.items():
            if not _HEADER.fullmatch(name) or not value.isprintable():
                raise InputError(f"the header {name!r} of the endpoint {self.url} is none; write a name and one line")
            if name.lower() in _CREDENTIALS and not REFERENCE.search(value):
                raise SecretInInput(
                    f"the header {name} of the endpoint {self.url} holds a literal secret;"
                    " put it into an environment variable and write env:NAME in its place, as in Bearer env:MY_KEY"
                )
            refuse_literals(value, f"the header {name} of the endpoint")
        self._check_body()
        for text in (self.answer, self.tokens):
            if text is not None:
                steps_of(text)
        return self

    @cached_property
    def identity(self) -> str:
        """A hash of what decides who answers and what is asked: address, method, headers, body, place of the answer."""
        headers = sorted((name.lower(), value) for name, value in self.headers.items())
        told = [self.url, self.method, headers, self.body, self.answer, self.model]
        return content_hash(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hex()

    def _check_address(self) -> None:
        refuse_literals(self.url, "the address of the endpoint")
        try:
            parts = urlsplit(self.url)
            has_password = parts.password is not None
            whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            named = whole or bool(REFERENCE.match(self.url))
        except ValueError:  # brackets that hold no IPv6 address, a port that is no number
            has_password = named = False
        if has_password:
            raise SecretInInput(
                "the address of the endpoint holds a password; send it as a header: authorization: Basic env:NAME"
            )
        if not named or not self.url.isprintable():
            raise InputError(
                f"the endpoint's address {self.url!r} is none; write one such as https://api.example.com/ask"
            )
        refuse_unknown(self.url, "the address")
        refuse_in_host(self.url)
        if "messages" in slots(self.url):
            raise InputError("{{ messages }} cannot stand in an endpoint's address; write {{ prompt }}")

    def _check_body(self) -> None:
        if self.method == "GET" and self.body is not None:
            raise InputError(f"the endpoint {self.url} has a body, which a GET has not; write its method: POST")
        for text in _texts(self.body):
            refuse_literals(text, "the body of the endpoint")
            if REFERENCE.fullmatch(text):
                raise InputError(
                    f"{text} stands in the endpoint's body, where nothing resolves it; send it as a header"
                )
        filling = filling_of(self)
        used = slots(self.url) | (filling.names if filling is not None else frozenset())
        if not used & {"prompt", "messages"}:
            raise InputError(
                f"nothing that is sent to the endpoint {self.url} holds what is asked;"
                " write {{ prompt }} or {{ messages }} into its body, or {{ prompt }} into its address"
            )


def filling_of(endpoint: Endpoint) -> Filling | None:
    """Compile an endpoint's body; None where it has none.

    Raises:
        InputError: It cannot be written as its content type says.
    """
    if endpoint.method == "GET":
        return None
    body: JsonValue = {"prompt": "{{ prompt }}"} if endpoint.body is None else endpoint.body
    given = next((value for name, value in endpoint.headers.items() if name.lower() == "content-type"), JSON)
    kind = given.partition(";")[0].strip().lower()
    if kind == FORM:
        return form(body)
    return plain(body) if kind.startswith("text/") else json_body(body)


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
