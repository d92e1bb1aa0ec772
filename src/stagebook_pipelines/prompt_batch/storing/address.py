"""Where results go, as it is typed: an address or a file, or the environment variable that holds it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from stagebook_pipelines.prompt_batch.storing.record import Heading
from stagebook_pipelines.prompt_batch.storing.store import Store, StoreError
from stagebook_pipelines.prompt_batch.storing.table_name import read_table_name

TABLE: Final = "prompt_evaluations"
"""The table, where none is named."""
FORMS: Final = (
    "postgresql://..., a file that ends in .db, .sqlite, .jsonl or .parquet, or env:NAME for a variable that holds one"
)
_REFERENCE: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_WORDS: Final = re.compile(r"(?i)\b(?:ssl)?passw(?:ord|d)\s*=")
"""In the words of libpq, `host=... password=...`."""
_REFUSED: Final = "holds a password; put the address into an environment variable and write env:NAME instead"
_POSTGRES: Final = ("postgresql://", "postgres://")
_SQLITE: Final = "sqlite:///"
_SQLITE_ENDINGS: Final = {".db", ".sqlite", ".sqlite3"}


def open_store(store: str, table: str, heading: Heading, environment: Mapping[str, str]) -> Store:
    """Open a place for results, and see that it can take them.

    Args:
        store: As it is typed.
        table: A table in it, `table` or `schema.table`; a file of lines or of Parquet has none.
        heading: What the rows share.
        environment: Where references are resolved.

    Raises:
        StoreError: It is no such place, or it cannot take results.
    """
    address = resolve(store, environment)
    if address.startswith(_POSTGRES):
        from stagebook_pipelines.prompt_batch.storing.postgres import PostgresStore  # noqa: PLC0415  only where wanted

        return PostgresStore(address, read_table_name(table), heading)
    path, ending = _file(address, store)
    if address.startswith(_SQLITE) or ending in _SQLITE_ENDINGS:
        from stagebook_pipelines.prompt_batch.storing.sqlite import SqliteStore  # noqa: PLC0415  as above

        return SqliteStore(path, read_table_name(table), heading)
    if ending == ".parquet":
        from stagebook_pipelines.prompt_batch.storing.parquet import ParquetStore  # noqa: PLC0415  as above

        return ParquetStore(path, heading)
    from stagebook_pipelines.prompt_batch.storing.jsonl import JsonLinesStore  # noqa: PLC0415  as above

    return JsonLinesStore(path, heading)


def resolve(store: str, environment: Mapping[str, str]) -> str:
    """Put the value in place of a reference.

    Raises:
        StoreError: The variable is not set.
    """
    match = _REFERENCE.fullmatch(store)
    if match is None:
        return store
    found = environment.get(match[1], "").strip()
    if not found:
        raise StoreError(f"the environment variable {match[1]} is not set; set it to the address of the results")
    return found


def refuse_password(store: str) -> None:
    """Refuse an address with a password in it, where addresses are kept.

    Raises:
        ValueError: It has one.
    """
    if _WORDS.search(store):
        raise ValueError(_REFUSED)
    if "://" not in store:
        return
    try:
        parts = urlsplit(store)
    except ValueError:  # brackets that hold no IPv6 address; told when it is opened
        return
    if "@" in parts.netloc and ":" in parts.netloc.rpartition("@")[0]:
        found = True
    else:
        found = any(name in {"password", "sslpassword"} for name, _ in parse_qsl(parts.query))
    if found:
        raise ValueError(_REFUSED)


def _file(address: str, store: str) -> tuple[Path, str]:
    """Read the name of a file.

    Raises:
        StoreError: It is none that results can be stored in.
    """
    shown = store if store.startswith("env:") else repr(address[:80])
    named = unquote(address.removeprefix(_SQLITE)) if address.startswith(_SQLITE) else address
    scheme = urlsplit(named).scheme if "://" in named else ""
    path = Path(named)
    ending = path.suffix.lower()
    known = {*_SQLITE_ENDINGS, ".jsonl", ".ndjson", ".parquet"}
    if scheme or not named or "\0" in named or (ending not in known and not address.startswith(_SQLITE)):
        if _WORDS.search(address):
            shown = "an address in the words of libpq"
        raise StoreError(f"results cannot be stored in {shown}; give {FORMS}")
    return path, ending
