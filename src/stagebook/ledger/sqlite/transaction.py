"""One transaction that writes, around a function."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Working = Callable[Concatenate[sqlite3.Connection, P], T]


def writing(function: Working[P, T]) -> Working[P, T]:
    """Let a function work within one transaction: committed when it returns, taken back when it raises."""

    def work(connection: sqlite3.Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
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
