"""Bytes that arrive in chunks, and what is cut out of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

CHUNK = 1 << 19
"""Bytes that are read at once: so many that Python's own work is small, and few beside a process's memory."""
LARGEST_RECORD = 32 << 20
"""Bytes of one record, at most, unless told otherwise. Read, a record takes some five times its bytes."""


class Record(NamedTuple):
    """One record of a file."""

    value: Any
    """What it says: mostly a dict."""
    index: int  # type: ignore[assignment]  # tuple's method of that name is not used
    """Which of the file's records it is, from 0."""
    byte: int | None = None
    """Where it begins."""
    line: int | None = None
    """The line that it stands in, from 1."""


class Trouble(NamedTuple):
    """A record that could not be read, or not as it stands."""

    message: str
    """What is wrong; the record is its subject."""
    index: int | None = None  # type: ignore[assignment]  # as above
    """Which of the file's records it is, from 0; None where the whole file is meant."""
    byte: int | None = None
    """Where it begins."""
    line: int | None = None
    """The line that it stands in, from 1."""
    lost: bool = True
    """False where the record was read nevertheless."""
    interrupted: bool = False
    """True where what holds the file failed while it was read: another time it may be whole."""


class CutOff(Exception):
    """No more bytes can be had of a file, though it has not ended; the text says why, the file is its subject."""


class Interrupted(CutOff):
    """What holds the file failed while it was read: its server was lost, or denied. Another time it may be whole."""


class ByteStream:
    """A window on bytes that arrive in chunks; what lies before `at` is forgotten when more is read.

    Where the chunks are cut off, the stream ends, so that what came before is still read; `problem` says why.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.problem: str | None = None
        self.interrupted = False
        self._before = 0
        self.data = b""
        self.at = 0

    @property
    def place(self) -> int:
        """How many bytes of the whole lie before `at`."""
        return self._before + self.at

    def more(self) -> bool:
        """Read on, so that `at` is 0 and the window longer.

        Returns:
            Whether there was anything more.
        """
        try:
            chunk = next(self._chunks, b"")
        except CutOff as problem:
            self.problem, chunk = str(problem), b""
            self.interrupted = isinstance(problem, Interrupted)
        self._before += self.at
        self.data = self.data[self.at :] + chunk if self.at < len(self.data) else chunk
        self.at = 0
        return bool(chunk)

    def fill(self, size: int) -> None:
        """Read on until so many bytes lie before us, or all that there are."""
        while len(self.data) - self.at < size:
            if not self.more():
                return

    def rest(self) -> Iterator[bytes]:
        """Hand on what has not been read, in chunks.

        Yields:
            The bytes from `at` on.

        Raises:
            CutOff: No more can be had.
        """
        while self.at < len(self.data) or self.more():
            chunk, self.at = self.data[self.at :], len(self.data)
            yield chunk
        if self.problem is not None:
            raise (Interrupted if self.interrupted else CutOff)(self.problem)
