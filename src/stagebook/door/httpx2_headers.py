"""What is kept of an SDK's request: which headers, which address, and never a key."""

import base64
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from stagebook.door.secrets import LITERALS, REDACTED, REFERENCE, SHORTEST

KEPT = frozenset(
    {
        "accept",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "user-agent",
    }
)
"""Headers that are kept as they are: what the request means, and which SDK made it."""

DROPPED = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})
"""Headers that the transport writes anew: they tell of a connection, not of the request."""

NOISE = re.compile(r"x-stainless-|idempotency-key$|traceparent$|tracestate$|baggage$")
"""Headers that are sent and not kept: an SDK's platform, its own count of retries, ids of one sending."""

CREDENTIAL = re.compile(
    r"authoriz|authent|(?:^|-)auth(?:-|$)|key|token|secret|passw|credential|signature|cookie|session"
)
"""Names of headers whose value is taken for a secret."""

SCHEMES = frozenset({"", "basic", "bearer", "key", "token"})
"""What may stand before a credential (RFC 9110, 11.4, and wide use), and is kept beside a reference to it."""

LONG = 16
"""Characters from which a part of a credential is taken for a key itself: of a cookie, of a signature's fields."""

LIKE_A_TOKEN = re.compile(r"[^\s/:;,]{20,}")
"""Values of unknown headers that are taken for a secret as well: one long word."""

PARAMETER = re.compile(
    r"(?:(?:x-|subscription[-_])?api[-_]?key|key|(?:access|auth|bearer|id|refresh|session)?[-_]?token|sig|code)$"
    r"|.*(?:secret|passw|credential|signature)",
    re.IGNORECASE,
)
"""Names of an address's parameters whose value is taken for a secret. A page's token is none: two pages would then be
one request."""


_SEPARATORS = re.compile(r"[\s;,=\"]+")


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A request as an SDK made it, and as it may be kept."""

    url: str
    """The address to send to, whole."""
    headers: Mapping[str, str]
    """The headers to send, keys and all."""
    kept_url: str
    """The address with its secrets blotted out."""
    kept_headers: Mapping[str, str]
    """Headers to keep: known ones as they are, others as their name alone; a key that stands in the environment as a
    reference to it."""
    secrets: tuple[str, ...]
    """What is blotted out of answers."""


def disclose(url: str, headers: Mapping[str, str], environment: Mapping[str, str]) -> Disclosed:
    """Part what may be kept of a request from what may not.

    An unknown header is kept by its name alone, as no list of names could tell which of them hold a key. Blotted out of
    answers is only what its name or its form tells to be a secret: any other value may be a word of the answer.

    Args:
        url: As the SDK wrote it.
        headers: Names in lower case.
        environment: Where the same keys may stand under a name.
    """
    address, kept_url, secrets = _address(url)
    kept: dict[str, str] = {}
    for name, value in headers.items():
        if name in DROPPED or NOISE.match(name):
            continue
        if CREDENTIAL.search(name) or LITERALS.search(value):
            scheme, _, token = value.rpartition(" ")
            secrets += _secrets_in(value, token)
            reference = _reference(token, environment) if scheme.lower() in SCHEMES else None
            kept[name] = f"{scheme} {reference}".strip() if reference else REDACTED
        elif name in KEPT and not REFERENCE.search(value):
            kept[name] = value
        else:
            secrets += [value] if LIKE_A_TOKEN.fullmatch(value) else []
            kept[name] = REDACTED
    sent = {name: value for name, value in headers.items() if name not in DROPPED}
    known = tuple(dict.fromkeys(secret for secret in secrets if len(secret) >= SHORTEST))
    return Disclosed(address, sent, kept_url, kept, known)


def _secrets_in(value: str, token: str) -> list[str]:
    """Give a credential's value, its parts that are long enough to be keys, and the password of a basic one."""
    found = [value, token, *(word for word in _SEPARATORS.split(value) if len(word) >= LONG)]
    with contextlib.suppress(ValueError):  # most values are no base64 of a text
        found.append(base64.b64decode(token, validate=True).decode().partition(":")[2])
    return found


def _reference(secret: str, environment: Mapping[str, str]) -> str | None:
    names = [name for name, value in environment.items() if value.strip() == secret]
    return f"env:{min(names)}" if secret and names and REFERENCE.fullmatch(f"env:{min(names)}") else None


def _address(url: str) -> tuple[str, str, list[str]]:
    """Give the address without user and password (an SDK's client has made a header of them), and as it is kept."""
    parts = urlsplit(url)
    secrets = [word for word in (parts.password,) if word]
    netloc = parts.netloc.rpartition("@")[2]
    fields = []
    for field in parts.query.split("&"):
        name, equals, value = field.partition("=")
        hidden = bool(value) and (PARAMETER.match(name) or LITERALS.search(value))
        if hidden:
            secrets += [value, unquote_plus(value)]
        fields.append(f"{name}{equals}{REDACTED}" if hidden else field)
    kept = urlunsplit((parts.scheme, netloc, LITERALS.sub(REDACTED, parts.path), "&".join(fields), ""))
    # a reference in an address would be resolved where it is sent; this one is only text
    kept = REFERENCE.sub(lambda match: quote(match[0], safe=""), kept)
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")), kept, secrets
