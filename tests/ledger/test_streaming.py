"""Long reads hold some rows at a time, on every kind of ledger."""

from typing import Any

import psycopg
import pytest

from stagebook.ledger.sql.connection import Connection, stream
from stagebook.ledger.store import Ledger

NUMBERS = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) SELECT n FROM n"
OPEN = "SELECT count(*) FROM pg_cursors"


async def test_two_streams_and_other_questions_go_side_by_side(ledger: Ledger) -> None:
    def read(connection: Connection) -> list[Any]:
        pairs = zip(stream(connection, NUMBERS, (1700,)), stream(connection, NUMBERS, (1700,)), strict=True)
        return [(a, b, connection.execute("SELECT 7").fetchone()[0]) for (a,), (b,) in pairs]

    rows = await ledger._database.survey(read)
    assert rows == [(n, n, 7) for n in range(1, 1701)]


async def test_a_stream_leaves_the_rows_with_the_server_and_nothing_behind(postgres: str) -> None:
    def read(connection: Connection) -> list[int]:
        rows = stream(connection, NUMBERS, (1700,))
        next(rows)
        during = connection.execute(OPEN).fetchone()[0]
        list(rows)
        return [during, connection.execute(OPEN).fetchone()[0]]

    async with await Ledger.open(postgres) as ledger:
        assert await ledger._database.survey(read) == [1, 0]


async def test_after_a_stream_that_fails_the_next_question_is_answered(postgres: str) -> None:
    def read(connection: Connection) -> Any:
        connection.execute("SAVEPOINT part")
        with pytest.raises(psycopg.errors.DivisionByZero):
            list(stream(connection, "SELECT 1 / (3 - n) FROM generate_series(1, 3) AS n"))
        connection.execute("ROLLBACK TO part")
        return connection.execute(OPEN).fetchone()[0]

    async with await Ledger.open(postgres) as ledger:
        assert await ledger._database.survey(read) == 0
