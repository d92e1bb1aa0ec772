"""One transaction that writes, around a function."""

import sqlite3
from contextlib import suppress
from typing import ParamSpec, TypeVar

from stagebook.ledger.sql.connection import Connection, Work

P = ParamSpec("P")
T = TypeVar("T")


def writing(function: Work[P, T]) -> Work[P, T]:
    """Let a function work within one transaction: committed when it returns, taken back when it raises."""

    def work(connection: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = function(connection, *args, **kwargs)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk takes the transaction back by itself
                connection.execute("ROLLBACK")
            raise
        return result

    return work
