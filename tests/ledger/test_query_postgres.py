"""Questions to PostgreSQL: what they would leave behind, and what is too large for Python."""

from typing import Any

import pytest

from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError

HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"


@pytest.fixture(params=["postgres", "pooled"])
def server_place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


async def test_a_question_leaves_no_lock_behind(server_place: str) -> None:
    async with await Ledger.open(server_place) as ledger:
        assert (await ledger.query("SELECT 1 FROM pg_advisory_lock(4711)")).rows == [(1,)]
        assert (await ledger.query(HELD)).rows == [(0,)]
        with pytest.raises(InputError, match="division by zero"):
            await ledger.query("SELECT 1 / n FROM (SELECT 0 AS n, pg_advisory_lock(4711)) AS s")
        with pytest.raises(InputError, match="was stopped after"):
            await ledger.query("SELECT pg_sleep(20) FROM pg_advisory_lock(4711)", timeout=0.05)
        assert (await ledger.query(HELD)).rows == [(0,)]


async def test_a_number_that_is_too_large_for_python_is_text(postgres: str) -> None:
    async with await Ledger.open(postgres) as ledger:
        numbers = "10::numeric ^ 20, 10::numeric ^ 5000, -(10::numeric ^ 5000), 10::numeric ^ 400 + 0.5, 0.25"
        [(whole, large, negative, broken, small)] = (await ledger.query(f"SELECT {numbers}")).rows
        assert float(whole) == 1e20
        assert (str(large)[:3], str(negative)[:4]) == ("100", "-100")
        assert isinstance(large, str)
        assert isinstance(negative, str)
        assert str(broken).startswith("1000")
        assert small == 0.25
        assert (await ledger.query("SELECT 'Infinity'::numeric, '-Infinity'::numeric")).rows == [
            (float("inf"), -float("inf"))
        ]
