"""Driving a run: a lock that dies with its process, and a fence that outlives it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class HeldLock(Protocol):
    """A lock on a run."""

    def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        ...


class Locks(Protocol):
    """Locks on runs."""

    def take(self, run_id: str, *, take_over: bool = False) -> HeldLock | None:
        """Take the lock of a run; None if somebody has it.

        With `take_over` also from a driver that is elsewhere and silent, where there is such a thing.
        """
        ...

    def is_held(self, run_id: str) -> bool:
        """Whether somebody holds the lock of a run."""
        ...

    def describe(self, run_id: str) -> str | None:
        """Say who holds the lock of a run and what to do, where that is not told by the ledger's drives alone."""
        ...

    def close(self) -> None:
        """End whatever keeps locks; doing it again does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to drive a run, until it is released or its process dies."""

    run: int
    """Id of the run."""
    run_id: str
    """Its readable id."""
    fence: int
    """Number of this claim; every write of a step carries it, and is refused once a later claim was made."""
    fresh: bool
    """Whether the run was made with this claim, so that there is nothing in the ledger to go on from."""
    _end: Callable[[int, int], Awaitable[None]] = field(repr=False)

    async def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        await self._end(self.run, self.fence)


def who_drives(run_id: str, driver: tuple[int, int] | None) -> str:
    """Say in a sentence who drives a run and what to do.

    Args:
        run_id: The run.
        driver: Process id and since when, as the ledger has it; None in the instant before it is written.
    """
    if driver is None:
        return f"{run_id} is driven by another process: wait for it, or stop it and resume"
    pid, since = driver
    when = f"{datetime.fromtimestamp(since / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{run_id} is driven by process {pid} since {when}: wait for it, or stop it (kill {pid}) and resume"
