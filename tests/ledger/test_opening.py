"""Opening: what is there is looked at before anything is changed, and every failure is one clear sentence."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stagebook.ledger.sql import v001
from stagebook.ledger.sql.script import statements
from stagebook.ledger.sqlite import connection, migrations
from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError, LedgerError, LedgerTooNew


def names_in(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def fails(path: object, error: type[LedgerError] = LedgerError, **options: Any) -> str:
    """Open, fail, and give the sentence."""
    with pytest.raises(error) as caught:
        await Ledger.open(str(path), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_missing_ledger_is_made_with_its_folder_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with await Ledger.open():
        assert (tmp_path / ".stagebook").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / ".stagebook/ledger.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["{path}", "sqlite:///{path}"])
async def test_a_ledger_is_named_by_path_or_address(tmp_path: Path, begin: Any, form: str) -> None:
    path = tmp_path / "with space%20" / "l.db"
    if form.startswith("sqlite"):
        path = tmp_path / "l.db"
    async with await Ledger.open(form.format(path=path)) as ledger:
        await begin(ledger)
    assert path.is_file()


async def test_a_relative_address_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with await Ledger.open("sqlite:///here.db"):
        assert (tmp_path / "here.db").is_file()


async def test_ledgers_in_memory_are_apart(begin: Any) -> None:
    async with await Ledger.open(":memory:") as one, await Ledger.open(":memory:") as two:
        await begin(one)
        assert len(await one.runs()) == 1
        assert await two.runs() == []


async def test_an_unknown_kind_is_told(tmp_path: Path) -> None:
    assert "mysql:// is not known" in await fails("mysql://host/x")
    assert "is a folder" in await fails(tmp_path)


async def test_a_missing_ledger_is_not_made_for_reading(tmp_path: Path) -> None:
    assert "no ledger is at" in await fails(tmp_path / "x" / "ledger.db", read_only=True)
    assert names_in(tmp_path) == []


async def test_nothing_is_written_through_a_read_only_ledger(file_drive: Any, tmp_path: Path) -> None:
    async with await Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        assert len(await ledger.runs()) == 1
        with pytest.raises(LedgerError, match="reading only"):
            await ledger.write(file_drive.started("pages"))
        with pytest.raises(LedgerError, match="reading only"):
            ledger.new_id()


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Call me Ishmael. " * 100)
    assert "is not an SQLite database" in await fails(path)
    assert path.read_text() == "Call me Ishmael. " * 100
    assert names_in(tmp_path) == ["notes.txt"]


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE contacts (name TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    assert "database of another program" in await fails(path)
    assert "database of another program" in await fails(path, read_only=True)
    assert path.read_bytes() == before


async def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    async with await Ledger.open(path) as ledger:
        assert await ledger.runs() == []


@pytest.mark.parametrize("left", [60, 1000, 20_000])
async def test_a_truncated_ledger_is_told_and_left_alone(tmp_path: Path, left: int) -> None:
    path = tmp_path / "ledger.db"
    await (await Ledger.open(path)).close()
    path.write_bytes(path.read_bytes()[:left])
    assert "is truncated" in await fails(path)
    assert path.stat().st_size == left


async def test_a_damaged_page_is_told(tmp_path: Path, begin: Any) -> None:
    path = tmp_path / "ledger.db"
    async with await Ledger.open(path) as ledger:
        await begin(ledger)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x5a" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="damaged or truncated"):
        async with await Ledger.open(path) as ledger:
            await ledger.runs()


async def test_a_newer_ledger_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await (await Ledger.open(path)).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    said = await fails(path, LedgerTooNew)
    assert "newer Stagebook" in said
    assert "version 99" in said
    await fails(path, LedgerTooNew, read_only=True)
    assert path.read_bytes() == before


async def test_an_old_ledger_is_brought_up_to_date(tmp_path: Path, begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 as its script made it, with a row; version 2 adds a column and changes the row."""
    path = tmp_path / "ledger.db"
    old = sqlite3.connect(path, isolation_level=None)
    for statement in statements(v001.TABLES):
        old.execute(statement)
    old.execute(f"PRAGMA application_id = {connection.APPLICATION_ID}")
    old.execute("PRAGMA user_version = 1")
    old.execute("INSERT INTO marks (id, run, name, kind, at) VALUES (1, 2, 'A', 'stage_start', 3)")
    old.close()

    def second(database: sqlite3.Connection) -> None:
        database.execute("ALTER TABLE marks ADD COLUMN note TEXT")
        database.execute("UPDATE marks SET note = 'from version 1'")

    monkeypatch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, migrations.VERSION + 1: second})
    monkeypatch.setattr(connection, "VERSION", migrations.VERSION + 1)
    assert "bring it up to date" in await fails(path, read_only=True)
    async with await Ledger.open(path) as ledger:
        assert (await ledger.query("SELECT name, note FROM marks")).rows == [("A", "from version 1")]
        assert (await ledger.query("PRAGMA user_version")).rows == [(migrations.VERSION + 1,)]
        await (await begin(ledger)).step("pages", data=1)
        assert len((await ledger.query("SELECT * FROM v2_pipeline_steps")).rows) == 1


