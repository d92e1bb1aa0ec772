"""Who drives a run, on many machines: a row that its driver renews, and that says where the driver lives.

A process that was killed on this machine is seen to be gone at once. Of one on another machine only its silence tells,
and a machine that cannot be reached may still be sending requests: its run is taken over only when somebody says so
(`--take-over`). Either way the fence keeps a driver that comes back from writing.
"""

import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from stagebook.ledger.sql.connection import Connection
from stagebook.model.errors import LedgerError

RENEWED_SECONDS: Final = 10.0
"""How often a driver says that it lives."""
SILENT_SECONDS: Final = 60.0
"""Silence after which a driver elsewhere is taken for gone."""
_SOON: Final = "WITH soon AS (SELECT set_config('synchronous_commit', 'off', true)) "
"""A lease need not outlive a crash of the server: the fence does, and the driver takes the lease again."""
_TAKE: Final = f"""{_SOON}
INSERT INTO leases (run_id, holder, pid, began, host, machine, renewed_at)
SELECT CAST(?1 AS TEXT), ?2, ?3, ?4, ?5, ?6, clock_timestamp() FROM soon
ON CONFLICT (run_id) DO UPDATE SET
    holder = excluded.holder, pid = excluded.pid, began = excluded.began, host = excluded.host,
    machine = excluded.machine, renewed_at = excluded.renewed_at
WHERE leases.holder = ?7 RETURNING holder
"""  # noqa: S608  made of constants
_RENEW: Final = f"""{_SOON}
UPDATE leases SET renewed_at = clock_timestamp() FROM soon WHERE run_id = ?1 AND holder = ?2
"""  # noqa: S608  made of constants
_TAKE_AGAIN: Final = f"""{_SOON}
INSERT INTO leases (run_id, holder, pid, began, host, machine, renewed_at)
SELECT CAST(?1 AS TEXT), ?2, ?3, ?4, ?5, ?6, clock_timestamp() FROM soon ON CONFLICT (run_id) DO NOTHING
"""  # noqa: S608  made of constants
_RELEASE: Final = f"{_SOON} DELETE FROM leases USING soon WHERE run_id = ?1 AND holder = ?2"  # noqa: S608  likewise
_LOOK: Final = """
SELECT holder, pid, began, host, machine, extract(epoch FROM clock_timestamp() - renewed_at) FROM leases
WHERE run_id = ?
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it stands."""

    holder: str
    pid: int
    began: str
    """When the process began, as its system counts, so that a later process of that number is not taken for it."""
    host: str
    machine: str
    silent: float
    """Seconds since it was renewed."""

    @property
    def ours(self) -> bool:
        """Whether its driver is, or was, a process of this machine."""
        return self.machine == this_machine()

    @property
    def gone(self) -> bool:
        """Whether its driver is known to be dead."""
        return self.ours and began_at(self.pid) != self.began

    @property
    def lives(self) -> bool:
        """Whether its driver is taken to be alive."""
        return not self.gone and self.silent < SILENT_SECONDS


class Lease:
    """A held lease on one run.

    Args:
        leases: Which it is one of.
        run_id: The run.
        holder: Whose it is: this one's and nobody else's.
    """

    __slots__ = ("_leases", "holder", "run_id")

    def __init__(self, leases: "Leases", run_id: str, holder: str) -> None:
        self._leases = leases
        self.run_id = run_id
        self.holder = holder

    def release(self) -> None:
        """Let the run go; doing it again does nothing."""
        self._leases.let_go(self)


