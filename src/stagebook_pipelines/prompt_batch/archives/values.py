"""JSON values one after the other: the elements of one huge array, or values that stand side by side."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from stagebook_pipelines.prompt_batch.archives.balance import Balance
from stagebook_pipelines.prompt_batch.archives.decoding import Unreadable, decoded
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Record, Trouble

_BETWEEN = re.compile(rb"[\s,]*")
_WORD = re.compile(rb'[^\s,\[\]{"]+')
"""A number, true, false, null, or something that has no place there."""
_NEXT = re.compile(rb'\s*+,?\s*+\{\s*+"[^"\\]{0,64}"\s*+:')
"""What comes after an element: a comma, and the next one's first name."""
_CLOSING = re.compile(rb"[}\]\s]+\Z")
"""The brackets that an element ends with."""
_FIELD = re.compile(rb'\s*+,\s*+"([^"\\]{0,64})"\s*+:\s*+')
_SCALAR = re.compile(rb"[^\s,\]}]*+")
_CANDIDATES = 3
_NEAR = 1 << 16
_FRESH_STARTS = 20


class Values:
    """Iterates over the elements of an array, or over values side by side, without ever holding more than one.

    A guess finds most elements: exports write every element with the same first name, so that `}, {"title":` stands
    between two of them. Whether it also stands inside one is told by the parser: bytes from an element's beginning that
    are one whole JSON object are that element, since no object is the beginning of another. Where the guess fails, the
    brackets are counted.

    Args:
        stream: The bytes.
        largest: Bytes that one element may have; a larger one is passed over, in constant memory.
        inside: Whether the stream stands inside an array already.
    """

    def __init__(self, stream: ByteStream, largest: int, *, inside: bool = False) -> None:
        self._stream = stream
        self._largest = largest
        self._inside = self._wrapped = inside
        self._between = b""
        self._closing = 0
        self._reach = _NEAR
        self._index = 0
        self._fresh_starts = 0

    def __iter__(self) -> Iterator[Record | Trouble]:
        stream = self._stream
        while self._to_value():
            first = stream.data[stream.at]
            if first == ord("]"):
                stream.at += 1
                self._inside = False
                if self._wrapped:
                    return
            elif first == ord("[") and not self._inside:
                stream.at += 1
                self._inside = True
            else:
                place = stream.place
                guessed, value = self._guessed()
                if guessed:
                    yield Record(value, self._index, place)
                else:
                    yield from self._counted(place)
                self._index += 1
        if self._inside:
            yield Trouble("ends before its list does: it was cut off", byte=stream.place)

    def _to_value(self) -> bool:
        """Go to the next value's first byte, if there is one."""
        stream = self._stream
        while True:
            found = _BETWEEN.match(stream.data, stream.at)
            stream.at = found.end() if found else stream.at
            if stream.at < len(stream.data):
                return True
            if not stream.more():
                return False

    def _guessed(self) -> tuple[bool, Any]:
        """Read the next element where it probably ends."""
        stream, between = self._stream, self._between
        if not between or stream.data[stream.at] != ord("{"):
            return False, None
        stream.fill(self._reach)
        data, begin = memoryview(stream.data), stream.at
        searched, until = begin, begin + self._reach
        for _ in range(_CANDIDATES):
            end = stream.data.find(between, searched, until) + self._closing
            if end < begin + self._closing:
                break
            try:
                value = orjson.loads(data[begin:end])
            except orjson.JSONDecodeError:
                searched = end
                continue
            stream.at = end
            return True, value
        return False, None

    def _counted(self, place: int) -> Iterator[Record | Trouble]:
        """Read the next value by counting its brackets."""
        stream = self._stream
        if stream.data[stream.at] not in b'{["':
            yield from self._word(place)
            return
        balance, size = Balance(), 0
        while (end := balance.end(stream.data, stream.at + size)) < 0:
            size = len(stream.data) - stream.at
            if size > self._largest:
                yield self._passed_over(balance, place)
                return
            if not stream.more():
                yield from self._cut_off(place)
                return
        raw = stream.data[stream.at : end]
        stream.at = end
        if len(raw) > self._largest:
            yield self._too_large(place)
            return
        try:
            value, remark = decoded(raw)
        except Unreadable as problem:
            yield Trouble(str(problem), self._index, place)
            self._start_afresh(end - len(raw), end)
            return
        self._learn(raw)
        if remark is not None:
            yield Trouble(remark, self._index, place, lost=False)
        yield Record(value, self._index, place)

    def _learn(self, raw: bytes) -> None:
        """Remember what stands between this element and the next one, to look for it behind that one."""
        stream = self._stream
        stream.fill(256)
        found, closing = _NEXT.match(stream.data, stream.at), _CLOSING.search(raw[-64:])
        if found and closing:
            self._closing = len(closing[0])
            self._between = closing[0] + found[0]
        self._reach = min(max(self._reach, 4 * len(raw)), self._largest)

    def _word(self, place: int) -> Iterator[Record | Trouble]:
        stream = self._stream
        stream.fill(256)
        found = _WORD.match(stream.data, stream.at)
        raw = found[0] if found else stream.data[stream.at : stream.at + 1]
        stream.at += len(raw)
        try:
            yield Record(orjson.loads(raw), self._index, place)
        except orjson.JSONDecodeError:
            yield Trouble(f"begins with {raw[:20]!r}, which is not JSON", self._index, place)

    def _passed_over(self, balance: Balance, place: int) -> Trouble:
        stream = self._stream
        stream.at = len(stream.data)
        while stream.more():
            end = balance.end(stream.data, 0)
            if end >= 0:
                stream.at = end
                break
            stream.at = len(stream.data)
        else:
            self._inside = False
        return self._too_large(place)

    def _too_large(self, place: int) -> Trouble:
        return Trouble(f"is larger than {self._largest:,} bytes, and was left out", self._index, place)

    def _cut_off(self, place: int) -> Iterator[Trouble]:
        """The bytes ended within a value: it was cut off, or lacks a bracket and others follow."""
        stream = self._stream
        if self._start_afresh(stream.at, len(stream.data)):
            yield Trouble("has no end: a bracket or a quote is missing in it", self._index, place)
        else:
            yield Trouble("has no end: the file was cut off", self._index, place)
            stream.at = len(stream.data)
            self._inside = False

    def _start_afresh(self, begin: int, end: int) -> bool:
        """Go back to where the next element begins, if a faulty one has swallowed it for want of a bracket."""
        self._fresh_starts += 1
        found = self._stream.data.find(self._between, begin, end) if self._between else -1
        if found < 0 or self._fresh_starts > _FRESH_STARTS:
            return False
        self._stream.at = found + self._closing
        return True


def next_field(stream: ByteStream) -> str | None:
    """Go to the value of an object's next field; give the field's name, or None where there is no other."""
    stream.fill(_NEAR)
    found = _FIELD.match(stream.data, stream.at)
    if found is None:
        return None
    stream.at = found.end()
    return found[1].decode(errors="replace")


def pass_over(stream: ByteStream) -> bool:
    """Go behind the next value, in constant memory; give whether it had an end."""
    stream.fill(1)
    if stream.data[stream.at : stream.at + 1] not in {b"{", b"[", b'"'}:
        found = _SCALAR.match(stream.data, stream.at)
        stream.at = found.end() if found else stream.at
        return stream.at < len(stream.data) or stream.more()
    balance = Balance()
    while (end := balance.end(stream.data, stream.at)) < 0:
        stream.at = len(stream.data)
        if not stream.more():
            return False
    stream.at = end
    return True
