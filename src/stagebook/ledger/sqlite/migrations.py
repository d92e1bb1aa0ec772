"""Versions of the tables, each a step from the one before it. Views hold nothing, so they are simply made anew."""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from stagebook.ledger.sql import v001
from stagebook.ledger.sql.script import statements
from stagebook.ledger.sqlite.views import replace_views

Migration = Callable[[sqlite3.Connection], None]


def _first(connection: sqlite3.Connection) -> None:
    for statement in statements(v001.TABLES):
        connection.execute(statement)


MIGRATIONS: Final[Mapping[int, Migration]] = {1: _first}
"""By the version that each makes. One that has been released is never changed; a new one is added."""
VERSION: Final = max(MIGRATIONS)
"""The version that this Stagebook writes."""


def migrate(connection: sqlite3.Connection, application_id: int) -> None:
    """Bring a database to the newest version, in one transaction.

    Args:
        connection: Without a transaction.
        application_id: Written with it.

    Raises:
        sqlite3.Error: Nothing was changed.
    """
    newest = max(MIGRATIONS)
    if _version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(_version(connection) + 1, newest + 1):  # read again: another process may have been faster
            MIGRATIONS[version](connection)
        replace_views(connection)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself where the disk is full
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
