"""Says on stderr how far something has come, once it takes longer than a second."""

import time
from typing import Final

from stagebook.cli.console import notes
from stagebook.ledger.progress import Told

PATIENCE: Final = 1.0
"""Seconds before the first word, and between two."""


def told(patience: float = PATIENCE) -> Told:
    """Make something that says it.

    Args:
        patience: Seconds before the first word, and between two.
    """
    console = notes()
    last = time.monotonic()

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= patience:
            last = time.monotonic()
            console.say(f"{what}: {done:,} of {total:,}")

    return say
