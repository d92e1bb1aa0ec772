"""The ledger's SQL in PostgreSQL's form: numbered placeholders, and tables named with their schema.

Names carry their schema, so that no session has to remember a `search_path`: behind a pooler that hands out a
connection for one transaction, there is none to remember it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from typing import Final

from stagebook.ledger.sql.v001 import TABLES

_NAMES: Final = (*re.findall(r"CREATE TABLE (\w+)", TABLES), "sessions", "leases", "ledger", "json_each")
_NAMED: Final = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE)(\s+)({'|'.join(_NAMES)}|costs|stage_outputs)\b")
_TOKEN: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\?(\d*)", re.DOTALL)


@lru_cache(maxsize=1024)
def translated(sql: str, schema: str) -> bytes:
    """Write one of the ledger's own statements for PostgreSQL."""
    return qualified(numbered(sql), schema).encode()


def qualified(sql: str, schema: str) -> str:
    """Name the ledger's tables with their schema."""
    return _NAMED.sub(rf"\1\2{schema}.\3", sql)


def numbered(sql: str) -> str:
    """Write `?` and `?1` as `$1`, outside of quotes and comments."""
    numbers = count(1)
    return placed(sql, lambda number: f"${number or next(numbers)}")


def placed(sql: str, write: Callable[[str], str]) -> str:
    """Put something in place of every placeholder.

    Args:
        sql: With `?` or `?1`.
        write: Takes a placeholder's number, empty where it has none.
    """
    return _TOKEN.sub(lambda found: found.group() if found.group(1) is None else write(found.group(1)), sql)
