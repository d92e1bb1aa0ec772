"""Bodies with places to be filled: compiled once, then filled for every request without rendering anything again."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote, quote_plus

import orjson
from pydantic import JsonValue

from stagebook.model.errors import InputError

NAMES: Final = ("prompt", "messages", "system", "model")
"""What can be put in."""
_PLACE: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_HOST: Final = re.compile(r"https?://[^/?#]*|env:\w+")
"""Of an address, what says whom it leads to; a reference may hold any of it."""
_STEPS: Final = frozenset({".", ".."})

Escape = Callable[[str], bytes]
"""Writes a text as the body has it."""


class Values(NamedTuple):
    """What is put in."""

    texts: Mapping[str, tuple[str, ...]]
    """Name -> its text, in pieces."""
    messages: tuple[bytes, ...]
    """The conversation as a JSON list, in pieces."""


@dataclass(frozen=True, slots=True)
class Filling:
    """A compiled body."""

    parts: tuple[bytes | str, ...]
    """Bytes as they stand, and names of what is put in between."""
    escape: Escape

    @property
    def names(self) -> frozenset[str]:
        """What is put in."""
        return frozenset(part for part in self.parts if isinstance(part, str))

    def filled(self, values: Values) -> tuple[bytes, ...]:
        """Fill every place.

        Returns:
            The exact body, cut where what is put in begins and ends.
        """
        segments: list[bytes] = []
        for part in self.parts:
            if isinstance(part, bytes):
                segments.append(part)
            elif part == "messages":
                segments.extend(values.messages)
            else:
                segments.extend(self.escape(piece) for piece in values.texts[part])
        return tuple(segments)


def slots(text: str) -> frozenset[str]:
    """Name what is put into a text."""
    return frozenset(found.strip() for found in _PLACE.findall(text))


def refuse_in_host(url: str) -> None:
    """Refuse a place that would choose whom an address leads to: what is asked is foreign data.

    Raises:
        InputError: There is one.
    """
    host = _HOST.match(url)
    if host is not None and slots(url) and ("{{" in host[0] or url[host.end() :].lstrip().startswith("{{")):
        raise InputError(
            f"a place in the host of the endpoint's address {url!r}: whom it leads to is not for a prompt to say;"
            " write places behind the first / of the path, or into the query"
        )


def refuse_unknown(text: str, where: str) -> None:
    """Refuse a place that nothing fills: this is no template language.

    Raises:
        InputError: There is one.
    """
    for found in _PLACE.findall(text):
        if found.strip() not in NAMES:
            known = ", ".join(f"{{{{ {name} }}}}" for name in NAMES)
            raise InputError(f"{where} of the endpoint has {{{{{found}}}}}, which nothing fills; there are: {known}")


def json_body(body: JsonValue) -> Filling:
    """Compile a JSON body.

    Raises:
        InputError: A place is unknown, or the conversation is to be put into a text.
    """
    return Filling(_joined(_json(body)), escaped_json)


def form(body: JsonValue) -> Filling:
    """Compile a form (WHATWG URL, 5.2: `application/x-www-form-urlencoded`).

    Raises:
        InputError: It is no object of plain values, or a place is unknown.
    """
    if not isinstance(body, dict) or any(isinstance(value, dict | list | None) for value in body.values()):
        raise InputError("the body of an endpoint that takes a form is an object of texts and numbers; write it so")

    def written() -> Iterator[bytes | str]:
        for index, (name, value) in enumerate(body.items()):
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            yield (b"&" if index else b"") + quote_plus(name).encode() + b"="
            yield from _text(text, _escaped_form)

    return Filling(_joined(written()), _escaped_form)


def plain(body: JsonValue) -> Filling:
    """Compile a body that is a text.

    Raises:
        InputError: It is something else, or a place is unknown.
    """
    if not isinstance(body, str):
        raise InputError('the body of an endpoint that takes text is a text; write "body": "{{ prompt }}"')
    return Filling(_joined(_text(body, str.encode)), str.encode)


def filled_address(url: str, values: Values) -> str:
    """Put texts into an address, percent-encoded: none of them can change where it leads, or name a secret.

    Raises:
        InputError: A text would stand for a step up in the path (RFC 3986, 5.2.4).
    """
    filled = _PLACE.sub(lambda found: quote("".join(values.texts[found[1].strip()]), safe=""), url)
    if not _STEPS.isdisjoint(filled.partition("?")[0].split("/")[3:]):
        raise InputError("what is asked is '.' or '..', which means another address where it stands in a path")
    return filled


def escaped_json(text: str) -> bytes:
    """Write a text as the inside of a JSON string."""
    return orjson.dumps(text)[1:-1]


def _escaped_form(text: str) -> bytes:
    return quote_plus(text).encode()


def _json(value: JsonValue) -> Iterator[bytes | str]:
    if isinstance(value, str):
        if slots(value) == {"messages"} and _PLACE.fullmatch(value.strip()):
            yield "messages"
            return
        yield b'"'
        yield from _text(value, escaped_json)
        yield b'"'
    elif isinstance(value, dict):
        yield b"{"
        for index, (name, one) in enumerate(value.items()):
            yield (b"," if index else b"") + orjson.dumps(name) + b":"
            yield from _json(one)
        yield b"}"
    elif isinstance(value, list):
        yield b"["
        for index, one in enumerate(value):
            if index:
                yield b","
            yield from _json(one)
        yield b"]"
    else:
        yield orjson.dumps(value)


def _text(text: str, escape: Escape) -> Iterator[bytes | str]:
    """Part a text at its places."""
    refuse_unknown(text, "the body")
    for index, part in enumerate(_PLACE.split(text)):
        if index % 2 == 0:
            yield escape(part)
            continue
        name = part.strip()
        if name == "messages":
            raise InputError('{{ messages }} is a list, not a text: in a JSON body write "messages": "{{ messages }}"')
        yield name


def _joined(parts: Iterable[bytes | str]) -> tuple[bytes | str, ...]:
    """Put bytes together that stand beside each other."""
    joined: list[bytes | str] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        elif part:
            joined.append(part)
    return tuple(joined)
