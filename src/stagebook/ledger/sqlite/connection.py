"""Opening a ledger's database: what is found is looked at before anything is changed."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from stagebook.ledger.sqlite.errors import explain
from stagebook.ledger.sqlite.migrations import VERSION, migrate
from stagebook.model.errors import LedgerError, LedgerTooNew

APPLICATION_ID: Final = 0x53544742
"""`STGB`: tells a ledger from other SQLite files."""
MAGIC: Final = b"SQLite format 3\0"
HEADER_SIZE: Final = 100
"""Bytes, of the database header: https://www.sqlite.org/fileformat.html#the_database_header says where what stands."""
_LARGEST_PAGE: Final = 65536
"""Does not fit its two bytes, so the header says 1."""
OLDEST_SQLITE: Final = (3, 37, 0)
"""STRICT tables."""
PAGE_SIZE: Final = 4096
"""Bytes. A commit writes every page that it touched, and a small unit touches six: larger pages make it slower."""
CHECKPOINT_PAGES: Final = 4000
"""Pages in the log (16 MB) at which it is copied into the database. The same few pages are written again and again, so
that fewer and larger copies write less; and a log that has its size already is written in place, which syncs a third
faster than one that grows."""


def open_writer(uri: str, where: str, busy_seconds: float) -> sqlite3.Connection:
    """Open for writing, making or migrating the schema.

    Args:
        uri: SQLite's `file:` address.
        where: The ledger's place, for errors.
        busy_seconds: How long to wait for another process.

    Raises:
        LedgerError: It cannot be opened, or is no ledger.
        LedgerTooNew: A newer Stagebook wrote it.
    """
    try:
        connection = _connect(uri, busy_seconds)
        try:
            _check_kind(connection, where)
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            migrate(connection, APPLICATION_ID)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, where) from error
    return connection


def open_reader(uri: str, where: str, busy_seconds: float) -> sqlite3.Connection:
    """Open for reading.

    Raises:
        LedgerError: It cannot be opened, or is no ledger.
        LedgerTooNew: A newer Stagebook wrote it.
    """
    try:
        connection = _connect(uri, busy_seconds)
        try:
            _check_kind(connection, where)
            _check_version(connection, where)
            connection.execute("PRAGMA query_only = 1")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, where) from error
    return connection


def check_file(path: Path) -> None:
    """Look at a file before SQLite does: it must be empty, or a whole SQLite database.

    Raises:
        LedgerError: It is something else, or has lost its end.
        LedgerTooNew: A newer Stagebook wrote it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_SIZE)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error.strerror}; check its permissions") from error
    if not header:
        return
    if not header.startswith(MAGIC):
        raise LedgerError(
            f"{path} is not an SQLite database, so it is not a ledger; name another with --ledger (nothing was changed)"
        )
    if int.from_bytes(header[68:72], "big") == APPLICATION_ID:
        _refuse_newer(int.from_bytes(header[60:64], "big"), str(path))
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size:
        return  # what is missing here may still stand there: SQLite will tell
    page_size = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    said = pages * (_LARGEST_PAGE if page_size == 1 else page_size)
    if len(header) < HEADER_SIZE or said > size:
        raise LedgerError(
            f"the ledger {path} is truncated: {size} bytes are left of {max(said, HEADER_SIZE)}; "
            "restore it from a backup, or name another with --ledger (nothing was changed)"
        )


def _connect(uri: str, busy_seconds: float) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise LedgerError(
            f"this Python has SQLite {sqlite3.sqlite_version}; Stagebook needs 3.37 or newer: use a Python that has it"
        )
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_seconds, cached_statements=256
    )


def _check_kind(connection: sqlite3.Connection, where: str) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise LedgerError(
            f"{where} is an SQLite database of another program, not a ledger; "
            "name another with --ledger (nothing was changed)"
        )
    _refuse_newer(_pragma(connection, "user_version"), where)


def _refuse_newer(version: int, where: str) -> None:
    if version > VERSION:
        raise LedgerTooNew(
            f"the ledger {where} was written by a newer Stagebook (its schema is of version {version}, "
            f"this one knows {VERSION}): update stagebook, or name another ledger with --ledger"
        )


def _check_version(connection: sqlite3.Connection, where: str) -> None:
    version = _pragma(connection, "user_version")
    if version < VERSION:
        raise LedgerError(
            f"the ledger {where} is of version {version}, and this Stagebook reads {VERSION}: open it once for "
            "writing (any command that runs something) to bring it up to date"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
