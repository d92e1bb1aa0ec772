"""Threads for what a stage's own function computes, off the event loop."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class StageThreads:
    """As many threads as are busy at once; one that is done is kept for the next call, the last one first.

    Drives bound how many calls there are. The threads end with `close`, or when nobody holds this object any more,
    those that are busy as soon as their function returns; none of them holds up the end of the process.
    """

    def __init__(self) -> None:
        self._idle: list[_Thread] = []
        self._closed = threading.Event()
        self._end = weakref.finalize(self, _end, self._idle, self._closed)

    def start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function in a thread.

        Returns:
            Resolved with what the function returns or raises. Cancelling it does not stop the function once it has
            begun.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.hand(lambda: _call(function, future))
        return future

    def hand(self, job: Callable[[], Callable[[], None]]) -> None:
        """Have a job done in a thread; it raises nothing, and gives back what tells of its end."""
        try:
            thread = self._idle.pop()
        except IndexError:
            thread = _Thread(self._idle, self._closed)
        thread.inbox.put(job)

    def close(self) -> None:
        """Take no more calls and let the threads end."""
        self._end()


class _Thread:
    """One thread with its inbox."""

    def __init__(self, idle: "list[_Thread]", closed: threading.Event) -> None:
        self.inbox: SimpleQueue[Callable[[], Callable[[], None]] | None] = SimpleQueue()
        self._idle = idle
        self._closed = closed
        threading.Thread(target=self._work, name="stagebook-stage", daemon=True).start()

    def _work(self) -> None:
        while (job := self.inbox.get()) is not None:
            tell = job()
            self._idle.append(self)  # before it is told, so that the next call finds this thread
            tell()
            del job, tell  # what they hold must not live on until the next one comes
            if self._closed.is_set():
                return


def _end(idle: list[_Thread], closed: threading.Event) -> None:
    closed.set()
    while idle:
        with suppress(IndexError):  # it was given a call meanwhile
            idle.pop().inbox.put(None)


def resolve(future: asyncio.Future[Any], value: object, error: BaseException | None = None) -> None:
    """Resolve a future of an event loop from a thread; nothing happens if nobody waits for it any more."""

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    with suppress(RuntimeError):  # the loop is closed
        future.get_loop().call_soon_threadsafe(settle)


def failure_of(error: BaseException) -> BaseException:
    """Give what a future may hold for what a function raised: nothing that ends iterations or the process."""
    if isinstance(error, StopIteration | SystemExit):
        told = RuntimeError(f"{type(error).__name__} was raised: {error}")
        told.__cause__ = error
        return told.with_traceback(error.__traceback__)
    return error


def _nothing() -> None:
    """Tell nobody."""


def _call(function: Callable[[], T], future: asyncio.Future[T]) -> Callable[[], None]:
    if future.cancelled():  # before the thread came to it: nobody wants it any more
        return _nothing
    try:
        value = function()
    except BaseException as raised:  # noqa: BLE001  whatever it is belongs to whoever waits
        error = failure_of(raised)
        return lambda: resolve(future, None, error)
    return lambda: resolve(future, value)
