"""Runs are deleted and bodies are purged, and nothing that another run needs goes with them."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagebook.ledger.facts import Marked, Noted
from stagebook.ledger.sql.v001 import TABLES
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError, NotFound, RunIsDriven
from stagebook.model.exchange import Request, content_hash

SHARED = b"a question that every run asks, word for word, and that is long enough to be kept by itself. " * 8
LONG = b'{"text":"' + b"".join(b"sentence %d of the transcript. " % n for n in range(400)) + b'"}'


def noise(seed: int, size: int = 400_000) -> bytes:
    return random.Random(seed).randbytes(size)


def asked(*parts: bytes) -> Request:
    return Request("POST", "https://a.test", (b'{"messages":"', *parts, b'"}'), kind="model")


async def count(ledger: Ledger, table: str) -> int:
    return int(str((await ledger.query(f"SELECT count(*) FROM {table}")).rows[0][0]))  # noqa: S608  a table of ours


async def worked(drive: Any, *parts: bytes, answer: bytes = b"{}", cost: int | None = 5) -> int:
    """A run of one step with one exchange, let go."""
    await drive.ledger.write(drive.started("label", "1"))
    exchange = int(await drive.exchange(asked(*parts), drive.steps["label", "1"], answer, cost=cost))
    await drive.ledger.write(drive.made("label", "1", {"n": 1}), drive.ended("label", "1"))
    await drive.ledger.write(Marked(drive.ledger.new_id(), drive.run.id, "p", "stage_start", None, drive.now()))
    await drive.ledger.write(Noted(drive.run.id, "note", b"{}", drive.now()))
    await drive.claim.release()
    await drive.ledger.write()
    return exchange


async def sound(ledger: Ledger) -> bool:
    found = await ledger.upkeep.check()
    assert found.findings == ()
    return True


async def test_the_only_run_leaves_nothing_behind(ledger: Ledger, begin: Callable[..., Any]) -> None:
    drive = await begin(ledger, LONG)
    await worked(drive, SHARED, answer=SHARED * 2)
    await ledger.upkeep.delete(drive.run.id, drive.run.run_id)
    tables = {line.split()[2] for line in TABLES.splitlines() if line.startswith("CREATE TABLE")}
    left = {table: rows for table in tables if (rows := await count(ledger, table))}
    assert set(left) == {"writers", "purges"}
    assert (await ledger.query("SELECT count FROM purges")).rows[0][0] == 1
    with pytest.raises(NotFound):
        await ledger.run(drive.run.run_id)
    again = await begin(ledger, LONG)
    exchange = await worked(again, SHARED)
    assert SHARED in await ledger.request_body(exchange)
    assert await sound(ledger)


async def test_what_another_run_names_stays(ledger: Ledger, begin: Callable[..., Any]) -> None:
    first, second = await begin(ledger), await begin(ledger, b'{"title":"other"}')
    await worked(first, SHARED, b"first " * 100)
    exchange = await worked(second, SHARED, b"second " * 100)
    taken = await ledger.upkeep.delete(first.run.id, first.run.run_id)
    assert taken.payloads == 2, "its input and its own part; skeleton, shared part and answer are the other's too"
    assert SHARED in await ledger.request_body(exchange)
    assert await sound(ledger)


async def test_what_leans_on_a_deleted_run_is_packed_anew(ledger: Ledger, begin: Callable[..., Any]) -> None:
    first = await begin(ledger, LONG)
    window = LONG[2000:6000]
    await worked(first, window)
    second = await begin(ledger, b'{"title":"small"}')
    exchange = await worked(second, window)
    leaning = "SELECT count(*) FROM payloads WHERE base = ?"
    assert (await ledger.query(leaning, (content_hash(LONG),))).rows == [(1,)]
    await ledger.upkeep.delete(first.run.id, first.run.run_id)
    with pytest.raises(NotFound):
        await ledger.payload(content_hash(LONG))
    assert window in await ledger.request_body(exchange)
    assert await sound(ledger)


async def test_a_file_that_leans_on_a_deleted_run_keeps_what_it_needs(
    file_ledger: Ledger, begin: Callable[..., Any]
) -> None:
    given = b'{"text":"' + noise(1, 40_000).hex().encode() + b'"}'
    large = given[1000:60_000] + noise(2, 300_000).hex().encode()
    first = await begin(file_ledger, given)
    await worked(first, large)
    second = await begin(file_ledger)
    exchange = await worked(second, large)
    named = "SELECT count(*) FROM payloads WHERE location IS NOT NULL AND base IS NOT NULL"
    assert (await file_ledger.query(named)).rows == [(1,)]
    await file_ledger.upkeep.delete(first.run.id, first.run.run_id)
    assert await file_ledger.payload(content_hash(given)) == given
    assert large in await file_ledger.request_body(exchange)
    assert await sound(file_ledger)


async def test_files_go_with_the_last_run_that_names_them(
    file_ledger: Ledger, begin: Callable[..., Any], tmp_path: Path
) -> None:
    drives = [await begin(file_ledger, b'{"n":%d}' % n) for n in range(2)]
    for drive in drives:
        await worked(drive, answer=noise(3))

    def files() -> int:
        return sum(path.is_file() for path in (tmp_path / "blobs").rglob("*"))

    assert files() == 1
    await file_ledger.upkeep.delete(drives[0].run.id, drives[0].run.run_id)
    assert files() == 1
    taken = await file_ledger.upkeep.delete(drives[1].run.id, drives[1].run.run_id)
    assert (files(), len(taken.files)) == (0, 1)
    again = await begin(file_ledger)
    await worked(again, answer=noise(3))
    assert await sound(file_ledger)


async def test_a_run_that_is_driven_is_not_deleted(ledger: Ledger, begin: Callable[..., Any]) -> None:
    drive = await begin(ledger)
    await drive.step("label", data=1)
    with pytest.raises(RunIsDriven, match=rf"^{drive.run.run_id} is driven by process \d+, so it was not deleted"):
        await ledger.upkeep.delete(drive.run.id, drive.run.run_id)
    assert await count(ledger, "steps") == 1


async def test_forks_of_a_deleted_run_stay(ledger: Ledger, begin: Callable[..., Any]) -> None:
    base = await begin(ledger)
    await worked(base, SHARED)
    fork = await begin(ledger, parent=base.run.id, forked_at="label")
    await fork.step("label", "1", data={"n": 1}, reused_from=base.steps["label", "1"])
    await ledger.upkeep.delete(base.run.id, base.run.run_id)
    assert (await ledger.run(fork.run.run_id)).parent == base.run.id
    assert len(await ledger.steps(fork.run.id)) == 1
    assert await sound(ledger)


async def test_purged_bodies_are_gone_and_all_else_stays(ledger: Ledger, begin: Callable[..., Any]) -> None:
    drive = await begin(ledger, LONG)
    exchange = await worked(drive, SHARED, answer=SHARED * 2, cost=7)
    before = await ledger.summaries()
    rows = await ledger.query("SELECT * FROM costs")
    purged = await ledger.upkeep.purge_bodies([(drive.run.id, drive.run.run_id)])
    assert (purged.runs, purged.driven, purged.exchanges, purged.taken.payloads) == (1, (), 1, 3)
    assert await ledger.summaries() == before
    assert (await ledger.query("SELECT * FROM costs")).rows == rows.rows
    assert (await ledger.run(drive.run.run_id)).input == LONG
    assert await ledger.output_of(drive.run.id, "label", "1") == b'{"n":1}'
    with pytest.raises(NotFound, match="was purged; its hash, tokens and cost are kept"):
        await ledger.request_body(exchange)
    [recorded] = await ledger.recorded(drive.steps["label", "1"])
    assert recorded.response_hash is None
    assert [event.kind for event in await ledger.events(run=drive.run.id)][-1] == "purged"
    assert len((await ledger.query("SELECT output FROM v2_pipeline_steps WHERE event_type = 'step'")).rows) == 1
    assert await sound(ledger)


async def test_a_purge_takes_nothing_that_another_run_needs(ledger: Ledger, begin: Callable[..., Any]) -> None:
    first, second = await begin(ledger, LONG), await begin(ledger, b"{}")
    await worked(first, SHARED, LONG[3000:7000])
    exchange = await worked(second, SHARED, LONG[3000:7000])
    await ledger.upkeep.purge_bodies([(first.run.id, first.run.run_id)])
    assert SHARED in await ledger.request_body(exchange)
    assert await sound(ledger)


async def test_a_run_that_is_driven_is_not_purged(ledger: Ledger, begin: Callable[..., Any]) -> None:
    first, second = await begin(ledger), await begin(ledger)
    await worked(first, SHARED)
    await second.exchange(asked(SHARED), None, b"{}")
    chosen = [(drive.run.id, drive.run.run_id) for drive in (first, second)]
    purged = await ledger.upkeep.purge_bodies(chosen)
    assert (purged.runs, purged.driven, purged.exchanges) == (1, (second.run.run_id,), 1)
    assert await sound(ledger)


async def test_a_purged_run_is_exported_and_imported_as_purged(
    ledger: Ledger, begin: Callable[..., Any], tmp_path: Path
) -> None:
    drive = await begin(ledger, LONG)
    await worked(drive, SHARED)
    await ledger.upkeep.purge_bodies([(drive.run.id, drive.run.run_id)])
    await ledger.upkeep.export(drive.run.id, tmp_path / "run.json")
    async with await Ledger.open(":memory:") as other:
        await other.upkeep.import_run(tmp_path / "run.json")
        run = await other.run(drive.run.run_id)
        await other.upkeep.export(run.id, tmp_path / "again.json")
        assert await sound(other)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "run.json").read_bytes()


async def test_other_processes_that_write_learn_that_payloads_went(
    file_ledger: Ledger, begin: Callable[..., Any], tmp_path: Path
) -> None:
    drive = await begin(file_ledger)
    await worked(drive, SHARED, answer=noise(4))
    async with await Ledger.open(tmp_path / "ledger.db") as other:
        await other.upkeep.delete(drive.run.id, drive.run.run_id)
    again = await begin(file_ledger)
    exchange = await worked(again, SHARED, answer=noise(4))
    assert SHARED in await file_ledger.request_body(exchange)
    assert await sound(file_ledger)


async def test_a_ledger_open_for_reading_deletes_nothing(file_ledger: Ledger, begin: Any, tmp_path: Path) -> None:
    drive = await begin(file_ledger)
    await worked(drive, SHARED)
    async with await Ledger.open(tmp_path / "ledger.db", read_only=True) as reading:
        with pytest.raises(LedgerError, match="was opened for reading only"):
            await reading.upkeep.delete(drive.run.id, drive.run.run_id)
    assert len(await file_ledger.runs()) == 1


async def test_what_is_deleted_while_others_store_the_same_bytes_leaves_a_sound_ledger(
    file_ledger: Ledger, begin: Callable[..., Any], tmp_path: Path
) -> None:
    """Every run is answered with the same large file and sends the same part, so that each deletion is of both."""
    written: asyncio.Queue[Any] = asyncio.Queue()

    async def write() -> None:
        try:
            for _ in range(30):
                drive = await begin(file_ledger)
                await worked(drive, SHARED, answer=noise(5))
                written.put_nowait(drive.run)
        finally:
            written.put_nowait(None)

    async with await Ledger.open(tmp_path / "ledger.db") as other:
        writing = asyncio.create_task(write())
        while (run := await written.get()) is not None:
            await other.upkeep.delete(run.id, run.run_id)
            await other.upkeep.fix()
        await writing
        drive = await begin(file_ledger)
        exchange = await worked(drive, SHARED, answer=noise(5))
        assert SHARED in await other.request_body(exchange)
        assert await other.payload(content_hash(noise(5))) == noise(5)
        assert [run.run_id for run in await other.runs()] == [drive.run.run_id]
        assert await sound(other)
