"""Files whose lines mean something each: how they are cut, and JSON Lines."""

from collections.abc import Iterator

import orjson

from stagebook_pipelines.prompt_batch.archives.decoding import Unreadable, decoded
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Record, Trouble

_AROUND = b" \t\r\n\x1e"
"""What may stand around a line's value; 0x1E opens the records of RFC 7464."""


def lines(stream: ByteStream, largest: int) -> Iterator[tuple[int, int, bytes | Trouble]]:
    """Cut a stream into lines.

    Args:
        stream: The bytes.
        largest: Bytes that a line may have; a longer one is passed over, in constant memory.

    Yields:
        Number of the line, from 1; its first byte; the line itself, or what is wrong with it.
    """
    number = 0
    while True:
        number += 1
        place = stream.place
        end = _end_of_line(stream, largest)
        if end < 0:
            while (end := stream.data.find(b"\n", stream.at)) < 0:
                stream.at = len(stream.data)
                if not stream.more():
                    break
            yield number, place, Trouble(f"is longer than {largest:,} bytes, and was left out")
            if end < 0:
                return
        elif end == len(stream.data):
            if stream.at < end:
                part = stream.data[stream.at :]
                yield number, place, part if stream.problem is None else Trouble("was cut off, and was left out")
            return
        else:
            yield number, place, stream.data[stream.at : end]
        stream.at = end + 1


def _end_of_line(stream: ByteStream, largest: int) -> int:
    """Where the line ends that begins at `at`: at a line feed or the end of all; -1 where it is too long."""
    searched = 0
    while (end := stream.data.find(b"\n", stream.at + searched)) < 0:
        searched = len(stream.data) - stream.at
        if searched > largest:
            return -1
        if not stream.more():
            return len(stream.data)
    return end if end - stream.at <= largest else -1


def json_lines(stream: ByteStream, largest: int) -> Iterator[Record | Trouble]:
    """Read JSON Lines (https://jsonlines.org), one record a line; a bad line is told, and the next one read.

    Args:
        stream: The bytes.
        largest: Bytes that a line may have.

    Yields:
        What each line says, or what is wrong with it. Blank lines are no records.
    """
    index = 0
    for number, place, line in lines(stream, largest):
        if isinstance(line, Trouble):
            yield Trouble(line.message, index, place, number)
            index += 1
            continue
        stripped = line.strip(_AROUND)
        if not stripped:
            continue
        try:
            value = orjson.loads(stripped)
        except orjson.JSONDecodeError:
            try:
                value, remark = decoded(stripped)
            except Unreadable as problem:
                yield Trouble(str(problem), index, place, number)
                index += 1
                continue
            if remark is not None:
                yield Trouble(remark, index, place, number, lost=False)
        yield Record(value, index, place, number)
        index += 1
