"""Who drives a run, on one machine: a file lock that the system takes away the moment its process dies."""

import fcntl
import os
from pathlib import Path
from typing import Final

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
        away. Who holds a lock stands in the ledger; the files are empty, since one with a block of its own costs ten
        times as much to make and remove.

    Args:
        folder: Made when the first lock is taken.
    """

    __slots__ = ("_folder",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, run_id: str, *, take_over: bool = False) -> RunLock | None:  # noqa: ARG002  no lock outlives its driver
        """Take the lock of a run if nobody has it.

        Args:
            run_id: The run.
            take_over: Changes nothing: a lock that is held has a living holder.

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

    def describe(self, run_id: str) -> None:
        """Say nothing: the ledger's drives tell who it is."""

    def close(self) -> None:
        """Do nothing: each lock is let go by itself."""


class MemoryLocks:
    """Locks for a ledger in memory, which no other process can see."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: set[str] = set()

    def take(self, run_id: str, *, take_over: bool = False) -> "MemoryLock | None":  # noqa: ARG002  as above
        """Take the lock of a run if nobody has it."""
        if run_id in self._held:
            return None
        self._held.add(run_id)
        return MemoryLock(self._held, run_id)

    def is_held(self, run_id: str) -> bool:
        """Whether somebody holds the lock of a run."""
        return run_id in self._held

    def describe(self, run_id: str) -> None:
        """Say nothing: the ledger's drives tell who it is."""

    def close(self) -> None:
        """Do nothing: each lock is let go by itself."""


class MemoryLock:
    """A held lock on one run of a ledger in memory.

    Args:
        held: All of that ledger's.
        run_id: The run.
    """

    __slots__ = ("_held", "_run_id")

    def __init__(self, held: set[str], run_id: str) -> None:
        self._held: set[str] | None = held
        self._run_id = run_id

    def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        if self._held is not None:
            self._held.discard(self._run_id)
            self._held = None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
