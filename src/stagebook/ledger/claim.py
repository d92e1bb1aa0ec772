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

    def take(self, run_id: str, holder: dict[str, object]) -> HeldLock | None:
        """Take the lock of a run; None if somebody has it."""
        ...

    def is_held(self, run_id: str) -> bool:
        """Whether somebody holds the lock of a run."""
        ...

    def holder(self, run_id: str) -> dict[str, object]:
        """Who holds it, as far as that is told."""
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
    _end: Callable[[int, int], Awaitable[None]] = field(repr=False)

    async def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        await self._end(self.run, self.fence)


def who_drives(run_id: str, holder: dict[str, object]) -> str:
    """Say in a sentence who holds a run and what to do."""
    pid, since = holder.get("pid"), holder.get("since")
    who = f"process {pid}" if pid is not None else "another process"
    when = f" since {datetime.fromtimestamp(since / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(since, int) else ""
    what = f"stop it (kill {pid})" if pid is not None else "stop it"
    return f"{run_id} is driven by {who}{when}: wait for it, or {what} and resume"
