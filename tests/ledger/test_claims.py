"""Driving a run: one living process at a time, and free the moment that it dies."""

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from stagebook.ledger.facts import StepSkipped
from stagebook.ledger.store import Ledger
from stagebook.model.errors import RunIsDriven

HOLDER = """
import asyncio, sys
from stagebook.ledger.facts import StepSkipped
from stagebook.ledger.store import Ledger

async def main():
    ledger = await Ledger.open(sys.argv[1])
    claim = await ledger.claim(sys.argv[2])
    print(claim.fence, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def hold(place: str, run_id: str) -> subprocess.Popen[bytes]:
    """Start a process that claims a run and holds it."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, place, run_id], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline().strip().isdigit()
    return child


async def test_a_claim_counts_the_fence_up_and_a_release_frees_the_run(drive: Any) -> None:
    ledger, run_id = drive.ledger, drive.run.run_id
    assert drive.claim.fence == 1
    assert ledger.is_driven(run_id)
    await drive.claim.release()
    await drive.claim.release()
    assert not ledger.is_driven(run_id)
    again = await ledger.claim(run_id)
    assert (again.fence, again.run) == (2, drive.run.id)
    assert (await ledger.run(run_id)).fence == 2


async def test_a_driven_run_cannot_be_claimed_and_the_error_says_by_whom(drive: Any) -> None:
    with pytest.raises(RunIsDriven, match=rf"driven by process {os.getpid()} since 20.* UTC: wait for it, or stop it"):
        await drive.ledger.claim(drive.run.run_id)
    assert (await drive.ledger.run(drive.run.run_id)).fence == 1


async def test_other_runs_can_be_claimed_beside_it(ledger: Ledger, begin: Any) -> None:
    drives = [await begin(ledger) for _ in range(3)]
    assert all(ledger.is_driven(drive.run.run_id) for drive in drives)
    await drives[1].claim.release()
    assert [ledger.is_driven(drive.run.run_id) for drive in drives] == [True, False, True]


async def test_close_lets_every_run_go(shared_place: str, begin: Any) -> None:
    async with await Ledger.open(shared_place) as other:
        ledger = await Ledger.open(shared_place)
        drive = await begin(ledger)
        assert other.is_driven(drive.run.run_id)
        await ledger.close()
        assert not other.is_driven(drive.run.run_id)


async def test_close_ends_the_drives_that_are_still_open(shared_place: str, begin: Any) -> None:
    ledger = await Ledger.open(shared_place)
    drive = await begin(ledger)
    ledger.follow(drive.started("label"))
    await ledger.close()
    async with await Ledger.open(shared_place) as again:
        assert (await again.query("SELECT count(*) FROM drives WHERE ended_at IS NOT NULL")).rows == [(1,)]
        kinds = [event.kind for event in await again.events(run=drive.run.id)]
        assert kinds == ["run_created", "drive_started", "drive_ended"]
        assert len(await again.steps(drive.run.id)) == 1


async def test_drives_are_recorded(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger)
    await drive.claim.release()
    await ledger.claim(drive.run.run_id)
    rows = (await ledger.query("SELECT fence, pid, ended_at IS NULL FROM drives ORDER BY fence")).rows
    assert rows == [(1, os.getpid(), 0), (2, os.getpid(), 1)]


async def test_a_run_is_free_right_after_its_driver_was_killed(shared_place: str, begin: Any) -> None:
    async with await Ledger.open(shared_place) as ledger:
        drive = await begin(ledger)
        await drive.claim.release()
        run_id = drive.run.run_id
        child = await asyncio.to_thread(hold, shared_place, run_id)
        try:
            assert ledger.is_driven(run_id)
            with pytest.raises(RunIsDriven, match=f"driven by process {child.pid} "):
                await ledger.claim(run_id)
        finally:
            child.send_signal(signal.SIGKILL)
            await asyncio.to_thread(child.communicate)
        assert not ledger.is_driven(run_id)
        assert (await ledger.claim(run_id)).fence == 3


async def test_only_one_of_many_claims_at_once_wins(shared_place: str, begin: Any) -> None:
    ledgers = [await Ledger.open(shared_place) for _ in range(4)]
    drive = await begin(ledgers[0])
    await drive.claim.release()
    for _ in range(5):
        results = await asyncio.gather(*(ledger.claim(drive.run.run_id) for ledger in ledgers), return_exceptions=True)
        won = [result for result in results if not isinstance(result, BaseException)]
        assert len(won) == 1
        assert sum(isinstance(result, RunIsDriven) for result in results) == 3
        await won[0].release()
    for ledger in ledgers:
        await ledger.close()


async def test_asking_whether_a_run_is_driven_never_spoils_a_claim(shared_place: str, begin: Any) -> None:
    async with await Ledger.open(shared_place) as ledger, await Ledger.open(shared_place) as other:
        drive = await begin(ledger)
        await drive.claim.release()
        asking = True

        def ask() -> None:
            while asking:
                other.is_driven(drive.run.run_id)

        asker = asyncio.create_task(asyncio.to_thread(ask))
        for _ in range(30):
            await (await ledger.claim(drive.run.run_id)).release()
        asking = False
        await asker


async def test_a_run_is_written_and_claimed_in_one_commit(ledger: Any, new_run: Any) -> None:
    run, claim = await ledger.begin_run(new_run())
    assert (run.fence, claim.fence, claim.fresh) == (1, 1, True)
    assert ledger.is_driven(run.run_id)
    with pytest.raises(RunIsDriven):
        await ledger.claim(run.run_id)
    stored = await ledger.run(run.run_id)
    assert stored == run
    await claim.release()
    again = await ledger.claim(run.run_id)
    assert (again.fence, again.fresh) == (2, False)


async def test_what_was_only_followed_is_durable_when_a_run_is_let_go(drive: Any) -> None:
    drive.ledger.follow(StepSkipped(drive.ledger.new_id(), drive.run.id, "one", "", drive.claim.fence, "no need", 1))
    await drive.claim.release()
    assert [step.status for step in await drive.ledger.steps(drive.run.id)] == ["skipped"]
