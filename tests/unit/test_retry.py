import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.door.retry import RetryPolicy, asked_wait


@given(failures=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_a_drawn_wait_is_between_nothing_and_the_doubling_cap(failures: int, seed: int) -> None:
    policy = RetryPolicy(tries=30, base=2.0, cap=60.0)
    wait = policy.delay(failures, None, random.Random(seed))
    assert wait is not None
    assert 0.0 <= wait <= min(60.0, 2.0 * 2 ** (failures - 1))


def test_waits_are_spread_over_the_whole_range() -> None:
    policy = RetryPolicy(tries=9, base=2.0)
    rng = random.Random(7)
    waits = [policy.delay(4, None, rng) or 0.0 for _ in range(400)]
    assert min(waits) < 1.0
    assert max(waits) > 15.0


@given(asked=st.floats(0.0, 300.0), seed=st.integers(0, 2**32))
def test_a_provider_that_asks_for_a_wait_gets_at_least_that(asked: float, seed: int) -> None:
    wait = RetryPolicy().delay(1, asked, random.Random(seed))
    assert wait is not None
    assert asked <= wait <= asked * 1.1 + 0.0501


def test_tries_have_a_hard_limit() -> None:
    policy = RetryPolicy(tries=3)
    assert policy.delay(2, None, random.Random(1)) is not None
    assert policy.delay(3, None, random.Random(1)) is None


def test_a_wait_of_hours_is_not_waited() -> None:
    assert RetryPolicy().delay(1, 7200.0, random.Random(1)) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, 1_000_000.0) == seconds
