"""Commands worth typing next, written so that they can be pasted."""

import os
import shlex


def command(*words: str, ledger: str | None = None) -> str:
    """Write a `stagebook` command, naming the ledger where it has to be named."""
    named = ("--ledger", ledger) if ledger and ledger != os.environ.get("STAGEBOOK_LEDGER") else ()
    return shlex.join(("stagebook", *words, *named))


def query(sql: str, ledger: str | None = None) -> str:
    """Write a `stagebook sql` command; the query stands in double quotes, so that its own quotes stay readable."""
    escaped = sql.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    named = command("sql", ledger=ledger).removeprefix("stagebook sql")
    return f'stagebook sql "{escaped}"{named}'
