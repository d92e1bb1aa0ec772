"""Several processes on one ledger, and processes that die."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from stagebook.ledger.store import Ledger
from stagebook.model.status import StepStatus

WRITER = """
import asyncio, sys
import orjson
from stagebook.ledger.facts import OutputMade, StepEnded, StepStarted
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import content_hash
from stagebook.model.records import NewRun
from stagebook.model.status import StepStatus

async def one(ledger, claim, n):
    step, data = ledger.new_id(), orjson.dumps({"n": n, "text": "x" * 300})
    await ledger.write(
        StepStarted(step, claim.run, "label", str(n), claim.fence, 1, None, b"{}", n),
        OutputMade(ledger.new_id(), claim.run, step, "label", str(n), data, content_hash(data), "stage", n),
        StepEnded(step, claim.run, claim.fence, 1, StepStatus.COMPLETED, n),
    )
    print(claim.run_id, n, flush=True)

async def main(path, count):
    ledger = await Ledger.open(path)
    run = await ledger.create_run(NewRun("p", b'{"stages":[]}', "p.py:p", b"{}", b"{}"))
    claim = await ledger.claim(run.run_id)
    for start in range(0, count, 7):
        await asyncio.gather(*(one(ledger, claim, n) for n in range(start, min(count, start + 7))))
    await ledger.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def write_in_a_child(path: str | Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count)], stdout=subprocess.PIPE, text=True)


async def test_what_was_acknowledged_before_a_sigkill_is_all_there(shared_place: str) -> None:
    path = shared_place
    acknowledged: set[tuple[str, str]] = set()
    for told in (1, 20, 57, 90):
        child = write_in_a_child(path, 100_000)
        assert child.stdout is not None
        for _ in range(told):
            run_id, item = (await asyncio.to_thread(child.stdout.readline)).split()
            acknowledged.add((run_id, item))
        child.send_signal(signal.SIGKILL)
        rest, _ = await asyncio.to_thread(child.communicate)
        whole = (line.split() for line in rest.splitlines(keepends=True) if line.endswith("\n"))  # the last may be torn
        acknowledged |= {(run_id, item) for run_id, item in whole}
    async with await Ledger.open(path) as ledger:
        runs = await ledger.runs()
        assert len(runs) == 4
        there: set[tuple[str, str]] = set()
        for run in runs:
            steps = await ledger.steps(run.id)
            outputs = {ref.item for ref in await ledger.outputs(run.id)}
            assert {step.status for step in steps} == {StepStatus.COMPLETED}
            assert {step.item for step in steps} == outputs, "a unit is there whole or not at all"
            assert not ledger.is_driven(run.run_id)
            there |= {(run.run_id, item) for item in outputs}
        assert acknowledged <= there


async def test_several_processes_write_at_once_and_lose_nothing(shared_place: str) -> None:
    path = shared_place
    children = [write_in_a_child(path, 150) for _ in range(3)]
    for child in children:
        await asyncio.to_thread(child.communicate)
        assert child.returncode == 0
    async with await Ledger.open(path, read_only=True) as ledger:
        runs = await ledger.runs()
        assert len(runs) == 3
        for run in runs:
            assert len(await ledger.outputs(run.id)) == 150
        events = [event async for event in _all_events(ledger)]
        assert [event.seq for event in events] == sorted({event.seq for event in events})
        assert sum(event.kind == "completed" for event in events) == 450


async def test_a_reader_in_another_process_sees_what_is_durable(shared_place: str, begin: Any) -> None:
    ledger = await Ledger.open(shared_place)
    drive = await begin(ledger)
    await drive.step("label", "1", data="x")
    script = (
        "import asyncio, sys\nfrom stagebook.ledger.store import Ledger\n"
        "async def main():\n"
        "    async with await Ledger.open(sys.argv[1], read_only=True) as ledger:\n"
        "        run = await ledger.run('last')\n"
        "        print(run.run_id, [ref.item for ref in await ledger.outputs(run.id)], ledger.is_driven(run.run_id))\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, shared_place], capture_output=True, text=True
    )
    assert done.stdout.strip() == f"{drive.run.run_id} ['1'] True", done.stderr
    await ledger.close()


async def test_a_process_killed_at_any_moment_leaves_a_sound_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for pause in (0.3, 0.45, 0.6):
        child = write_in_a_child(path, 100_000)
        await asyncio.sleep(pause)
        child.send_signal(signal.SIGKILL)
        await asyncio.to_thread(child.communicate)
    async with await Ledger.open(path):
        pass
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other.close()


async def _all_events(ledger: Ledger) -> Any:
    after = 0
    while batch := await ledger.events(after, limit=100):
        for event in batch:
            yield event
        after = batch[-1].seq
