"""A file that is being read: its bytes in order, or at any place."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from stagebook_pipelines.prompt_batch.archives.stream import CHUNK, ByteStream, CutOff


class Opened(Protocol):
    """A file's bytes."""

    def chunks(self) -> Iterator[bytes]:
        """Read it from its beginning."""
        ...

    def anywhere(self) -> AbstractContextManager[BinaryIO]:
        """Open it for reading at any place: what has its directory at the end asks for that."""
        ...


class LocalFile:
    """A file on this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def chunks(self) -> Iterator[bytes]:
        """Read it from its beginning."""
        try:
            with self._path.open("rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as problem:
            raise CutOff(f"cannot be read ({problem.strerror})") from None

    @contextmanager
    def anywhere(self) -> Iterator[BinaryIO]:
        """Open it for reading at any place."""
        try:
            file = self._path.open("rb")
        except OSError as problem:
            raise CutOff(f"cannot be read ({problem.strerror})") from None
        with file:
            yield file


class Unpacked:
    """A file within another, whose bytes come in order only; a temporary file on the disk holds it where it must.

    Args:
        stream: Its bytes.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def chunks(self) -> Iterator[bytes]:
        """Read it from its beginning."""
        yield from self._stream.rest()

    @contextmanager
    def anywhere(self) -> Iterator[BinaryIO]:
        """Write it to a temporary file, and open that."""
        with tempfile.TemporaryFile() as file:
            for chunk in self._stream.rest():
                file.write(chunk)
            file.seek(0)
            yield cast("BinaryIO", file)
