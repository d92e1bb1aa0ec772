"""Opens a ledger that must be there already."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stagebook.ledger.location import locate
from stagebook.ledger.store import Ledger

T = TypeVar("T")


def look(url: str | None, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """Let something look into a ledger.

    Raises:
        LedgerError: There is none, or it cannot be read.
    """

    async def looking() -> T:
        async with await Ledger.open(url, read_only=True) as ledger:
            return await work(ledger)

    return asyncio.run(looking())


async def open_existing(url: str | None) -> Ledger:
    """Open a ledger for writing, but do not make one where there is none.

    Raises:
        LedgerError: There is none, or it cannot be opened.
    """
    place = locate(url)
    if place.server is not None or (place.path is not None and not place.path.exists()):
        await (await Ledger.open(url, read_only=True)).close()  # refuses where there is none, and says where it looked
    return await Ledger.open(url)
