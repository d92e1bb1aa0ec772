"""Whether a ledger can be written, and how fast its disk makes things durable."""

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final

from stagebook.insight.doctor import BROKEN, OK, Finding
from stagebook.ledger.location import Location, locate
from stagebook.ledger.opening import survey_of
from stagebook.ledger.postgres.address import Address
from stagebook.ledger.store import Ledger
from stagebook.model.errors import StagebookError

TRIES: Final = 7
BLOCK: Final = 4096
"""Bytes of a page of SQLite, which is what a commit writes at least."""
LITTLE: Final = 100 * 2**20
"""Bytes of free disk below which a run may not come to its end."""
_MEGABYTE: Final = 10**6


async def examine(location: Location) -> Finding:
    """Look at a ledger without changing it; where there is none, at the place where it would be made.

    Args:
        location: Its place, a file or in PostgreSQL.
    """
    if location.server is not None:
        return await _examine_server(location.server)
    path = location.path
    if path is None:
        return Finding("ledger", "in memory", BROKEN, "it would be gone with its process", "name a file: --ledger PATH")
    folder = _nearest(path.parent)
    facts: dict[str, Any] = {"path": str(path), "exists": path.exists()}
    try:
        if path.exists():
            facts |= await _contents(path)
        facts["free_bytes"] = shutil.disk_usage(folder).free
        writable = os.access(path if path.exists() else folder, os.W_OK) and os.access(folder, os.W_OK)
        facts["writable"] = writable
        if not writable:
            mend = "let this user write there, or name another: --ledger PATH"
            return Finding("ledger", path.name, BROKEN, f"this user cannot write in {folder}", mend, facts)
        facts["fsync_ms"] = round(fsync_seconds(folder) * 1000, 3)
    except (StagebookError, OSError, sqlite3.Error) as error:
        mend = "name another: --ledger PATH, or bring this one back from a backup"
        return Finding("ledger", path.name, BROKEN, " ".join(str(error).split()), mend, facts)
    if facts["free_bytes"] < LITTLE:
        said = f"only {facts['free_bytes'] // _MEGABYTE} MB are free on its disk"
        return Finding("ledger", path.name, BROKEN, said, "free some, or name another disk: --ledger PATH", facts)
    return Finding("ledger", path.name, OK, _said(facts), facts=facts)


async def _examine_server(address: Address) -> Finding:
    """Look at a ledger in PostgreSQL, or at whether one could be made where there is none."""
    facts: dict[str, Any] = {"address": address.shown}
    try:
        facts |= await asyncio.to_thread(survey_of, address)
    except StagebookError as error:
        mend = "mend that, or name another ledger: --ledger"
        return Finding("ledger", "PostgreSQL", BROKEN, " ".join(str(error).split()), mend, facts)
    if not facts["writable"]:
        mend = "let this user create and write there, or name another: --ledger"
        return Finding("ledger", "PostgreSQL", BROKEN, f"this user cannot write at {address.shown}", mend, facts)
    commits = "" if facts["synchronous_commit"] else "; commits do not wait for the disk (synchronous_commit = off)"
    times = f"PostgreSQL {facts['server']}, a journey there and back {facts['journey_ms']:.2f} ms{commits}"
    if not facts["exists"]:
        return Finding("ledger", "PostgreSQL", OK, f"the first run makes {address.shown}; {times}", facts=facts)
    runs = facts["runs"]
    held = f"{runs:,} run{'' if runs == 1 else 's'}, {facts['bytes'] / _MEGABYTE:,.1f} MB, version {facts['version']}"
    return Finding("ledger", "PostgreSQL", OK, f"{address.shown}: {held}; {times}", facts=facts)


async def _contents(path: Path) -> dict[str, Any]:
    async with await Ledger.open(path, read_only=True) as ledger:
        runs = (await ledger.query("SELECT count(*) FROM runs")).rows[0][0]
    with closing(sqlite3.connect(f"{locate(path).address}?mode=ro", uri=True)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    return {"version": version, "runs": runs, "bytes": sum(map(_size, _files(path)))}


def _files(path: Path) -> list[Path]:
    """The files that a ledger consists of."""
    return [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm")), *(path.parent / "blobs").rglob("*")]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # gone since it was listed
        return 0


def fsync_seconds(folder: Path) -> float:
    """Measure how long a disk takes to make a page durable: what every recorded call waits for twice.

    Args:
        folder: Where a file is made, and taken away again.

    Returns:
        Seconds, the median of seven.

    Raises:
        OSError: Nothing can be written there.
    """
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(TRIES):
            began = time.perf_counter()
            file.write(b"\0" * BLOCK)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return median(times)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _said(facts: dict[str, Any]) -> str:
    disk = f"fsync {facts['fsync_ms']:.2f} ms, {facts['free_bytes'] / 10**9:,.1f} GB free"
    if not facts["exists"]:
        return f"the first run makes {facts['path']}; {disk}"
    runs = facts["runs"]
    size = f"{facts['bytes'] / _MEGABYTE:,.1f} MB"
    return f"{facts['path']}: {runs:,} run{'' if runs == 1 else 's'}, {size}, version {facts['version']}; {disk}"
