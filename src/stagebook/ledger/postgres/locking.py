"""Locks that end with their transaction, as a pooler wants them (`pg_advisory_xact_lock`)."""

from typing import Final

from stagebook.model.exchange import content_hash

EVERYTHING: Final = b"everything"
"""Held shared by everyone who writes facts, and alone by what changes more: migrations, imports, removals."""
COMMANDS: Final = b"commands"
"""Held by who carries out a command, so that two processes do not take the same readable id."""
EVENTS: Final = b"events"
"""Held from the first event of a transaction to its commit, so that their numbers follow the order of commits."""


def key(schema: str, what: bytes) -> int:
    """Give the number of a lock of one ledger: 64 bits of a hash, since servers share them among all who lock."""
    return int.from_bytes(content_hash(b"stagebook:" + schema.encode() + b":" + what)[:8], "big", signed=True)
