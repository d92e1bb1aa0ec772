"""A sound ledger is found sound; whatever is damaged, missing or left over is named, and only orphans are removed."""

# ruff: noqa: S608  constants
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagebook.ledger.facts import ExchangeParsed
from stagebook.ledger.sql.integrity import Kind
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request, content_hash

PART = b"a part that is long enough to be a payload of its own, as it has more than 512 bytes in all. " * 8
NOISE = random.Random(7).randbytes(400_000)


@pytest.fixture
async def written(file_ledger: Ledger, begin: Callable[..., Any]) -> Any:
    """Two runs with steps, exchanges, outputs and a file."""
    for number in range(2):
        drive = await begin(file_ledger, b'{"n":%d}' % number)
        await file_ledger.write(drive.started("label", "1"))
        step = drive.steps["label", "1"]
        request = Request("POST", "https://a.test", (b'{"n":%d,"text":"' % number, PART, b'"}'), kind="model")
        exchange = await drive.exchange(request, step, NOISE if number else b"{}", cost=3)
        await file_ledger.write(ExchangeParsed(exchange, None, drive.now()))
        await file_ledger.write(drive.made("label", "1", {"nul": "\0"}), drive.ended("label", "1"))
        await drive.step("report", data={"n": number})
        await drive.claim.release()
    await file_ledger.write()
    drive.exchange_id = exchange
    return drive


