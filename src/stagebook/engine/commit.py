"""What a step has made, on its way to the ledger."""

import asyncio
from collections.abc import Callable
from typing import Any

from stagebook.model.status import StepStatus


class Commit:
    """A unit that the ledger has taken, and what its step comes to once that is durable.

    A step whose time is over while it waits for this has done its work: whoever runs it waits on, and hears what went
    wrong.

    Args:
        waiter: Resolved by the ledger; it is not cancelled with who waits.
        then: Takes note, and gives the step's status.
    """

    __slots__ = ("_then", "_waiter")

    def __init__(self, waiter: asyncio.Future[Any], then: Callable[[], StepStatus]) -> None:
        self._waiter = waiter
        self._then = then

    async def durable(self) -> StepStatus:
        """Wait for it.

        Raises:
            WriteRefused: The ledger would not take it.
            LedgerError: The ledger failed.
        """
        await asyncio.shield(self._waiter)
        return self._then()
