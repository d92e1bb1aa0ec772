"""How payloads are packed: zstd, and for what resembles a run's input, zstd with that input as its dictionary."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import zstandard

from stagebook.model.errors import LedgerError

LEVEL: Final = 3
"""zstd level of what has no dictionary: near 300 MB/s, and higher levels gain under a tenth on text of this size."""
DICTIONARY_LEVEL: Final = 12
"""zstd level with a dictionary: from here it finds the sentences of a transcript behind the numbers put between
them."""
PHRASE_LEVEL: Final = 8
"""zstd level with a dictionary that serves once: 0.15 ms with its tables; level 12 takes 1.2 ms and gains nothing."""
DICTIONARY_LEAST: Final = 4096
"""Bytes of an input from which it serves as dictionary; below, most of it is not what requests repeat."""
DICTIONARY_MOST: Final = 4 << 20
"""Bytes of an input that serve as dictionary, from its start."""
LEAST: Final = 128
"""Bytes from which packing is tried: zstd's frame alone takes about a dozen."""
GAIN: Final = 0.9
"""Packed only if the result is smaller than this part of the original."""


class Encoding(IntEnum):
    """How a payload's bytes are kept."""

    RAW = 0
    ZSTD = 1
    ZSTD_DICTIONARY = 2


@dataclass(frozen=True, slots=True)
class Packed:
    """A payload as it is kept."""

    encoding: Encoding
    base: bytes | None
    """Hashes of the payloads whose bytes, one after the other, are the dictionary."""
    body: bytes


class Dictionary:
    """A payload prepared to be the dictionary of others.

    Args:
        base: Its hash; of several that serve together, their hashes one after the other.
        data: Its bytes, or theirs in the same order.
        level: zstd level; None goes by the size, for a dictionary that serves often.
    """

    __slots__ = ("_compressor", "base")

    def __init__(self, base: bytes, data: bytes, level: int | None = None) -> None:
        self.base = base
        table = _table(data)
        if level is None and len(data) >= DICTIONARY_LEAST:
            level = DICTIONARY_LEVEL
            table.precompute_compress(level=level)
        level = LEVEL if level is None else level
        self._compressor = zstandard.ZstdCompressor(level=level, dict_data=table, write_dict_id=False)

    def compress(self, data: bytes) -> bytes:
        """Compress with this dictionary."""
        return self._compressor.compress(data)


class Packer:
    """Packs payloads; belongs to one thread."""

    __slots__ = ("_compressor",)

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)

    def pack(self, data: bytes, dictionaries: Sequence[Dictionary]) -> Packed:
        """Pack bytes with the dictionary that fits best, or leave them as they are where packing gains nothing."""
        if len(data) < LEAST:
            return Packed(Encoding.RAW, None, data)
        if dictionaries:
            packed = min((self._with(data, dictionary) for dictionary in dictionaries), key=_size)
        else:
            packed = Packed(Encoding.ZSTD, None, self._compressor.compress(data))
        return packed if len(packed.body) < GAIN * len(data) else Packed(Encoding.RAW, None, data)

    def _with(self, data: bytes, dictionary: Dictionary) -> Packed:
        return Packed(Encoding.ZSTD_DICTIONARY, dictionary.base, dictionary.compress(data))


def unpack(encoding: int, body: bytes, size: int, base: bytes | None) -> bytes:
    """Give back a payload's bytes.

    Args:
        encoding: How it was packed.
        body: The packed bytes.
        size: Bytes before packing.
        base: Bytes of the dictionary, if it was packed with one.

    Raises:
        LedgerError: The packed bytes are damaged.
    """
    if encoding == Encoding.RAW:
        return body
    try:
        if base is None:
            return zstandard.ZstdDecompressor().decompress(body, max_output_size=size)
        return zstandard.ZstdDecompressor(dict_data=_table(base)).decompress(body, max_output_size=size)
    except zstandard.ZstdError as error:
        raise LedgerError(
            f"a stored payload of {size} bytes cannot be unpacked ({error}): the ledger is damaged; "
            "`stagebook check` lists what it touches"
        ) from error


def _size(packed: Packed) -> int:
    return len(packed.body)


def _table(data: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(data[:DICTIONARY_MOST], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
