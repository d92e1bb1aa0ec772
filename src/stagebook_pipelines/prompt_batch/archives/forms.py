"""Which form a file has, told from its bytes: packed or not, JSON, lines, a table, Parquet."""

import codecs
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

import orjson

from stagebook_pipelines.prompt_batch.archives.decoding import as_text
from stagebook_pipelines.prompt_batch.archives.lines import json_lines
from stagebook_pipelines.prompt_batch.archives.opened import Opened, Unpacked
from stagebook_pipelines.prompt_batch.archives.packed import GZIP, ZIP, Ration, gunzipped, members
from stagebook_pipelines.prompt_batch.archives.parquet import MAGIC, parquet_rows
from stagebook_pipelines.prompt_batch.archives.plain_lines import MARKED, text_lines
from stagebook_pipelines.prompt_batch.archives.shapes import ANSWERING, LISTS
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, CutOff, Interrupted, Record, Trouble
from stagebook_pipelines.prompt_batch.archives.tables import ASKING, header_of, table_rows
from stagebook_pipelines.prompt_batch.archives.values import Values, next_field, pass_over

_HEAD = 1 << 16
_DEEPEST = 3
"""How often a file may be packed: a `.json.gz` within a `.zip` is twice."""
_FIRST_LINES = 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SCALAR = rb'(?:"(?:[^"\\]|\\.){0,1000}"|[\d.eE+-]+|true|false|null)'
_WRAPPER = re.compile(
    rb'\s*\{\s*(?:"[^"\\]{0,64}"\s*:\s*'
    + _SCALAR
    + rb'\s*,\s*){0,20}"(?:'
    + "|".join(LISTS).encode()
    + rb')"\s*:\s*\[\s*\{'
)
"""An object that begins with some plain fields and a list of objects under a name that is known to hold all records."""
_PLAIN = re.compile(r"\.txt(?:\.gz)?(?:#\d+)?\Z", re.IGNORECASE)
"""Names that say that every line is a prompt, also of a member of a zip archive that has its name twice."""
_TURN = re.compile(rb'\s*"(?:from|value|role|content|sender)"\s*:')

Records = Iterator[Record | Trouble]


def members_of(
    name: str, file: Opened, column: str | None, largest: int, depth: int = 0
) -> Generator[tuple[str, Records]]:
    """Unpack a file as far as it is packed, and read what is in it.

    Args:
        name: What it is called in errors.
        file: Its bytes.
        column: The field that asks, where it has been said.
        largest: Bytes that a record may have.
        depth: How often it has been unpacked.

    Yields:
        The name of every file in it (mostly one, itself), and its records, to be read before the next is asked for.
    """
    stream = ByteStream(file.chunks())
    stream.fill(_HEAD)
    packed = stream.data.startswith((GZIP, *ZIP))
    if packed and depth >= _DEEPEST:
        yield name, iter([Trouble(f"is packed more than {_DEEPEST} times")])
    elif stream.data.startswith(GZIP):
        inner = Unpacked(ByteStream(gunzipped(stream, Ration())))
        yield from members_of(name, inner, column, largest, depth + 1)
    elif packed:
        yield from _zipped(name, file if depth == 0 else Unpacked(stream), column, largest, depth)
    elif stream.data.startswith(MAGIC) and not _PLAIN.search(name):
        yield name, _parquet(file if depth == 0 else Unpacked(stream), largest, column)
    else:
        yield name, _records(name, stream, column, largest)


def _zipped(name: str, file: Opened, column: str | None, largest: int, depth: int) -> Generator[tuple[str, Records]]:
    try:
        with file.anywhere() as archive, closing(members(archive)) as found:
            for member, chunks in found:
                inner = Unpacked(ByteStream(chunks))
                yield from members_of(f"{name}/{member}", inner, column, largest, depth + 1)
    except CutOff as problem:
        yield name, iter([_told(problem)])


def _parquet(file: Opened, largest: int, column: str | None) -> Records:
    try:
        with file.anywhere() as table:
            yield from parquet_rows(table, largest, column)
    except CutOff as problem:
        yield _told(problem)


def _told(problem: CutOff) -> Trouble:
    return Trouble(str(problem), interrupted=isinstance(problem, Interrupted))


