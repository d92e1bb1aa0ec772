"""Who drives a run, on many machines: leases, silence, taking over, and the fence behind them."""

# ruff: noqa: S608  names that the tests make
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from stagebook.ledger.facts import Noted
from stagebook.ledger.postgres import leases
from stagebook.ledger.store import Ledger
from stagebook.model.errors import RunIsDriven, StaleWriter
from stagebook.testing.postgres_process import PostgresProcess

Begin = Callable[..., Awaitable[Any]]
Change = Callable[[str], None]


@pytest.fixture
def change(postgres_server: PostgresProcess, postgres: str) -> Change:
    """Change every lease, as time or another machine would."""
    schema = postgres.rpartition("=")[2]

    def changed(what: str) -> None:
        with psycopg.connect(postgres_server.address, autocommit=True) as owner:
            assert owner.execute(f"UPDATE {schema}.leases SET {what}".encode()).rowcount

    return changed


async def renewed(ledger: Ledger) -> str:
    return str((await ledger.query("SELECT renewed_at FROM leases")).rows[0][0])


async def test_a_lease_is_renewed_while_it_is_held(
    postgres: str, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWED_SECONDS", 0.02)
    async with await Ledger.open(postgres) as ledger:
        drive = await begin(ledger)
        first = await renewed(ledger)
        while await renewed(ledger) == first:
            await asyncio.sleep(0.01)
        await drive.claim.release()
        assert (await ledger.query("SELECT count(*) FROM leases")).rows == [(0,)]


async def test_a_lease_that_a_crash_of_the_server_lost_is_taken_again(
    postgres: str, begin: Begin, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresProcess
) -> None:
    monkeypatch.setattr(leases, "RENEWED_SECONDS", 0.02)
    async with await Ledger.open(postgres) as ledger:
        drive = await begin(ledger)
        with psycopg.connect(postgres_server.address, autocommit=True) as owner:
            owner.execute(f"DELETE FROM {postgres.rpartition('=')[2]}.leases".encode())
        while not ledger.is_driven(drive.run.run_id):
            await asyncio.sleep(0.01)


async def test_a_renewal_under_way_does_not_bring_back_a_lease_that_was_let_go(postgres: str, begin: Begin) -> None:
    async with await Ledger.open(postgres) as ledger:
        drive = await begin(ledger)
        held: Any = ledger._locks
        [lease] = held._held.values()
        await drive.claim.release()
        held._renew_one(lease)
        assert not ledger.is_driven(drive.run.run_id)
        assert (await ledger.query("SELECT count(*) FROM leases")).rows == [(0,)]


async def test_a_renewal_that_waits_keeps_no_reader_waiting(
    postgres: str, begin: Begin, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresProcess
) -> None:
    monkeypatch.setattr(leases, "RENEWED_SECONDS", 0.02)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%leases SET%'"
    async with await Ledger.open(postgres) as ledger:
        drive = await begin(ledger)
        with psycopg.connect(postgres_server.address) as owner:
            owner.execute("SET LOCAL idle_in_transaction_session_timeout = '20s'")  # a fault fails, and does not hang
            owner.execute(f"LOCK TABLE {postgres.rpartition('=')[2]}.leases IN EXCLUSIVE MODE".encode())
            while (await ledger.query(waits)).rows == [(0,)]:
                await asyncio.sleep(0.01)
            assert await ledger.steps(drive.run.id) == []
            owner.execute("ROLLBACK")


async def test_a_driver_elsewhere_is_told_and_left_alone_while_it_is_heard_of(
    postgres: str, begin: Begin, change: Change
) -> None:
    async with await Ledger.open(postgres) as ledger, await Ledger.open(postgres) as other:
        run_id = (await begin(ledger)).run.run_id
        change("machine = 'm2', host = 'm2'")
        assert other.is_driven(run_id)
        for take_over in (False, True):
            with pytest.raises(
                RunIsDriven, match=r"on m2, which was heard of \d+ s ago: wait for it, or stop it there"
            ):
                await other.claim(run_id, take_over=take_over)


async def test_a_silent_driver_elsewhere_is_interrupted_and_taken_over_only_when_told(
    postgres: str, begin: Begin, change: Change
) -> None:
    async with await Ledger.open(postgres) as ledger, await Ledger.open(postgres) as other:
        drive = await begin(ledger)
        run_id = drive.run.run_id
        change("machine = 'm2', host = 'm2', renewed_at = now() - interval '61 s'")
        assert not other.is_driven(run_id)
        with pytest.raises(RunIsDriven, match=rf"has not been heard of for 61 s.*resume {run_id} --take-over"):
            await other.claim(run_id)
        assert (await other.claim(run_id, take_over=True)).fence == 2
        for fact in (drive.started("label"), drive.started("pages")):
            with pytest.raises(StaleWriter, match="a later driver has taken it over"):
                await ledger.write(fact)
        assert other.is_driven(run_id)
        await drive.claim.release()
        assert other.is_driven(run_id), "what the first one lets go is not the second one's lease"


async def test_a_process_that_is_gone_frees_its_run_though_another_has_its_number(
    postgres: str, begin: Begin, change: Change
) -> None:
    async with await Ledger.open(postgres) as ledger, await Ledger.open(postgres) as other:
        run_id = (await begin(ledger)).run.run_id
        change("began = '1'")
        assert not other.is_driven(run_id)
        assert (await other.claim(run_id)).fence == 2


async def test_nothing_of_an_earlier_driver_is_committed_after_a_later_one_began(
    postgres: str, begin: Begin, change: Change
) -> None:
    async with await Ledger.open(postgres) as ledger, await Ledger.open(postgres) as other:
        drive = await begin(ledger)
        writing = [asyncio.create_task(drive.step("label", str(n), data=n)) for n in range(300)]
        await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
        change("began = '1'")
        claim = await other.claim(drive.run.run_id)
        results = await asyncio.gather(*writing, return_exceptions=True)
        with pytest.raises(StaleWriter):
            await drive.step("label", "late", data=1)
        done = {result for result in results if isinstance(result, int)}
        assert {type(result) for result in results if not isinstance(result, int)} <= {StaleWriter}
        outputs = await other.outputs(drive.run.id)
        assert {ref.id for ref in outputs} == done, "what was acknowledged is there, and nothing else"
        kinds = [event.kind for event in await other.events(run=drive.run.id, limit=1000)]
        assert "completed" not in kinds[len(kinds) - 1 - kinds[::-1].index("drive_started") :]
        assert claim.fence == 2


@pytest.mark.parametrize("count", [2, 4])
async def test_a_reader_of_events_misses_none_while_several_write(postgres: str, begin: Begin, count: int) -> None:
    ledgers = [await Ledger.open(postgres) for _ in range(count)]
    drives = [await begin(ledger) for ledger in ledgers]
    seen: list[int] = []
    ended = asyncio.Event()

    async def read() -> None:
        while True:
            last = ended.is_set()
            seen.extend(event.seq for event in await ledgers[0].events(seen[-1] if seen else 0))
            if last:
                return
            await asyncio.sleep(0)

    async def write(ledger: Ledger, drive: Any) -> None:
        for n in range(60):
            await ledger.write(Noted(drive.run.id, "told", b"{}", n))

    reading = asyncio.create_task(read())
    await asyncio.gather(*(write(ledger, drive) for ledger, drive in zip(ledgers, drives, strict=True)))
    ended.set()
    await reading
    assert seen == [event.seq for event in await ledgers[0].events(limit=10_000)]
    for ledger in ledgers:
        await ledger.close()
