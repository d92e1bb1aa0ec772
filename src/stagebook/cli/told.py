"""Says on stderr how far something has come, once it takes longer than a second."""

import time
from typing import Final

from stagebook.cli.console import notes
from stagebook.ledger.progress import Told

PATIENCE: Final = 1.0
"""Seconds before the first word, and between two."""


def told() -> Told:
    """Make something that says it."""
    console = notes()
    last = time.monotonic()

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PATIENCE:
            last = time.monotonic()
            console.say(f"{what}: {done:,} of {total:,}")

    return say
