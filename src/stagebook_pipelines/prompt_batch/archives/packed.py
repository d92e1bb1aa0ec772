"""Files that are packed with gzip or zip, unpacked as they are read."""

import zipfile
import zlib
from collections.abc import Generator, Iterator
from itertools import count
from typing import BinaryIO

from stagebook_pipelines.prompt_batch.archives.stream import CHUNK, ByteStream, CutOff

GZIP, ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
ALWAYS_UNPACKED = 1 << 30
MOST_TIMES = 200
"""Text packs to a tenth or so: what gives more than 200 times its bytes, and more than a gigabyte, is a bomb."""
MOST_MEMBERS = 10_000
_GZIP_FORM = 31
_ENCRYPTED = 1


class Ration:
    """Ends an unpacking that gives far more than any archive of conversations would.

    Args:
        always: Bytes that may be unpacked, however few were packed.
    """

    def __init__(self, always: int = ALWAYS_UNPACKED) -> None:
        self._always = always
        self._packed = 0
        self._unpacked = 0

    def took(self, packed: int, unpacked: int) -> None:
        """Count.

        Args:
            packed: Packed bytes that were read.
            unpacked: What they gave.

        Raises:
            CutOff: It is too much.
        """
        self._packed += packed
        self._unpacked += unpacked
        if self._unpacked > max(self._always, MOST_TIMES * self._packed):
            raise CutOff(f"unpacks to more than {MOST_TIMES} times its bytes; unpack it yourself if that is meant")


def gunzipped(stream: ByteStream, ration: Ration) -> Iterator[bytes]:
    """Unpack gzip (RFC 1952), member by member.

    Args:
        stream: The packed bytes.
        ration: How much may come.

    Yields:
        The unpacked bytes.

    Raises:
        CutOff: The packed bytes are damaged, end too early, or are a bomb.
    """
    unpacking = zlib.decompressobj(_GZIP_FORM)
    for chunk in stream.rest():
        ration.took(len(chunk), 0)
        waiting = chunk
        while waiting:
            if unpacking.eof:  # another member follows, or zeros that fill a block
                waiting = waiting.lstrip(b"\0")
                unpacking = zlib.decompressobj(_GZIP_FORM) if waiting else unpacking
                continue
            try:
                data = unpacking.decompress(waiting, CHUNK)
            except zlib.error as problem:
                raise CutOff(f"is damaged: its gzip data cannot be unpacked ({problem})") from None
            waiting = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
            ration.took(0, len(data))
            if data:
                yield data
    if not unpacking.eof:
        raise CutOff("was cut off: its gzip data has no end")


def members(file: BinaryIO) -> Generator[tuple[str, Iterator[bytes]]]:
    """Go through the files of a zip archive.

    Args:
        file: The archive.

    Yields:
        Each member's name, made harmless (it is shown, never used as a path), and its bytes; the second of one name is
        called `a.json#2`. Folders and hidden files are left out.

    Raises:
        CutOff: The archive's directory is damaged or too long, or it holds no file.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise CutOff(f"is a zip archive that cannot be opened ({problem})") from None
    ration = Ration()
    with archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if len(infos) > MOST_MEMBERS:
            raise CutOff(f"is a zip archive of more than {MOST_MEMBERS:,} files; unpack it and name the folder")
        named: set[str] = set()
        for info in infos:
            name = shown(info.filename)
            if not any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
                name = _numbered(name, named)
                named.add(name)
                yield name, _member(archive, info, ration)
        if not named:
            raise CutOff("is a zip archive that holds no file" + (" but hidden ones" if infos else ""))


def shown(name: str) -> str:
    """Make the name of an archive's member harmless: no way up, no root, nothing that is not printed."""
    parts = name.replace("\\", "/").split("/")
    kept = [part for part in parts if part not in {"", ".", ".."}]
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in "/".join(kept)) or "unnamed"


def _numbered(name: str, taken: set[str]) -> str:
    """Give a name that no other member has: a zip archive may hold two of one name, and ways up are cut off."""
    numbers = (f"{name}#{number}" for number in count(2))
    return name if name not in taken else next(one for one in numbers if one not in taken)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, ration: Ration) -> Iterator[bytes]:
    if info.flag_bits & _ENCRYPTED:
        raise CutOff("is encrypted; unpack it and name the folder")
    try:
        with archive.open(info) as file:
            ration.took(info.compress_size, 0)
            while data := file.read(CHUNK):
                ration.took(0, len(data))
                yield data
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as problem:
        raise CutOff(f"cannot be unpacked ({problem})") from None