def change(folder: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(folder / "ledger.db") as connection:
        assert connection.execute(sql, values).rowcount
    connection.close()


async def kinds(ledger: Ledger) -> list[tuple[str, str]]:
    return [(one.kind.value, one.what) for one in (await ledger.upkeep.check()).findings]


async def test_a_sound_ledger_is_found_sound_and_how_far_it_came_is_told(written: Any) -> None:
    told: list[tuple[str, int, int]] = []
    found = await written.ledger.upkeep.check(lambda *words: told.append(words))
    assert found.findings == ()
    assert found.counts == {"payloads": 7, "requests": 2, "outputs": 4}
    assert ("payloads", 0, 7) in told


async def test_a_ledger_in_memory_is_checked_as_well(ledger: Ledger, begin: Callable[..., Any]) -> None:
    await (await begin(ledger)).step("label", data=1)
    assert (await ledger.upkeep.check()).findings == ()
    assert (await ledger.upkeep.fix()).rows == 0


_PART = content_hash(PART).hex()
DAMAGES = [
    (f"UPDATE payloads SET body = x'00' WHERE hash = x'{_PART}'", Kind.DAMAGED, f"payload {_PART} cannot be read"),
    (f"DELETE FROM payloads WHERE hash = x'{_PART}'", Kind.MISSING, "2 rows of segments name payloads that are not"),
    ("UPDATE outputs SET data = '{\"n\":9}' WHERE stage = 'report'", Kind.DAMAGED, "version 1 of report in RUN_"),
    ("UPDATE exchanges SET url = 'https://b.test'", Kind.DAMAGED, "the request of exchange"),
    ("UPDATE steps SET attempts = 4 WHERE stage = 'label'", Kind.SUM, "label[1] in RUN_"),
    ("UPDATE outputs SET version = 3 WHERE stage = 'report'", Kind.SUM, "report in RUN_"),
    ("DELETE FROM definitions", Kind.MISSING, "2 rows of runs name definitions that are not there"),
]


@pytest.mark.parametrize(("sql", "kind", "said"), DAMAGES)
async def test_damage_is_named_and_no_fix_touches_it(
    written: Any, tmp_path: Path, sql: str, kind: Kind, said: str
) -> None:
    change(tmp_path, sql)
    found = [one for one in (await written.ledger.upkeep.check()).findings if one.kind is kind]
    assert any(one.what.startswith(said) for one in found)
    assert all("backup" in one.mend for one in found)
    await written.ledger.upkeep.fix()
    assert [one for one in (await written.ledger.upkeep.check()).findings if one.kind is kind] == found


async def test_a_file_that_is_gone_is_named(written: Any, tmp_path: Path) -> None:
    [path] = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    path.unlink()
    found = await kinds(written.ledger)
    assert {kind for kind, _ in found} == {"missing", "damaged"}
    assert ("missing", f"the file blobs/{path.parent.name}/{path.name} is named by a row and not there") in found


async def test_a_torn_database_is_named(written: Any, tmp_path: Path) -> None:
    await written.ledger.close()
    path = tmp_path / "ledger.db"
    data = bytearray(path.read_bytes())
    with sqlite3.connect(path) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outputs'").fetchall()
    connection.close()
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    path.write_bytes(data)
    async with await Ledger.open(path, read_only=True) as ledger:
        found = await ledger.upkeep.check()
    assert {one.kind for one in found.findings} >= {Kind.DATABASE}


ORPHANS = [
    ("DELETE FROM runs WHERE id = (SELECT max(id) FROM runs)", "2 rows of steps name runs that are not there"),
    ("DELETE FROM steps WHERE id = (SELECT max(id) FROM steps)", "1 row of attempts names steps that are not there"),
    ("DELETE FROM segments", "1 payload is named by nothing"),
    ("UPDATE exchanges SET response = NULL", "2 payloads are named by nothing"),
]


@pytest.mark.parametrize(("sql", "said"), ORPHANS)
async def test_orphans_are_named_and_removed(written: Any, tmp_path: Path, sql: str, said: str) -> None:
    change(tmp_path, sql)
    found = (await written.ledger.upkeep.check()).findings
    assert any(one.kind is Kind.ORPHAN and one.what.startswith(said) for one in found)
    await written.ledger.upkeep.fix()
    assert Kind.ORPHAN not in {one.kind for one in (await written.ledger.upkeep.check()).findings}
    assert await written.ledger.run("last")


async def test_files_that_nobody_names_are_removed_and_what_is_being_written_is_not(
    written: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "blobs" / "ab"
    folder.mkdir()
    for name in ("ab" + "0" * 30, ".old.77", ".new.78", "not-a-hash"):
        (folder / name).write_bytes(b"left over")
    os.utime(folder / ".old.77", (1, 1))
    whats = [what for kind, what in await kinds(written.ledger) if kind == "orphan"]
    assert len(whats) == 3
    fixed = await written.ledger.upkeep.fix()
    assert (fixed.rows, fixed.payloads, len(fixed.files)) == (0, 0, 3)
    assert [path.name for path in folder.iterdir()] == [".new.78"]
    assert await kinds(written.ledger) == []


KILLED = """
    import asyncio, os, signal, sys
    from stagebook.ledger.store import Ledger

    def die(what, done, total):
        if what == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

    async def main():
        async with await Ledger.open(sys.argv[1]) as ledger:
            runs = await ledger.runs()
            if sys.argv[3] == "delete":
                for run in runs:
                    await ledger.upkeep.delete(run.id, run.run_id, die)
            else:
                await ledger.upkeep.purge_bodies([(run.id, run.run_id) for run in runs], die)

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "at", "runs", "orphans"),
    [
        ("delete", "rows", 2, set()),
        ("delete", "files", 1, {"file"}),
        ("purge", "runs", 2, set()),
        ("purge", "payloads", 2, {"payloads"}),
        ("purge", "files", 2, {"file"}),
    ],
)
async def test_a_kill_between_leaves_only_what_a_fix_removes(
    written: Any, tmp_path: Path, how: str, at: str, runs: int, orphans: set[str]
) -> None:
    await written.ledger.close()
    path = tmp_path / "ledger.db"
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(path), at, how]
    done = subprocess.run(script, capture_output=True, check=False)  # noqa: ASYNC221  a test may block its loop
    assert done.returncode == -9, done.stderr.decode()
    async with await Ledger.open(path) as ledger:
        found = await kinds(ledger)
        assert {kind for kind, _ in found} == ({"orphan"} if orphans else set())
        assert all(any(word in what for what in (what for _, what in found)) for word in orphans)
        assert len(await ledger.runs()) == runs
        await ledger.upkeep.fix()
        assert await kinds(ledger) == []
        left = [run async for run in _resolved(ledger)]
        assert len(left) == runs


async def _resolved(ledger: Ledger) -> Any:
    for run in await ledger.runs():
        yield await ledger.run(run.run_id)
