"""Large payloads as files beside the ledger, named by their content."""

import os
import time
from pathlib import Path
from typing import Final

from stagebook.model.errors import LedgerError

BLOB_LEAST: Final = 256 * 1024
"""Bytes (packed) above which a payload is a file: SQLite reads files of this size faster than rows of it."""


class BlobFiles:
    """A folder of files that are written once and never changed.

    Args:
        folder: Made when the first file is written.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, digest: bytes, body: bytes) -> str:
        """Put bytes into a file, on disk with its name before this returns.

        Args:
            digest: Hash of the payload.
            body: Its packed bytes.

        Returns:
            The file's place below the folder.

        Raises:
            OSError: The file could not be written; nothing of it is left under its name.
        """
        name = digest.hex()
        location = f"{name[:2]}/{name}"
        path = self._folder / location
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(path, body)
            _sync_folder(path.parent)
            _sync_folder(self._folder)
        return location

    def read(self, location: str) -> bytes:
        """Read a file.

        Raises:
            LedgerError: The file is gone.
        """
        try:
            return (self._folder / location).read_bytes()
        except OSError as error:
            raise LedgerError(
                f"the ledger's file {self._folder / location} cannot be read ({error.strerror}); "
                "it belongs beside the database: restore it from where that came from"
            ) from error

    def remove(self, location: str) -> None:
        """Remove a file that no row names any more; one that is gone already is as well.

        Raises:
            OSError: It cannot be removed.
        """
        (self._folder / location).unlink(missing_ok=True)

    def has(self, location: str) -> bool:
        """Whether a file is there."""
        return (self._folder / location).is_file()

    def locations(self, *, before: float = float("inf")) -> list[str]:
        """List the files that are there whole, sorted; what is being written at this moment is not among them.

        Args:
            before: Only those that were written before this time, in seconds since 1970.
        """
        found = (
            path for path in self._folder.glob("??/*") if not path.name.startswith(".") and _written_at(path) < before
        )
        return sorted(f"{path.parent.name}/{path.name}" for path in found)

    def leftovers(self, seconds: float) -> list[str]:
        """List the halves of files whose writer was killed: those that nobody has touched for so long."""
        before = time.time() - seconds
        found = (path for path in self._folder.glob("??/.*") if _written_at(path) < before)
        return sorted(f"{path.parent.name}/{path.name}" for path in found)


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # removed meanwhile
        return float("inf")


def _write_whole(path: Path, body: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
