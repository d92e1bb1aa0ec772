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
            self._path.unlink(
                missing_ok=True
            )  # while it is locked: whoever waits for it looks whether it is still there
            os.close(self._descriptor)
            self._descriptor = None


class FolderLocks:
    """Locks as files in a folder, for every process of this machine.

    A file that was left by a killed process means nothing: only the lock on it does, and the system has taken that
        away.

    Args:
        folder: Made when the first lock is taken.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, run_id: str, holder: dict[str, object]) -> RunLock | None:
        """Take the lock of a run if nobody has it.

        Args:
            run_id: The run.
            holder: Who takes it, for those who come later.

        Returns:
            The lock, or None if somebody has it, in this process or another.

        Raises:
            OSError: The folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / run_id
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

    def is_held(self, run_id: str) -> bool:
        """Whether somebody holds the lock of a run."""
        try:
            descriptor = os.open(self._folder / run_id, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # another user's; whoever lets a run go removes the file
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holder(self, run_id: str) -> dict[str, object]:
        """Who holds the lock of a run, as far as it says; empty where it does not."""
        try:
            found = orjson.loads((self._folder / run_id).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}


class MemoryLocks:
    """Locks for a ledger in memory, which no other process can see."""

    __slots__ = ("_holders",)

    def __init__(self) -> None:
        self._holders: dict[str, dict[str, object]] = {}

    def take(self, run_id: str, holder: dict[str, object]) -> "MemoryLock | None":
        """Take the lock of a run if nobody has it."""
        if run_id in self._holders:
            return None
        self._holders[run_id] = holder
        return MemoryLock(self._holders, run_id)

    def is_held(self, run_id: str) -> bool:
        """Whether somebody holds the lock of a run."""
        return run_id in self._holders

    def holder(self, run_id: str) -> dict[str, object]:
        """Who holds the lock of a run; empty if nobody does."""
        return self._holders.get(run_id, {})


class MemoryLock:
    """A held lock on one run of a ledger in memory.

    Args:
        holders: All of that ledger's.
        run_id: The run.
    """

    __slots__ = ("_held", "_holders", "_run_id")

    def __init__(self, holders: dict[str, dict[str, object]], run_id: str) -> None:
        self._holders = holders
        self._run_id = run_id
        self._held = True

    def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        if self._held:
            self._held = False
            del self._holders[self._run_id]


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
