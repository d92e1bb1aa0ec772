"""A request's body as it is kept: a skeleton of its small parts, into which its large ones are put back."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from stagebook.model.exchange import content_hash

LARGE: Final = 512
"""Bytes from which a part is a payload of its own: below, its row would cost as much as it saves."""


class Splice(NamedTuple):
    """A large part and its place."""

    at: int
    """It stands before this byte of the skeleton."""
    payload: bytes
    """Its hash."""


class CutBody(NamedTuple):
    """A body in the form in which it is stored."""

    size: int
    """Bytes of the whole body."""
    skeleton: bytes
    """The small parts, joined."""
    splices: tuple[Splice, ...]
    """Where the large parts go, in order."""
    large: tuple[bytes, ...]
    """The large parts themselves, in the order of `splices`."""


def cut(segments: Iterable[bytes]) -> CutBody:
    """Part a body's segments into a skeleton and large parts.

    Args:
        segments: The body's exact bytes, in order.
    """
    small: list[bytes] = []
    splices: list[Splice] = []
    large: list[bytes] = []
    at = size = 0
    for segment in segments:
        size += len(segment)
        if len(segment) < LARGE:
            small.append(segment)
            at += len(segment)
        else:
            splices.append(Splice(at, content_hash(segment)))
            large.append(segment)
    return CutBody(size, b"".join(small), tuple(splices), tuple(large))


def join(skeleton: bytes, parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Put a body together again.

    Args:
        skeleton: The small parts, joined.
        parts: (place in the skeleton, large part), in order.
    """
    pieces: list[bytes] = []
    done = 0
    for at, part in parts:
        pieces += (skeleton[done:at], part)
        done = at
    pieces.append(skeleton[done:])
    return b"".join(pieces)
