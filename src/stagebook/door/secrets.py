"""Secrets are references (`env:NAME`) wherever they are kept, and values only on the wire."""

import re
from collections.abc import Mapping

from stagebook.model.errors import MissingKey, SecretInInput

REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")

LITERALS = re.compile(
    r"\b(?:sk-(?:ant-|proj-|or-v1-|svcacct-)?[A-Za-z0-9_-]{20,}|gsk_[A-Za-z0-9]{20,}|AIza[A-Za-z0-9_-]{30,}"
    r"|AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{20,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"
)
"""Forms of keys in wide use: OpenAI, Anthropic, OpenRouter, Groq, Google, AWS, GitHub, Slack, signed web tokens."""

REDACTED = "[secret]"

SHORTEST = 8
"""Characters from which a value is blotted out. A key of one letter (servers of one's own take any) is no secret, and
blotting it out would spoil every answer that has that letter."""


def blot(body: bytes, known: tuple[str, ...]) -> bytes:
    """Blot out what is known to be secret in an answer's bytes; an error page that echoes a header holds the key."""
    for secret in known:
        if len(secret) >= SHORTEST and secret.encode() in body:
            body = body.replace(secret.encode(), REDACTED.encode())
    return body


def resolve(headers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Put values in place of references.

    Raises:
        MissingKey: A variable is not set or empty; the text names it.
    """

    def value(match: re.Match[str]) -> str:
        found = environment.get(match[1], "").strip()
        if not found:
            raise MissingKey(f"the environment variable {match[1]} is not set; set it to the key and run again")
        return found

    return {name: REFERENCE.sub(value, text) if "env:" in text else text for name, text in headers.items()}


def redact(text: str, known: tuple[str, ...] = ()) -> str:
    """Blot out what is known to be secret, and what looks like a key, before a text is kept or shown."""
    for secret in known:
        if len(secret) >= SHORTEST:
            text = text.replace(secret, REDACTED)
    return LITERALS.sub(REDACTED, text)


def refuse_literals(text: str, where: str) -> None:
    """Refuse a text that holds what looks like a literal key.

    Raises:
        SecretInInput: It does; the text says where, never what.
    """
    if LITERALS.search(text):
        raise SecretInInput(
            f"{where} holds what looks like a literal key;"
            " put it into an environment variable and write env:NAME instead"
        )
