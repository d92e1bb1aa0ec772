"""What the shared SQL asks of a connection: sqlite3's own has it as it is, PostgreSQL's is dressed so."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

Row: TypeAlias = tuple[Any, ...]  # Any: one type per column
Values: TypeAlias = Sequence[Any]  # Any: what a driver binds, one type per placeholder
P = ParamSpec("P")
T = TypeVar("T")


class Cursor(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""
        ...

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """A row for each column, its name first; None where nothing comes back."""
        ...

    def fetchone(self) -> Any:
        """Give the next row; None at the end."""
        ...

    def fetchall(self) -> list[Any]:
        """Give the rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection. Placeholders are written as SQLite writes them: `?`, or `?1` and so on."""

    @property
    def Error(self) -> type[Exception]:  # noqa: N802  PEP 249 calls it so
        """Whatever the database says against a statement."""
        ...

    @property
    def IntegrityError(self) -> type[Exception]:  # noqa: N802  likewise
        """A row that a constraint refuses."""
        ...

    def execute(self, sql: str, parameters: Values = (), /) -> Cursor:
        """Execute a statement."""
        ...

    def executemany(self, sql: str, rows: Iterable[Values], /) -> Cursor:
        """Execute a statement once for each row."""
        ...


def stream(connection: Connection, sql: str, values: Values = ()) -> Iterator[Row]:
    """Execute a statement within a transaction and go through its rows, however many: not all are held at once.

    sqlite3 does so anyway; a connection to a server has a way of its own for it.
    """
    rows: Callable[[str, Values], Iterable[Row]] = getattr(connection, "stream", connection.execute)
    return iter(rows(sql, values))


Work: TypeAlias = Callable[Concatenate[Connection, P], T]
"""What is done with a connection."""
