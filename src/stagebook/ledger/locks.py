"""Who drives a run, on one machine: a file lock that the system takes away the moment its process dies."""

import fcntl
import os
from pathlib import Path
from typing import Final

import orjson

_MODE: Final = 0o600


class RunLock:
    """A held lock on one run.

    Args:
        descriptor: Open on the locked file.
        path: The file.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self._path = path

    def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)  # while it is locked: whoever waits for it looks whether it is still there
            os.close(self._descriptor)
            self._descriptor = None


def try_lock(folder: Path, run_id: str, holder: dict[str, object]) -> RunLock | None:
    """Take the lock of a run if nobody has it.

    Args:
        folder: Where the lock files are; made if it is not there.
        run_id: The run.
        holder: Who takes it, for those who come later.

    Returns:
        The lock, or None if somebody has it, in this process or another.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / run_id
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, orjson.dumps(holder))
            return RunLock(descriptor, path)
        os.close(descriptor)  # its last holder removed the file between our opening and locking it


def is_locked(folder: Path, run_id: str) -> bool:
    """Whether somebody holds the lock of a run."""
    try:
        descriptor = os.open(folder / run_id, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder_of(folder: Path, run_id: str) -> dict[str, object]:
    """Who holds the lock of a run, as far as it says; empty where it does not."""
    try:
        found = orjson.loads((folder / run_id).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
