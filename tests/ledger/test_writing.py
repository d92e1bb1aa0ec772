"""Units of facts: whole or not at all, durable when `write` returns, and nobody pays for another's mistake."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from stagebook.ledger.facts import ExchangeParsed, StepSkipped, WishSet
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError, StaleWriter, WriteRefused
from stagebook.model.status import StepStatus, Wish


async def test_what_write_returned_for_is_read_by_another_connection(file_drive: Any, tmp_path: Path) -> None:
    await file_drive.step("pages", data={"n": 1})
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("SELECT stage, status FROM steps").fetchall() == [("pages", "completed")]
    assert other.execute("SELECT data FROM outputs").fetchall() == [('{"n":1}',)]
    other.close()


async def test_a_unit_with_a_refused_fact_leaves_nothing(drive: Any) -> None:
    ledger = drive.ledger
    with pytest.raises(WriteRefused, match="not in the ledger"):
        await ledger.write(drive.started("pages"), drive.made("pages", data=1), ExchangeParsed(4711, None, 1))
    assert await ledger.steps(drive.run.id) == []
    assert await ledger.outputs(drive.run.id) == []


async def test_a_refused_unit_fails_its_own_waiter_only(drive: Any) -> None:
    ledger = drive.ledger
    good = [(drive.started("label", str(n)), drive.ended("label", str(n))) for n in range(20)]
    bad = (ExchangeParsed(4711, None, 1),)
    units = [*good[:10], bad, *good[10:]]
    results = await asyncio.gather(*(ledger.write(*unit) for unit in units), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 10 + [WriteRefused] + [type(None)] * 10
    assert len(await ledger.steps(drive.run.id)) == 20


async def test_an_id_given_twice_is_refused_to_the_second(drive: Any) -> None:
    ledger = drive.ledger
    first = drive.started("label", "1")
    await ledger.write(first)
    drive.steps["label", "2"] = first.step
    with pytest.raises(WriteRefused, match=r"UNIQUE|unique"):
        await ledger.write(drive.started("label", "2"))
    assert [step.item for step in await ledger.steps(drive.run.id)] == ["1"]


async def test_a_step_known_under_another_id_is_refused(drive: Any) -> None:
    await drive.ledger.write(drive.started("label", "1"))
    del drive.steps["label", "1"]
    with pytest.raises(WriteRefused, match="under another id"):
        await drive.ledger.write(drive.started("label", "1"))


async def test_a_fact_of_an_unknown_run_is_refused(drive: Any) -> None:
    with pytest.raises(WriteRefused, match="run 99 is not in this ledger"):
        await drive.ledger.write(WishSet(99, Wish.PAUSE, 1))


async def test_a_driver_that_lost_its_claim_cannot_write(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger)
    await ledger.write(drive.started("pages"))
    await drive.claim.release()
    later = await ledger.claim(drive.run.run_id)
    assert later.fence == drive.claim.fence + 1
    with pytest.raises(StaleWriter, match="claimed anew"):
        await ledger.write(drive.made("pages", data=1), drive.ended("pages"))
    assert [step.status for step in await ledger.steps(drive.run.id)] == [StepStatus.RUNNING]
    assert await ledger.outputs(drive.run.id) == []


async def test_a_stale_unit_does_not_hold_up_the_units_beside_it(ledger: Ledger, begin: Any) -> None:
    old = await begin(ledger)
    await old.claim.release()
    new = await begin(ledger)
    await ledger.claim(old.run.run_id)
    results = await asyncio.gather(
        ledger.write(old.started("pages")), ledger.write(new.started("pages")), return_exceptions=True
    )
    assert isinstance(results[0], StaleWriter)
    assert results[1] is None


async def test_what_is_followed_is_durable_with_the_next_write(drive: Any) -> None:
    ledger = drive.ledger
    ledger.follow(drive.started("pages"))
    ledger.follow(StepSkipped(ledger.new_id(), drive.run.id, "label", "", drive.claim.fence, "short", drive.now()))
    await ledger.write()
    assert [(step.stage, step.status) for step in await ledger.steps(drive.run.id)] == [
        ("pages", "running"),
        ("label", "skipped"),
    ]


async def test_what_is_followed_becomes_durable_by_itself(drive: Any) -> None:
    drive.ledger.follow(drive.started("pages"))
    while not await drive.ledger.steps(drive.run.id):
        await asyncio.sleep(0.01)


async def test_a_followed_refusal_is_told_to_the_next_unit_of_its_run_and_to_it_alone(drive: Any) -> None:
    ledger = drive.ledger
    drive.steps["label", ""] = 4711
    ledger.follow(drive.ended("label"))
    await ledger.write()
    with pytest.raises(WriteRefused, match="the step is not in the ledger"):
        await ledger.write(drive.started("pages"))
    await ledger.write(drive.started("pages"))
    assert [step.stage for step in await ledger.steps(drive.run.id)] == ["pages"]


async def test_a_followed_refusal_that_nobody_met_is_told_by_close(place: str, begin: Any) -> None:
    ledger = await Ledger.open(place)
    drive = await begin(ledger)
    drive.steps["label", ""] = 4711
    ledger.follow(drive.ended("label"))
    with pytest.raises(WriteRefused, match="the step is not in the ledger"):
        await ledger.close()
    await ledger.close()


async def test_close_flushes_what_is_followed(tmp_path: Path, begin: Any) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    drive = await begin(ledger)
    for n in range(100):
        ledger.follow(drive.started("label", str(n)))
    await ledger.close()
    async with await Ledger.open(tmp_path / "ledger.db") as again:
        assert len(await again.steps(drive.run.id)) == 100


async def test_a_closed_ledger_says_so(place: str, begin: Any) -> None:
    ledger = await Ledger.open(place)
    drive = await begin(ledger)
    started = drive.started("pages")
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.write(started)
    with pytest.raises(LedgerError, match="closed"):
        ledger.follow(started)
    with pytest.raises(LedgerError, match="closed"):
        await ledger.run(drive.run.run_id)


async def test_a_cancelled_waiter_loses_nothing_and_holds_up_nobody(drive: Any) -> None:
    ledger = drive.ledger
    tasks = [asyncio.create_task(ledger.write(drive.started("label", str(n)))) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) <= 25
    await ledger.write(drive.started("pages"))
    assert len(await ledger.steps(drive.run.id)) == 51


def count_commits(ledger: Any) -> Callable[[], int]:
    """Count what is committed from now on."""
    session = ledger._database.session
    if hasattr(session, "_commits"):  # PostgreSQL's counts them itself
        before = session._commits
        return lambda: session._commits - before
    begun: list[str] = []
    session._connection.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith("BEGIN") else None)
    return lambda: len(begun)


async def test_many_waiters_share_few_commits(drive: Any) -> None:
    ledger = drive.ledger
    commits = count_commits(ledger)
    await asyncio.gather(*(ledger.write(drive.started("label", str(n))) for n in range(500)))
    assert 1 <= commits() <= 50


async def test_a_lone_writer_gets_a_commit_for_each_unit(drive: Any) -> None:
    ledger = drive.ledger
    commits = count_commits(ledger)
    for n in range(5):
        await ledger.write(drive.started("label", str(n)))
    assert commits() == 5


async def test_threads_may_write_through_their_own_loops(drive: Any) -> None:
    def elsewhere() -> None:
        asyncio.run(drive.ledger.write(drive.started("label", "t")))

    await asyncio.gather(asyncio.to_thread(elsewhere), drive.ledger.write(drive.started("label", "m")))
    assert {step.item for step in await drive.ledger.steps(drive.run.id)} == {"t", "m"}


async def test_what_cannot_be_text_is_refused_to_its_writer(drive: Any) -> None:
    with pytest.raises(WriteRefused, match="surrogates not allowed"):
        await drive.ledger.write(drive.started("label", "\ud800"))
    with pytest.raises(WriteRefused):
        await drive.ledger.write(WishSet(drive.run.id, Wish.RUN, 1 << 70))
    await drive.ledger.write(drive.started("label", "fine"))


@pytest.mark.parametrize("count", [1, 3])
async def test_events_stand_in_the_order_of_commits(
    ledger: Ledger, begin: Callable[..., Awaitable[Any]], count: int
) -> None:
    drives = [await begin(ledger) for _ in range(count)]
    for n in range(5):
        await asyncio.gather(*(drive.step("label", str(n), data=n) for drive in drives))
    events = await ledger.events()
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    for drive in drives:
        kinds = [event.kind for event in events if event.run == drive.run.id]
        assert kinds == ["run_created", "drive_started", *["completed"] * 5]
        steps = [event.step for event in events if event.run == drive.run.id and event.step is not None]
        assert steps == [drive.steps["label", str(n)] for n in range(5)]
    middle = events[len(events) // 2]
    assert await ledger.events(middle.seq) == events[len(events) // 2 + 1 :]
    assert await ledger.events(0, limit=2) == events[:2]


async def test_a_unit_that_is_larger_than_any_buffer_is_written(drive: Any) -> None:
    """A server that waits for the rest of a unit, and a client that waits for the server, would wait for ever."""
    await drive.ledger.write(drive.started("pages"))
    items = [
        drive.made("pages", str(number), {"text": "x" * 30_000}, step=drive.steps["pages", ""]) for number in range(300)
    ]
    async with asyncio.timeout(60):
        await drive.ledger.write(*items)
    assert len(await drive.ledger.outputs(drive.run.id)) == 300
