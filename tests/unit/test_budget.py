"""The account of a budget: reservations, settling, and what is left when nobody fits."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.door.budget import Budget, Reached, Spent, open_jobs
from stagebook.model.exchange import Request


def call(cost: int) -> Request:
    return Request("POST", "https://models.test/v1", (b"x" * cost,), kind="model", provider="openai", model="m")


def budget(limit: int, before: Spent | None = None) -> Budget:
    return Budget(limit, lambda request: len(request.body), before)


async def test_a_call_for_which_there_is_no_room_waits_for_what_others_leave() -> None:
    account = budget(100)
    first = await account.reserve(call(60), 1)
    second = asyncio.create_task(account.reserve(call(60), 2))
    await asyncio.sleep(0)
    assert (second.done(), account.waiting, account.reached) == (False, 1, None)
    first.settle(30)
    await second
    assert (account.waiting, account.reached) == (0, None)


async def test_the_budget_is_reached_when_nothing_is_in_flight_and_nobody_fits() -> None:
    account, told = budget(100), []
    account.watch(lambda: told.append(account.waiting))
    first = await account.reserve(call(60), 1)
    waiting = asyncio.create_task(account.reserve(call(60), 2))
    await asyncio.sleep(0)
    first.settle(55)
    assert account.reached == Reached(100, 55, 60, "openai:m")
    assert told == [1]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert account.waiting == 0


async def test_a_smaller_call_passes_one_that_waits() -> None:
    account = budget(100)
    first = await account.reserve(call(60), 1)
    large = asyncio.create_task(account.reserve(call(60), 2))
    await asyncio.sleep(0)
    small = await account.reserve(call(40), 3)
    first.settle(60)
    small.settle(0)
    assert account.reached is not None
    large.cancel()


async def test_a_call_that_is_cancelled_as_it_gets_room_gives_it_back() -> None:
    account = budget(100)
    first = await account.reserve(call(100), 1)
    second = asyncio.create_task(account.reserve(call(100), 2))
    await asyncio.sleep(0)
    first.settle(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    (await account.reserve(call(100), 3)).settle(100)


async def test_what_nobody_can_say_counts_at_its_worst_and_only_once() -> None:
    account = budget(100)
    hold = await account.reserve(call(60), 1)
    hold.settle(None)
    hold.settle(0)
    late = asyncio.create_task(account.reserve(call(41), 2))
    await asyncio.sleep(0)
    assert account.reached == Reached(100, 60, 41, "openai:m")
    late.cancel()


async def test_a_job_counts_at_its_worst_until_a_poll_brings_its_cost() -> None:
    account = budget(100)
    (await account.reserve(call(60), 1)).becomes_job()
    second = asyncio.create_task(account.reserve(call(60), 2))
    await asyncio.sleep(0)
    assert not second.done()
    account.settle_job(1, 10)
    await second


async def test_a_job_of_an_earlier_drive_is_settled_likewise() -> None:
    account = budget(100, Spent(known=5, guessed=5, jobs=((1, 60),)))
    account.settle_job(1, 10)
    (await account.reserve(call(80), 2)).settle(80)
    assert account.reached is None


def test_jobs_whose_answer_came_are_not_open() -> None:
    assert open_jobs([(1, 60), (1, 70), (2, 5), (None, 9)], [1, 2, 3]) == ((1, 70), (None, 9))


def test_two_calls_of_one_step_wait_as_one() -> None:
    async def look() -> None:
        account = budget(0)
        tasks = [asyncio.create_task(account.reserve(call(5), step)) for step in (1, 1, 2, None, None)]
        await asyncio.sleep(0)
        assert account.waiting == 4
        for task in tasks:
            task.cancel()

    asyncio.run(look())


def test_what_is_told_is_short_and_what_is_proposed_is_enough() -> None:
    reached = Reached(2_500_000_000_000, 2_471_234_567_890, 131_072_000_001, "openai:gpt-4.1")
    assert str(reached) == ("its budget is $2.5, $2.47 is spent, and the next call, to openai:gpt-4.1, may cost $0.132")
    assert reached.proposed == "5"
    assert Reached(0, 0, 131_072_000_001, "m").proposed == "0.27"


@given(
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.booleans()), max_size=30),
)
def test_spent_and_reserved_never_pass_the_limit(limit: int, calls: list[tuple[int, int, bool]]) -> None:
    paid = in_flight = most = 0

    async def one(account: Budget, step: int, worst: int, cost: int, answered: bool) -> None:  # noqa: FBT001  a drawn value
        nonlocal paid, in_flight, most
        hold = await account.reserve(call(worst), step)
        in_flight += worst
        most = max(most, paid + in_flight)
        await asyncio.sleep(0)
        in_flight -= worst
        paid += min(cost, worst) if answered else worst
        hold.settle(min(cost, worst) if answered else None)

    async def all_of_them() -> None:
        account = budget(limit)
        tasks = [asyncio.create_task(one(account, step, *drawn)) for step, drawn in enumerate(calls)]
        account.watch(lambda: [task.cancel() for task in tasks] if account.waiting else None)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (account.reached is None) == all(not task.cancelled() for task in tasks)

    asyncio.run(all_of_them())
    assert most <= limit
