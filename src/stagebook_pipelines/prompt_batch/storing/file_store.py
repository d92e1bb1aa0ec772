"""Results in a file: added to what it holds, and renamed into place when all of it is on disk."""

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stagebook_pipelines.prompt_batch.storing.record import Heading, Record
from stagebook_pipelines.prompt_batch.storing.store import ChunkRefused, Kept, StoreError


class FileStore(ABC):
    """Implements `Store` for a file; nobody ever sees half of one.

    What is kept is written beside the file first. At the end a new file is made of the rows that were there, without
    those that are mended, and the new ones.

    Args:
        path: The file; it is made where there is none.
        heading: What its rows share.

    Raises:
        StoreError: It cannot be read, or its folder cannot be written to.
    """

    def __init__(self, path: Path, heading: Heading) -> None:
        self._path, self._heading = path, heading
        self._mended: set[str] = set()
        self._failed: set[str] = set()
        """Keys of new rows that say that their prompt failed."""
        self._mends_new = False
        """Whether one of these was mended by a later chunk."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._new = _beside(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}") from None
        try:
            self._seen = self._state()
            self._keys = self._stored()
        except OSError as error:
            self._remove(self._new)
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
        except StoreError:
            self._remove(self._new)
            raise

    def keep(self, chunk: Sequence[Record]) -> Kept:
        """Write the new rows of a chunk beside the file."""
        rows: list[Record] = []
        for record in chunk:
            known = self._keys.get(record.key)
            if known is None or (record.success and not known):
                rows.append(record)
        try:
            self._write(rows)
        except OSError as error:
            raise ChunkRefused(f"{self._path}: {error.strerror or error}") from None
        for record in rows:
            if record.key in self._keys:
                self._mended.add(record.key)
                self._mends_new |= record.key in self._failed
            elif not record.success:
                self._failed.add(record.key)
            self._keys[record.key] = record.success
        return Kept([one.key for one in rows], len(chunk) - len(rows), [])

    def finish(self) -> None:
        """Put the new file into the old one's place."""
        whole: Path | None = None
        try:
            self._end_of_new()
            if self._state() != self._seen:
                raise StoreError(f"{self._path} was changed by somebody else meanwhile; store again")
            whole = _beside(self._path)
            self._merge(self._new, whole)
            if self._path.exists():
                whole.chmod(self._path.stat().st_mode & 0o777)
            _sync(whole)
            whole.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror or error}") from None
        finally:
            self._remove(self._new)
            if whole is not None:
                self._remove(whole)

    def close(self) -> None:
        """Remove what was not finished."""
        self._abandon()
        self._remove(self._new)

    def _state(self) -> tuple[int, int, int] | None:
        """Tell the file from what somebody else makes of it."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @staticmethod
    def _remove(path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)

    @abstractmethod
    def _stored(self) -> dict[str, bool]:
        """Give the keys that the file holds, and whether each has an answer."""

    @abstractmethod
    def _write(self, rows: Sequence[Record]) -> None:
        """Write rows into the file of new ones."""

    @abstractmethod
    def _end_of_new(self) -> None:
        """Close the file of new rows, all of it written."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close the file of new rows as it is."""

    @abstractmethod
    def _merge(self, new: Path, whole: Path) -> None:
        """Write what the file holds, and the new rows; of both without those that are mended by a later one."""


def _beside(path: Path) -> Path:
    """Make an empty file in the same folder, so that renaming it is one step of the file system."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    made.touch(exist_ok=False)
    return made


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
