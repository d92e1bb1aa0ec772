"""A batch's rows on their way to PostgreSQL: one statement for many rows, all of them in one journey."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from stagebook.ledger.postgres.bulk import bound, rounds, written
from stagebook.ledger.postgres.connection import PostgresConnection
from stagebook.ledger.postgres.locking import EVENTS, key
from stagebook.ledger.sql import statements as s
from stagebook.ledger.sql.batch import Batch
from stagebook.ledger.sql.connection import Row
from stagebook.model.errors import WriteRefused

if TYPE_CHECKING:
    import psycopg

_MOST: Final = 5000
"""Rows that one statement carries."""


class PostgresBatch(Batch):
    """The rows of one transaction.

    Nothing is waited for: what statements came to is looked at by `settle`, before the commit. Events are kept until
    then, as their lock is held from the first of them to the commit.

    Args:
        connection: In a transaction and a pipeline.
        fences: Of every run that the facts name.
    """

    def __init__(self, connection: PostgresConnection, fences: Mapping[int, int]) -> None:
        super().__init__(connection, fences)
        self._postgres = connection
        self._told: list[Row] = []
        self._answers: list[tuple[s.Statement, int, psycopg.Cursor[Row]]] = []

    def row(self, statement: s.Statement, *values: object) -> None:
        """Take one row."""
        if statement is s.EVENT:
            self._told.append(values)
        else:
            super().row(statement, *values)

    def write_events(self) -> None:
        """Send the events; the last of a transaction."""
        events, self._told = self._told, []
        for start in range(0, len(events), _MOST):
            part = events[start : start + _MOST]
            sql = written(s.EVENT, self._postgres.schema, single=len(part) == 1)
            lock = key(self._postgres.schema, EVENTS)
            self._postgres.raw.execute(sql, (*bound(s.EVENT, part), lock))

    def settle(self) -> None:
        """Look at what the statements came to, once they were executed.

        Raises:
            WriteRefused: A row that should have changed something changed nothing.
        """
        for statement, count, cursor in self._answers:
            if statement.missing is not None and cursor.rowcount != count:
                raise WriteRefused(f"the ledger refused a row: {statement.missing}")
        self._answers.clear()

    def _run_all(self, statement: s.Statement, rows: list[Row]) -> None:
        if statement is s.PROMPT:
            rows.sort(key=_hash)  # two that write the same ones then wait for each other in one order
        self.send(statement, rows)

    def send(self, statement: s.Statement, rows: Sequence[Row]) -> None:
        """Send rows of a statement."""
        for one in rounds(statement, rows):
            for start in range(0, len(one), _MOST):
                part = one[start : start + _MOST]
                sql = written(statement, self._postgres.schema, single=len(part) == 1)
                cursor = self._postgres.raw.execute(sql, bound(statement, part))
                self._answers.append((statement, len(part), cursor))


def _hash(row: Row) -> Any:
    return row[0]
