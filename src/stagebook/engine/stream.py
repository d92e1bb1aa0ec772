"""Iterates what a stage yields without holding up the event loop, a little ahead of what is written."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

from stagebook.engine.threads import StageThreads

AHEAD = 256
"""Most items that a generator may be ahead of the ledger."""


class Pump:
    """Runs an ordinary iterator in a thread and hands over what it gave, as soon as it is there, in batches.

    Args:
        source: What to iterate; closed at the end if it can be.
        threads: Where its thread comes from.
    """

    def __init__(self, source: Iterable[Any], threads: StageThreads) -> None:
        self._source = source
        self._threads = threads
        self._given: deque[Any] = deque()
        self._room = threading.Semaphore(AHEAD)
        self._stopped = threading.Event()
        self._signalled = False
        self._lock = threading.Lock()

    async def batches(self) -> AsyncIterator[list[Any]]:
        """Give what was yielded since the last time, at least one item each.

        Raises:
            Exception: Whatever the iterator raised, after everything that it gave before.
        """
        loop = asyncio.get_running_loop()
        there = asyncio.Event()
        finished = self._threads.start(lambda: self._run(loop, there))
        finished.add_done_callback(lambda _: there.set())
        try:
            while True:
                await there.wait()
                ended = finished.done()
                batch = self._take(there)
                if batch:
                    yield batch
                elif ended:
                    finished.result()
                    return
                if ended:
                    there.set()
        finally:
            self._stopped.set()
            self._room.release()
            if not finished.done():
                await asyncio.wait([finished])

    def _take(self, there: asyncio.Event) -> list[Any]:
        with self._lock:
            batch = list(self._given)
            self._given.clear()
            self._signalled = False
            there.clear()
        for _ in batch:
            self._room.release()
        return batch

    def _run(self, loop: asyncio.AbstractEventLoop, there: asyncio.Event) -> None:
        iterator = iter(self._source)
        try:
            for item in iterator:
                self._room.acquire()
                if self._stopped.is_set():
                    return
                with self._lock:
                    self._given.append(item)
                    signal = not self._signalled
                    self._signalled = True
                if signal:
                    loop.call_soon_threadsafe(there.set)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()


async def batches(source: Iterable[Any] | AsyncIterable[Any], threads: StageThreads) -> AsyncIterator[list[Any]]:
    """Iterate anything that a stage may return as its items.

    Args:
        source: An iterator, a generator, a list, or an asynchronous one.
        threads: For ordinary ones.
    """
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield [item]
    else:
        async for batch in Pump(source, threads).batches():
            yield batch
