"""Commands worth typing next, written so that they can be pasted."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from stagebook.ledger.location import locate

NAME: Final = "stagebook"


def command(*words: str, ledger: str | None = None) -> str:
    """Write a `stagebook` command, naming the ledger where it has to be named."""
    return shlex.join((program(), *words, *_ledger(ledger)))


def query(sql: str, ledger: str | None = None) -> str:
    """Write a `stagebook sql` command; the query stands in double quotes, so that its own quotes stay readable."""
    escaped = sql.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return " ".join((shlex.quote(program()), "sql", f'"{escaped}"', *map(shlex.quote, _ledger(ledger))))


def program() -> str:
    """Name this program as it can be typed again: as it was typed, where the bare name would not find it."""
    typed = Path(sys.argv[0])
    if typed.name != NAME or not typed.exists():
        return NAME
    found = shutil.which(NAME)
    return NAME if found is not None and Path(found).samefile(typed) else str(typed)


def _ledger(ledger: str | None) -> tuple[str, ...]:
    if not ledger or ledger == os.environ.get("STAGEBOOK_LEDGER"):
        return ()
    server = locate(ledger).server
    return ("--ledger", ledger if server is None else server.shown)  # a password is not shown