def _records(name: str, stream: ByteStream, column: str | None, largest: int) -> Records:
    if stream.data.startswith(_UTF16):
        stream = ByteStream(_from_utf16(stream))
        stream.fill(_HEAD)
    if stream.data.startswith(codecs.BOM_UTF8):
        stream.at = len(codecs.BOM_UTF8)
    head = stream.data[stream.at : stream.at + _HEAD]
    plain = _PLAIN.search(name) is not None
    first = head.lstrip()[:1]
    if not first:
        if stream.problem is None:
            yield Trouble("is empty" if not head else "holds nothing but blanks")
    elif b"\0" in head:
        yield Trouble("is not text, and of no form that is known")
    elif MARKED.match(as_text(head[:100])[0]) if plain else first == b"<":
        yield Trouble("is a web page or XML: was it an error page that was saved?")
    elif _is_json_though_plain(head) if plain else first in {b"{", b"["} or _a_line_is_json(head):
        yield from _json(stream, head, first, largest)
    else:
        yield from _text(stream, head, column, largest, plain=plain)
    if stream.problem is not None:
        yield Trouble(stream.problem, interrupted=stream.interrupted)


def _json(stream: ByteStream, head: bytes, first: bytes, largest: int) -> Records:
    whole_lines = _a_line_is_json(head)
    if first == b"[" and not (whole_lines and b"\n{" in head):
        yield from Values(stream, largest)
    elif whole_lines or b"\n" not in head.strip():
        wrapper = None if whole_lines else _WRAPPER.match(head)
        if wrapper is not None and not _TURN.match(head, wrapper.end()):
            yield from _wrapped(stream, wrapper, largest)
        else:
            yield from json_lines(stream, largest)
    else:
        wrapper = _WRAPPER.match(head)
        if wrapper is not None and not _TURN.match(head, wrapper.end()):
            yield from _wrapped(stream, wrapper, largest)
        else:
            yield from Values(stream, largest)


def _wrapped(stream: ByteStream, wrapper: "re.Match[bytes]", largest: int) -> Records:
    """Read the list in an object's field as if it were the file, and other such lists after it."""
    stream.at += wrapper.end() - 1
    yield from Values(stream, largest, inside=True)
    while (field := next_field(stream)) is not None:
        if field in LISTS and field != ANSWERING and stream.data.startswith(b"[", stream.at):
            stream.at += 1
            yield from Values(stream, largest, inside=True)
            continue
        if field == ANSWERING:
            yield Trouble(f"holds a second list, {field}, which was left out: it may hold answers")
        if not pass_over(stream):
            yield Trouble("ends before its last value does: it was cut off", byte=stream.place)


def _a_line_is_json(head: bytes) -> bool:
    """Whether one of the first lines is a whole object, or a whole list or string that is not the only line."""
    *whole, last = head.split(b"\n")
    for line in islice(filter(bytes.strip, [*whole, last]), _FIRST_LINES):
        if line.strip()[:1] == b"{":
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            return True
    return False


def _is_json_though_plain(head: bytes) -> bool:
    """Whether a file whose name says plain text is JSON: its first lines are whole objects, or it is one list."""
    first, *others = [line.strip() for line in islice(filter(bytes.strip, head.split(b"\n")), _FIRST_LINES + 1)]
    if first in {b"[", b"[{", b"{"} or (first.startswith(b"[{") and not others and len(head) == _HEAD):
        return True
    cut = len(head) == _HEAD  # then the last line may go on beyond it
    whole = [first, *(others[:-1] if cut else others)]
    try:
        read = [orjson.loads(line) for line in whole]
    except orjson.JSONDecodeError:
        return False
    return all(isinstance(one, dict) for one in read) or (len(read) == 1 and first.startswith(b"[{"))


def _text(stream: ByteStream, head: bytes, column: str | None, largest: int, *, plain: bool) -> Records:
    found = header_of(head, column, strict=plain)
    if found is not None:
        separator, names = found
        if column in names or not ASKING.isdisjoint(names):
            yield from table_rows(stream, largest, separator, column)
            return
        if not plain:
            shown = ", ".join(repr(one)[:42] for one in names[:10])
            yield Trouble(f"is a table with the columns {shown}, none of which is known to ask: say which by column=")
            return
    if plain:
        yield from text_lines(stream, largest)
    elif head.lstrip().startswith(b'"'):
        yield from _json(stream, head, b'"', largest)
    else:
        begins = head.lstrip()[:40].decode(errors="replace")
        yield Trouble(f"is text of no known form, beginning with {begins!r} (plain prompts, one a line, end in .txt)")


def _from_utf16(stream: ByteStream) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    for chunk in stream.rest():
        yield decoder.decode(chunk).encode(errors="replace")
    yield decoder.decode(b"", final=True).encode(errors="replace")
