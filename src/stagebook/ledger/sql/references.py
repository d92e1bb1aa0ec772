"""Which rows name which others, and those that name what is not there."""

# ruff: noqa: S608  the statements are made of constants
from dataclasses import dataclass
from typing import Final

from stagebook.ledger.sql.connection import Connection


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that names rows of another table."""

    table: str
    column: str
    target: str
    target_column: str = "id"
    owner: bool = False
    """Whether the row belongs to what it names, so that it means nothing alone."""

    @property
    def dangling(self) -> str:
        """The condition on `t` that what it names is not there."""
        named = f"SELECT 1 FROM {self.target} o WHERE o.{self.target_column} = t.{self.column}"
        return f"t.{self.column} IS NOT NULL AND NOT EXISTS ({named})"


REFERENCES: Final = (
    Reference("steps", "run", "runs", owner=True),
    Reference("outputs", "run", "runs", owner=True),
    Reference("exchanges", "run", "runs", owner=True),
    Reference("drives", "run", "runs", owner=True),
    Reference("claims", "run", "runs", owner=True),
    Reference("scores", "run", "runs", owner=True),
    Reference("marks", "run", "runs", owner=True),
    Reference("events", "run", "runs", owner=True),
    Reference("experiment_runs", "run", "runs", owner=True),
    Reference("experiment_runs", "base", "runs", owner=True),
    Reference("experiment_runs", "experiment", "experiments", owner=True),
    Reference("attempts", "step", "steps", owner=True),
    Reference("segments", "exchange", "exchanges", owner=True),
    Reference("stages", "definition", "definitions", owner=True),
    Reference("runs", "definition", "definitions"),
    Reference("runs", "input", "payloads", "hash"),
    Reference("outputs", "step", "steps"),
    Reference("outputs", "first", "outputs"),
    Reference("outputs", "replaces", "outputs"),
    Reference("exchanges", "step", "steps"),
    Reference("exchanges", "skeleton", "payloads", "hash"),
    Reference("exchanges", "response", "payloads", "hash"),
    Reference("segments", "payload", "payloads", "hash"),
)
"""Owners before what belongs to them. Runs and steps of other runs (`parent`, `reused_from`) may have been deleted."""


def count_dangling(connection: Connection, reference: Reference) -> tuple[int, object]:
    """Count the rows that name what is not there, and give the number of the first."""
    found = f"FROM {reference.table} t WHERE {reference.dangling}"
    count = int(connection.execute(f"SELECT count(*) {found}").fetchone()[0])
    if not count:
        return 0, None
    first = f"SELECT t.{reference.column} {found} ORDER BY t.{reference.column} LIMIT 1"  # min(bytea) is new
    return count, connection.execute(first).fetchone()[0]


def delete_orphans(connection: Connection) -> int:
    """Delete the rows that belong to nothing; gives how many."""
    return sum(
        connection.execute(f"DELETE FROM {one.table} AS t WHERE {one.dangling}").rowcount
        for one in REFERENCES
        if one.owner
    )