class Leases:
    """Leases on the runs of one ledger; one thread renews those that are held.

    Args:
        work: Calls a function with a connection of the ledger and what else it takes, again where that was lost.
        work_apart: Does so with another connection, for the thread that renews them.
    """

    def __init__(self, work: Callable[..., Any], work_apart: Callable[..., Any]) -> None:  # Any: what is given
        self._work = work
        self._work_apart = work_apart
        self._held: dict[str, Lease] = {}
        self._changed = threading.Lock()
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    def take(self, run_id: str, *, take_over: bool = False) -> Lease | None:
        """Take the lease of a run.

        Args:
            run_id: The run.
            take_over: Take it also from a driver elsewhere that has not been heard of for a minute.

        Returns:
            The lease, or None if somebody has it.

        Raises:
            LedgerError: The server is away.
        """
        lease = Lease(self, run_id, uuid4().hex)
        instead_of = ""
        while not self._work(_take, lease, instead_of):
            held = self._look(run_id)
            if held is None:
                continue
            if not (held.gone or (take_over and not held.lives)):
                return None
            instead_of = held.holder
        with self._changed:
            self._held[lease.holder] = lease
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, name="stagebook-leases", daemon=True)
                self._renewing.start()
        return lease

    def is_held(self, run_id: str) -> bool:
        """Whether a living driver holds a run."""
        held = self._look(run_id)
        return held is not None and held.lives

    def describe(self, run_id: str) -> str | None:
        """Say who holds a run and what to do; None where it is a process of this machine, or nobody."""
        held = self._look(run_id)
        if held is None:
            return None
        if held.lives:
            if held.ours:
                return None
            return (
                f"{run_id} is driven by process {held.pid} on {held.host}, which was heard of {held.silent:.0f} s ago: "
                "wait for it, or stop it there and resume"
            )
        return (
            f"{run_id} was driven by process {held.pid} on {held.host}, which has not been heard of for "
            f"{held.silent:.0f} s: if it is gone, take the run with `stagebook resume {run_id} --take-over`"
        )

    def let_go(self, lease: Lease) -> None:
        """Let a lease go; where the server is away it is left to fall silent."""
        with self._changed:
            if self._held.pop(lease.holder, None) is None:
                return
        with suppress(LedgerError):
            self._work(_release, lease)

    def close(self) -> None:
        """End the renewing; doing it again does nothing."""
        self._ended.set()
        if self._renewing is not None:
            self._renewing.join()

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_SECONDS):
            with self._changed:
                held = list(self._held.values())
            for lease in held:
                with suppress(LedgerError):  # the next time, or never: then it falls silent
                    self._renew_one(lease)

    def _renew_one(self, lease: Lease) -> None:
        """Renew a lease; one that a crash of the server lost is taken again, unless it was let go meanwhile."""
        if self._work_apart(_renew, lease):
            return
        with self._changed:
            if lease.holder in self._held:
                self._work_apart(_take_again, lease)

    def _look(self, run_id: str) -> Held | None:
        found = self._work(_look, run_id)
        return found if isinstance(found, Held) else None


def _take(connection: Connection, lease: Lease, instead_of: str) -> bool:
    rows = connection.execute(_TAKE, (*_ours(lease), instead_of)).fetchall()
    if rows:
        return True
    held = _look(connection, lease.run_id)
    return held is not None and held.holder == lease.holder  # the first try came through, and its answer did not


def _renew(connection: Connection, lease: Lease) -> bool:
    return connection.execute(_RENEW, (lease.run_id, lease.holder)).rowcount > 0


def _take_again(connection: Connection, lease: Lease) -> bool:
    return connection.execute(_TAKE_AGAIN, _ours(lease)).rowcount > 0


def _release(connection: Connection, lease: Lease) -> bool:
    return connection.execute(_RELEASE, (lease.run_id, lease.holder)).rowcount > 0


def _look(connection: Connection, run_id: str) -> Held | None:
    row = connection.execute(_LOOK, (run_id,)).fetchone()
    return None if row is None else Held(row[0], row[1], row[2], row[3], row[4], float(row[5]))


def _ours(lease: Lease) -> tuple[object, ...]:
    pid = os.getpid()
    return lease.run_id, lease.holder, pid, began_at(pid) or "", platform.node(), this_machine()


@lru_cache(maxsize=1)
def this_machine() -> str:
    """Name this machine since it was started, and what its process ids are counted in (a container has its own)."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        return platform.node()
    return f"{platform.node()} {boot.read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"


def began_at(pid: int) -> str | None:
    """Say when a process of this machine began; None if it is not there any more."""
    if not Path("/proc/self/stat").exists():
        return _is_there(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie is dead; proc(5) counts these from 3


def _is_there(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's
    return ""
