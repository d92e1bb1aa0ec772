"""Stored results as responses to score: a table of PostgreSQL or SQLite, Parquet, or JSON lines."""

# ruff: noqa: S608  the names of tables and columns are checked and quoted

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from stagebook_pipelines.prompt_batch.evaluation.rows import ResponseRow, read_lines
from stagebook_pipelines.prompt_batch.storing.address import resolve
from stagebook_pipelines.prompt_batch.storing.store import StoreError
from stagebook_pipelines.prompt_batch.storing.table_name import TableName, read_table_name

_COLUMNS: Final = ("id", "prompt", "response", "success", "error", "experiment_name")
_NEEDED: Final = ("prompt", "response")
_AT_ONCE: Final = 256
_SQLITE: Final = "sqlite:///"
_SQLITE_BEGINS: Final = b"SQLite format 3\0"
_PARQUET_BEGINS: Final = b"PAR1"


def stored_rows(address: str | Path, table: str) -> Iterator[ResponseRow]:
    """Give stored results, as they are read; nothing is written.

    Args:
        address: `postgresql://...`, `sqlite:///FILE`, a file (what it is follows from what it begins with), or
            `env:NAME` for a variable that holds one of them.
        table: The table, of a database.

    Yields:
        The rows; a line that is no JSON as the `ValueError` that says so.

    Raises:
        ValueError: There is no such place, it holds no results, or it cannot be read.
    """
    try:
        place = resolve(str(address), os.environ)
        name = read_table_name(table)
    except StoreError as error:
        raise ValueError(str(error)) from None
    if place.startswith(("postgresql://", "postgres://")):
        yield from _of_postgres(place, name)
        return
    path = Path(unquote(place.removeprefix(_SQLITE)) if place.startswith(_SQLITE) else place)
    shown = path if place == str(address) or place.startswith(_SQLITE) else address  # the variable may hold a password
    begins = _beginning(path, shown)
    if begins.startswith(_SQLITE_BEGINS) or place.startswith(_SQLITE):
        yield from _of_sqlite(path, name)
    elif begins.startswith(_PARQUET_BEGINS):
        yield from _of_parquet(path)
    elif begins.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b""}:
        yield from rows_of(path)
    else:
        raise ValueError(
            f"{shown} holds no results: give a database of SQLite, Parquet, a file of JSON lines, postgresql://...,"
            " or env:NAME for a variable that holds one"
        )


def rows_of(path: Path) -> Iterator[ResponseRow]:
    """Give the responses of a file of JSON lines; a line that is no JSON as the `ValueError` that says so.

    Raises:
        ValueError: There is no such file, or it cannot be read.
    """
    for _, line in read_lines(path):
        yield line


def _beginning(path: Path, shown: str | Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except (OSError, ValueError) as error:
        raise ValueError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _wanted(place: str, names: list[str]) -> list[str]:
    """Of the columns that there are, those that are read.

    Raises:
        ValueError: One that is needed is missing.
    """
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise ValueError(f"{place} has no column {missing[0]}, so it holds no results")
    return [name for name in _COLUMNS if name in names]


def _selected(names: list[str], table: TableName) -> str:
    order = " ORDER BY id" if "id" in names else ""
    return f"SELECT {', '.join(names)} FROM {table.sql}{order}"


def _of_sqlite(path: Path, table: TableName) -> Iterator[dict[str, Any]]:
    place = f"the table {table} of {path}"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            found = [str(name) for _, name, *_ in database.execute(f"PRAGMA table_info({table.sql})")]
            if not found:
                raise ValueError(f"{path} has no table {table}; say which by table=")
            names = _wanted(place, found)
            for row in database.execute(_selected(names, table)):
                yield dict(zip(names, row, strict=True))
    except sqlite3.Error as error:
        raise ValueError(f"{place} cannot be read: {error}") from None


def _of_parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow as pa  # noqa: PLC0415  an extra, half a second and 60 MB
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415  as above
    except ImportError:
        raise ValueError(f"{path} is Parquet, which needs pyarrow: pip install 'stagebook[batch]'") from None
    try:
        with ParquetFile(path) as table:
            names = _wanted(str(path), table.schema_arrow.names)
            for batch in table.iter_batches(_AT_ONCE, columns=names, use_threads=False):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _of_postgres(address: str, table: TableName) -> Iterator[dict[str, Any]]:
    try:
        import psycopg  # noqa: PLC0415  an extra, 0.1 s to import
    except ImportError:
        raise ValueError("reading from PostgreSQL needs psycopg: pip install 'stagebook[postgres]'") from None
    from stagebook_pipelines.prompt_batch.storing.postgres import told  # noqa: PLC0415  as above

    try:
        # no prepared statements: a transaction pooler may stand between
        with psycopg.connect(address, connect_timeout=10, prepare_threshold=None) as connection:
            connection.read_only = True
            columns = connection.execute(f"SELECT * FROM {table.sql} LIMIT 0".encode()).description or []
            names = _wanted(f"the table {table}", [column.name for column in columns])
            with connection.cursor("results") as cursor:
                cursor.itersize = _AT_ONCE
                for row in cursor.execute(_selected(names, table).encode()):
                    yield dict(zip(names, row, strict=True))
    except psycopg.Error as error:
        raise ValueError(f"the table {table} cannot be read: {told(error)}") from None
