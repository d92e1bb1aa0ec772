"""Telling somebody that a batch is done: one POST, signed as Standard Webhooks has it (standardwebhooks.com, 1.0)."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from stagebook_pipelines.prompt_batch.problem import BatchError

_NAME: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_PREFIX: Final = "whsec_"
_SECRET: Final = re.compile("token|key|secret|passw|pwd|auth|cred|signature|^sig$|^code$|^jwt$", re.IGNORECASE)
"""In the name of a parameter that holds one."""


def message_id(body: bytes) -> str:
    """Name a message by what it says: who is told the same a second time sees the same id."""
    return f"msg_{hashlib.blake2b(body, digest_size=16).hexdigest()}"


def signed(body: bytes, at: int, secret: bytes) -> dict[str, str]:
    """Give the headers that a message is sent with.

    Args:
        body: Its exact bytes.
        at: When it is sent, seconds since 1970.
        secret: Known to the receiver as well.
    """
    name = message_id(body)
    mac = hmac.digest(secret, f"{name}.{at}.".encode() + body, "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def secret_of(reference: str, environment: Mapping[str, str]) -> bytes:
    """Find the secret that a reference names.

    Raises:
        BatchError: The variable is not set, or holds a `whsec_` that is not base64.
    """
    given = _value(reference, environment, "the secret that signs the webhook")
    if not given.startswith(_PREFIX):
        return given.encode()
    try:
        return base64.b64decode(given.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise BatchError(f"the secret in {reference} begins with {_PREFIX} and is not base64 after it") from None


def check_address(webhook: str, environment: Mapping[str, str]) -> None:
    """See that a webhook's address is one.

    Raises:
        BatchError: It is none, or its variable is not set.
    """
    whole = _value(webhook, environment, "the address of the webhook") if _NAME.fullmatch(webhook) else webhook
    if _parts(whole) is None:
        raise BatchError(f"the webhook {webhook!r} is no address; write one such as https://example.com/done")


def refuse_address(webhook: str) -> None:
    """Refuse what is no address, or one that holds a secret, as an input is kept.

    Raises:
        ValueError: It is so; the text says what to do, and never repeats the secret.
    """
    if _NAME.fullmatch(webhook):
        return
    parts = _parts(webhook)
    if parts is None:
        raise ValueError("is no address; write one such as https://example.com/done, or env:NAME")
    mend = "put the address into an environment variable and write env:NAME instead"
    if "@" in parts.netloc:
        raise ValueError(f"holds a user name or password; {mend}")
    secret = next((name for name, _ in parse_qsl(parts.query) if _SECRET.search(name)), None)
    if secret is not None:
        raise ValueError(f"holds a secret in {secret!r}; {mend}")


def _parts(address: str) -> SplitResult | None:
    """Take an address apart; None where it is none."""
    try:
        parts = urlsplit(address)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that hold no IPv6 address, a port that is no number
        return None
    return parts if whole and address.isprintable() and " " not in address else None


def _value(reference: str, environment: Mapping[str, str], what: str) -> str:
    match = _NAME.fullmatch(reference)
    found = environment.get(match[1], "").strip() if match is not None else ""
    if not found:
        raise BatchError(f"{reference} is to hold {what}, and is not set; set the environment variable")
    return found
