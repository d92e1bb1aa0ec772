"""What SQLite's errors mean for whoever wrote or read."""

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from stagebook.model.errors import LedgerError, StagebookError, WriteRefused

_ROW_REFUSED: Final = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_ERROR,
    }
)
"""Primary result codes that speak of one row; every other one speaks of the whole database."""

_SENTENCES: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space and resume; what was acknowledged is kept",
    sqlite3.SQLITE_READONLY: "it is read-only: check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that the folder exists and may be written",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: end that process or wait for it",
    sqlite3.SQLITE_LOCKED: "another connection keeps it locked: wait for it",
    sqlite3.SQLITE_CORRUPT: "it is damaged or truncated: restore it from a backup, or name another with --ledger",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database: name another with --ledger",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it: check the disk",
    sqlite3.SQLITE_PERM: "access is denied: check the permissions of the file and its folder",
    sqlite3.SQLITE_AUTH: "the statement is not allowed here: only reading is",
}


_NO_ROOM: Final = 64 * 1024
"""Bytes free on a disk below which a failure to write is put down to that: SQLite's shared memory takes 32 KB."""


def primary_code(error: sqlite3.Error) -> int:
    """The primary result code of an error (the low byte); 0 where Python raised it without one."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def speaks_of_one_row(error: Exception) -> bool:
    """Whether an error concerns a row that was bound or executed, not the database as a whole."""
    if isinstance(error, sqlite3.Error):
        code = primary_code(error)
        return code in _ROW_REFUSED or (code == 0 and not isinstance(error, sqlite3.OperationalError))
    return isinstance(error, WriteRefused | TypeError | ValueError | OverflowError)


def explain(error: Exception, where: str) -> StagebookError:
    """Turn a failure of the whole database into one clear sentence.

    Args:
        error: What sqlite3 or the file system raised.
        where: The ledger's place.
    """
    if isinstance(error, StagebookError):
        return error
    if isinstance(error, sqlite3.Error):
        code = primary_code(error)
        sentence = _SENTENCES.get(sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR and _is_full(where) else code)
        if sentence is not None:
            return LedgerError(f"the ledger {where}: {sentence} ({error})")
        return LedgerError(f"the ledger {where} failed: {error}")
    if isinstance(error, OSError):
        return LedgerError(f"the ledger {where}: {error.strerror or error} ({error.filename or 'its files'})")
    return LedgerError(f"the ledger {where} failed: {error!r}")


def refuse(error: Exception) -> WriteRefused:
    """Turn the refusal of one row into what its writer is told."""
    if isinstance(error, WriteRefused):
        return error
    return WriteRefused(f"the ledger refused a row: {error}; nothing of its unit was written")


def _is_full(where: str) -> bool:
    """Whether the disk that a ledger is on has no room left; SQLite reports that as a failure of the disk, too."""
    with suppress(OSError):
        return shutil.disk_usage(Path(where).parent).free < _NO_ROOM
    return False