async def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    await (await Ledger.open(path)).close()

    def broken(database: sqlite3.Connection) -> None:
        database.execute("ALTER TABLE marks ADD COLUMN note TEXT")
        database.execute("SELECT * FROM nowhere")

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, migrations.VERSION + 1: broken})
        patched.setattr(connection, "VERSION", migrations.VERSION + 1)
        assert "no such table: nowhere" in await fails(path)
    async with await Ledger.open(path) as ledger:
        with pytest.raises(InputError, match="no such column: note"):
            await ledger.query("SELECT note FROM marks")


def test_many_may_open_a_missing_ledger_at_once(shared_place: str, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom stagebook.ledger.store import Ledger\n"
        "async def main():\n    await (await Ledger.open(sys.argv[1])).close()\nasyncio.run(main())\n"
    )
    place = shared_place if "://" in shared_place else str(tmp_path / "a" / "l.db")
    children = [subprocess.Popen([sys.executable, "-c", script, place], stderr=subprocess.PIPE) for _ in range(4)]
    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors


async def test_a_full_disk_fails_who_waits_and_the_rest_goes_on_when_there_is_room(file_drive: Any) -> None:
    ledger = file_drive.ledger
    database = ledger._database.session._connection
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 20}")
    ledger.follow(file_drive.started("pages"))
    await ledger.write()
    with pytest.raises(LedgerError, match="the disk is full"):
        await ledger.write(file_drive.made("pages", data="x" * 300_000))
    ledger.follow(file_drive.started("label", "1"))
    with pytest.raises(LedgerError, match="the disk is full"):
        await ledger.write(file_drive.made("pages", data="y" * 300_000))
    database.execute("PRAGMA max_page_count = 1000000")
    await ledger.write(file_drive.made("pages", data="z" * 300_000), file_drive.ended("pages"))
    steps = await ledger.steps(file_drive.run.id)
    assert [(step.stage, step.status) for step in steps] == [("pages", "completed"), ("label", "running")]
    assert [ref.version for ref in await ledger.outputs(file_drive.run.id)] == [1]


async def test_what_is_followed_on_a_full_disk_is_told_by_close_at_the_latest(tmp_path: Path, begin: Any) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    drive = await begin(ledger)
    database = ledger._database.session._connection
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    ledger.follow(*(drive.started("label", str(n)) for n in range(2000)))
    with pytest.raises(LedgerError, match="the disk is full"):
        await ledger.close()


async def test_a_ledger_that_stays_locked_is_told(tmp_path: Path, begin: Any) -> None:
    async with await Ledger.open(tmp_path / "ledger.db", busy_seconds=0.05) as ledger:
        drive = await begin(ledger)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process keeps it locked"):
            await ledger.write(drive.started("pages"))
        other.execute("ROLLBACK")
        other.close()
        await ledger.write(drive.started("pages"))


async def test_a_lock_that_is_let_go_in_time_is_waited_for(tmp_path: Path, begin: Any) -> None:
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        drive = await begin(ledger)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(ledger.write(drive.started("pages")))
        await asyncio.sleep(0.2)
        assert not writing.done()
        other.execute("ROLLBACK")
        other.close()
        await writing


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="stagebook-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


OPENER = """
import asyncio, os, sys
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError

async def main():
    await asyncio.to_thread(int)  # imports what it needs while this user still can
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        async with await Ledger.open(sys.argv[1], read_only=sys.argv[2] == "read") as ledger:
            print([run.run_id for run in await ledger.runs()])
    except LedgerError as error:
        print(error)

asyncio.run(main())
"""


def open_as_nobody(path: Path, how: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPENER, str(path), how], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.stderr == ""
    return done.stdout.strip()


async def make(path: Path, begin: Callable[[Ledger], Awaitable[Any]]) -> str:
    """Make a ledger with a run; give the run's readable id."""
    async with await Ledger.open(path) as ledger:
        return str((await begin(ledger)).run.run_id)


def test_a_folder_that_cannot_be_written_is_told(nobodys_folder: Path) -> None:
    nobodys_folder.chmod(0o555)
    said = open_as_nobody(nobodys_folder / "ledger.db", "write")
    assert "cannot be made: Permission denied; check the permissions of" in said


def test_a_ledger_in_a_folder_that_cannot_be_written_can_be_read(nobodys_folder: Path, begin: Any) -> None:
    path = nobodys_folder / "ledger.db"
    run_id = asyncio.run(make(path, begin))
    path.chmod(0o444)
    nobodys_folder.chmod(0o555)
    assert open_as_nobody(path, "read") == f"['{run_id}']"
    assert "read-only" in open_as_nobody(path, "write")


def test_a_ledger_that_cannot_be_read_is_told(nobodys_folder: Path, begin: Any) -> None:
    path = nobodys_folder / "ledger.db"
    asyncio.run(make(path, begin))
    path.chmod(0o600 if os.geteuid() == 0 else 0o000)
    assert "cannot be read: Permission denied" in open_as_nobody(path, "read")
