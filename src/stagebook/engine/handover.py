"""From the thread that computed to the ledger, and back to the event loop that waits."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from stagebook.engine.threads import failure_of, resolve
from stagebook.ledger.facts import Fact
from stagebook.ledger.store import Ledger


class Handover:
    """What one call in a thread comes to: something written, something else, or an error; each is told once.

    A waiter that is cancelled first gets nothing written: a step that took too long has ended as failed by then.

    Args:
        waiter: Resolved with None when what was written is durable.
        outlasts: Whether it is still resolved where who waits is cancelled, for who waits on.
    """

    def __init__(self, waiter: asyncio.Future[Any], *, outlasts: bool = False) -> None:
        self._waiter = waiter
        self._outlasts = outlasts
        self._lock = threading.Lock()
        self._abandoned = False
        self._written = False

    @property
    def written(self) -> bool:
        """Whether what was made is with the ledger; then it will be durable, whoever still waits."""
        return self._written

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for it."""
        return not (self._abandoned or self._waiter.cancelled())

    async def taken(self) -> Any:
        """Wait for the end; None when it is durable, or what was given.

        Raises:
            BaseException: What the thread or the ledger failed with.
        """
        try:
            return await (asyncio.shield(self._waiter) if self._outlasts else self._waiter)
        except asyncio.CancelledError:
            with self._lock:
                self._abandoned = True
            raise

    def write(self, ledger: Ledger, facts: tuple[Fact, ...]) -> Callable[[], None]:
        """Write a unit; the ledger tells the waiter."""

        def hand_in() -> None:
            try:
                with self._lock:
                    if not self._abandoned:
                        ledger.hand_in(self._waiter, *facts)
                        self._written = True
            except Exception as error:  # noqa: BLE001  whatever it is belongs to the waiter
                resolve(self._waiter, None, error)

        return hand_in

    def give(self, value: object) -> Callable[[], None]:
        """Give the waiter something that is not written."""
        return lambda: resolve(self._waiter, value)

    def fail(self, error: BaseException) -> Callable[[], None]:
        """Raise an error where it is waited for."""
        return lambda: resolve(self._waiter, None, failure_of(error))
