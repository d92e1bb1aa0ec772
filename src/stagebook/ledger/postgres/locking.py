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


def ending_when_idle(seconds: float) -> str:
    """Write, for a SELECT, the settings of a transaction that is not to hold its locks when we are gone unheard.

    They hold for the transaction alone, as behind a pooler no session has any. A server that waits for the rest of a
    pipeline does not count it as idleness: there only the network's own signs of life tell.

    Args:
        seconds: How long the transaction may wait for its next statement, until the server ends it.
    """
    settings = {
        "idle_in_transaction_session_timeout": round(seconds * 1000),
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
    }
    return ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
