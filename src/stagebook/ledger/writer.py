"""The one thread that writes: gathers what is handed in, commits it together, and tells everyone who waits."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Final, Protocol

from stagebook.ledger.commands import Command
from stagebook.ledger.entry import Entry
from stagebook.model.errors import LedgerError

FOLLOW_SECONDS: Final = 0.05
"""How long what nobody waits for may stay uncommitted."""
GATHER_SECONDS: Final = 0.002
"""Longest gather."""
SLICE_SECONDS: Final = 0.00025
"""Time of one slice; a slice that brings nothing ends the gather."""
RETRY_SECONDS: Final = 1.0
"""Pause before what nobody waits for is tried again after the database failed."""


class Session(Protocol):
    """The writing side of one database."""

    def commit(self, entries: Sequence[Entry]) -> None:
        """Commit entries together; an entry that is refused carries its error, the others are durable.

        Raises:
            LedgerError: The database failed as a whole; nothing was written.
        """
        ...

    def close(self) -> None:
        """Let the connection go."""
        ...


class Writer:
    """A thread with a session of its own.

    Entries are committed in the order in which they were handed in, many in one transaction. When others came while
    the last transaction was being committed, it waits for more as long as more keep coming, up to 2 ms: a commit
    costs the same for one row as for fifty. A lone caller never waits for others.

    Args:
        session: Used by this thread only.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._entries: deque[Entry] = deque()
        """Handed in, in order."""
        self._calls: SimpleQueue[bool] = SimpleQueue()
        """Wakes the thread: True to commit what was handed in, False to end after that."""
        self._timed_by: asyncio.AbstractEventLoop | None = None
        """The event loop that will call when what nobody waits for is due."""
        self._kept: list[Entry] = []
        self._refusals: dict[int | None, Exception] = {}
        self._came_meanwhile = False
        self._order = threading.Lock()
        self._followed: Entry | None = None
        """The last entry that was handed in without a waiter."""
        self._closed = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="stagebook-ledger", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Hand in an entry.

        Raises:
            LedgerError: The ledger is closed.
        """
        if self._closed:
            raise LedgerError("this ledger is closed; open it again to write")
        if entry.waiter is not None:
            self._entries.append(entry)
            self._calls.put(True)
            return
        with self._order:  # else of two threads the earlier one might be taken for the last
            self._entries.append(entry)
            self._followed = entry
        self._set_timer()

    @property
    def settled(self) -> bool:
        """Whether everything that nobody waits for was committed or refused."""
        return self._followed is None or self._followed.ended

    def ask(self, command: Command) -> object:
        """Have a command executed, and block until it is; for the rare one that is needed where nothing can be awaited.

        Raises:
            LedgerError: The database failed.
        """
        waiter: Future[object] = Future()
        self.put(Entry((), command, waiter))
        return waiter.result()

    def refusal_of(self, entry: Entry) -> Exception | None:
        """Take the refusal of something followed, if it was for a run that this entry names."""
        if not self._refusals:
            return None
        for run in entry.runs():
            error = self._refusals.pop(run, None)
            if error is not None:
                return error
        return None

    def close(self) -> None:
        """Commit everything that was handed in, end the thread and let the database go; blocks.

        Doing it again does nothing.

        Raises:
            LedgerError: Something followed could not be written.
            WriteRefused: Something followed was refused, and nobody was told yet.
        """
        if not self._closed:
            self._closed = True
            self._calls.put(False)
        self._thread.join()
        error = self._failure or next(iter(self._refusals.values()), None)
        self._failure = None
        self._refusals.clear()
        if error is not None:
            raise error

    def _work(self) -> None:
        more = True
        while more:
            batch: list[Entry] = []
            more = self._collect(batch)
            if batch or self._kept:
                self._commit(batch)
        self._session.close()

    def _set_timer(self) -> None:
        """Have the thread called when what nobody waits for is due; until then it sleeps on."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # handed in by a thread without one
            self._calls.put(True)
            return
        if self._timed_by is not loop:
            self._timed_by = loop
            loop.call_later(FOLLOW_SECONDS, self._due)

    def _due(self) -> None:
        self._timed_by = None
        if self._entries:
            self._calls.put(True)

    def _collect(self, batch: list[Entry]) -> bool:
        """Fill the batch; tells whether the writer goes on."""
        try:
            more = self._calls.get(timeout=RETRY_SECONDS if self._kept else None)
        except Empty:
            more = True
        more = self._drain(batch) and more
        if more and self._came_meanwhile:
            more = self._gather(batch)
        return more

    def _gather(self, batch: list[Entry]) -> bool:
        deadline = monotonic() + GATHER_SECONDS
        while monotonic() < deadline:  # on a busy machine a slice takes longer than it should
            before = len(batch)
            sleep(SLICE_SECONDS)
            if not self._drain(batch):
                return False
            if len(batch) == before:
                break
        return True

    def _drain(self, batch: list[Entry]) -> bool:
        """Take what is there; tells whether the writer goes on."""
        more = True
        with suppress(Empty):  # calls first: whatever was handed in before one of them is taken below
            while True:
                more = self._calls.get_nowait() and more
        with suppress(IndexError):
            while True:
                batch.append(self._entries.popleft())
        return more

    def _commit(self, batch: list[Entry]) -> None:
        entries = self._kept + batch
        self._kept = []
        try:
            self._session.commit(entries)
        except Exception as error:  # noqa: BLE001  whatever it was, whoever waits must be told
            for entry in entries:
                entry.error = None if entry.waiter is None else error
                if entry.waiter is None:
                    self._kept.append(entry)
            self._failure = error if self._kept else None
        else:
            self._failure = None
        self._came_meanwhile = not self._calls.empty()
        for entry in entries:
            if entry.waiter is not None:
                continue
            if entry.error is not None:
                for run in entry.runs() or (None,):
                    self._refusals.setdefault(run, entry.error)
            entry.ended = not self._kept
        _tell([entry for entry in entries if entry.waiter is not None])


def _tell(entries: list[Entry]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Entry]] = {}
    for entry in entries:
        if isinstance(entry.waiter, asyncio.Future):
            loops.setdefault(entry.waiter.get_loop(), []).append(entry)
        else:
            _resolve([entry])
    for loop, told in loops.items():
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(_resolve, told)


def _resolve(entries: list[Entry]) -> None:
    for entry in entries:
        waiter = entry.waiter
        if waiter is None or waiter.done():  # its task was cancelled
            continue
        if entry.error is None:
            waiter.set_result(entry.result)
        else:
            waiter.set_exception(entry.error)
