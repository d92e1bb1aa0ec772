"""Questions in SQL from outside: they read, and can do nothing else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError
from stagebook.model.exchange import Request, content_hash

THREE = "SELECT CAST(value AS INTEGER) FROM json_each('[1,2,3]')"
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def test_a_question_gives_columns_and_rows(drive: Any) -> None:
    await drive.step("label", "1", data={"n": 1})
    table = await drive.ledger.query("SELECT stage AS s, item, 1.5 AS f FROM steps WHERE item = ?", ("1",))
    assert (table.columns, table.rows, table.truncated) == (("s", "item", "f"), [("label", "1", 1.5)], False)


async def test_more_rows_than_the_limit_are_cut_and_told(drive: Any) -> None:
    table = await drive.ledger.query(THREE, limit=2)
    assert (table.rows, table.truncated) == ([(1,), (2,)], True)
    table = await drive.ledger.query(THREE, limit=3)
    assert (len(table.rows), table.truncated) == (3, False)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "UPDATE runs SET wish = 'cancel'",
        "INSERT INTO purges VALUES (1)",
        "DROP TABLE runs",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "DROP VIEW v2_pipeline_steps",
        "ATTACH DATABASE '{path}' AS x",
        "VACUUM INTO '{path}'",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('x')",
        "WITH gone AS (SELECT 1) DELETE FROM runs",
    ],
)
async def test_a_question_cannot_write(drive: Any, tmp_path: Path, sql: str) -> None:
    with pytest.raises(InputError):
        await drive.ledger.query(sql.format(path=tmp_path / "stolen.db"))
    assert not (tmp_path / "stolen.db").exists()
    assert len(await drive.ledger.runs()) == 1
    assert await drive.ledger.wish(drive.run.id) == "run"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM nowhere", "no such table: nowhere|relation .nowhere. does not exist"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("SELECT ?", "bindings|syntax error"),
        ("SELECT 'a\0b'", "null character"),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong(drive: Any, sql: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        await drive.ledger.query(sql)


async def test_an_endless_question_is_stopped_and_the_loop_goes_on_meanwhile(drive: Any) -> None:
    asking = asyncio.create_task(drive.ledger.query(ENDLESS, timeout=0.3))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(InputError, match=r"stopped after 0.3 s"):
        await asking
    assert turns > 3


def test_a_question_that_nobody_waits_for_any_more_ends(tmp_path: Path) -> None:
    async def ask_and_leave() -> None:
        async with await Ledger.open(tmp_path / "ledger.db") as ledger:
            asking = asyncio.create_task(ledger.query(ENDLESS, timeout=3600))
            await asyncio.sleep(0.1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(ask_and_leave())  # ends only when the question's thread has ended


async def test_a_question_does_not_hold_up_the_writer(file_drive: Any) -> None:
    asking = asyncio.create_task(file_drive.ledger.query(ENDLESS, timeout=3600))
    await asyncio.sleep(0.05)
    await file_drive.step("label", "1", data=1)
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_payloads_can_be_read_as_text(drive: Any) -> None:
    await drive.exchange(Request("GET", "https://page.test", ()), None, "Straße".encode() + b"\xff")
    table = await drive.ledger.query("SELECT payload_text(response), payload_text(NULL) FROM exchanges")
    assert table.rows == [("Straße\ufffd", None)]


async def test_a_question_sees_what_was_written_before_it(drive: Any) -> None:
    for n in range(3):
        await drive.step("label", str(n), data=n)
        assert (await drive.ledger.query("SELECT count(*) FROM outputs")).rows == [(n + 1,)]


async def test_a_ledger_open_for_reading_can_be_asked(file_drive: Any, tmp_path: Path) -> None:
    await file_drive.step("label", data="x")
    async with await Ledger.open(tmp_path / "ledger.db", read_only=True) as ledger:
        table = await ledger.query("SELECT hex(content_hash) FROM outputs")
        assert table.rows == [(content_hash(b'"x"').hex().upper(),)]
        assert len((await ledger.query("SELECT output FROM v2_pipeline_steps")).rows) == 1
