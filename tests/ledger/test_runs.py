"""Runs: their names, their definitions, and finding them by what a person types."""

import asyncio
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stagebook.ledger import store
from stagebook.ledger.facts import WishSet
from stagebook.ledger.store import Ledger
from stagebook.model.errors import NotFound, WriteRefused
from stagebook.model.exchange import content_hash
from stagebook.model.records import NewRun
from stagebook.model.status import Wish

NewRunOf = Callable[..., NewRun]
NOON = int(datetime(2026, 1, 15, 18, 12, 6, tzinfo=UTC).timestamp() * 1_000_000)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run be created in the same second."""
    monkeypatch.setattr(store, "now", lambda: NOON)


async def test_a_run_is_read_back_as_it_was_written(ledger: Ledger, new_run: NewRunOf) -> None:
    new = new_run(b'{"title":"Moby"}', tags=("demo", "x"), parent=7, forked_at="label", created_via="cli")
    run = await ledger.create_run(new)
    assert re.fullmatch(r"RUN_\d{8}_\d{6}", run.run_id)
    assert (run.pipeline, run.source, run.input, run.settings) == (new.pipeline, new.source, new.input, new.settings)
    assert (run.tags, run.parent, run.forked_at, run.created_via) == (("demo", "x"), 7, "label", "cli")
    assert (run.wish, run.fence, run.definition_hash) == (Wish.RUN, 0, content_hash(new.definition))
    assert await ledger.run(run.run_id) == run
    assert await ledger.definition(run.definition_hash) == new.definition


@pytest.mark.usefixtures("noon")
async def test_runs_of_one_second_are_numbered(ledger: Ledger, new_run: NewRunOf) -> None:
    runs = [await ledger.create_run(new_run()) for _ in range(3)]
    runs += await asyncio.gather(*(ledger.create_run(new_run()) for _ in range(9)))
    base = "RUN_20260115_181206"
    assert [run.run_id for run in runs[:3]] == [base, f"{base}_2", f"{base}_3"]
    assert {run.run_id for run in runs} == {base, *(f"{base}_{n}" for n in range(2, 13))}


async def test_a_definition_is_stored_once(file_ledger: Ledger, new_run: NewRunOf, tmp_path: Path) -> None:
    for _ in range(3):
        await file_ledger.create_run(new_run())
    await file_ledger.create_run(new_run(definition=b'{"stages":[{"name":"other"}]}'))
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("SELECT count(*) FROM definitions").fetchall() == [(2,)]
    assert other.execute("SELECT count(*) FROM stages").fetchall() == [(4,)]
    other.close()


async def test_a_definition_that_is_no_json_is_refused(ledger: Ledger, new_run: NewRunOf) -> None:
    with pytest.raises(WriteRefused):
        await ledger.create_run(new_run(definition=b"{"))
    await ledger.create_run(new_run())


@pytest.mark.usefixtures("noon")
async def test_a_run_is_found_by_a_unique_beginning_or_end_and_as_last(ledger: Ledger, new_run: NewRunOf) -> None:
    runs = [await ledger.create_run(new_run()) for _ in range(3)]
    assert (await ledger.run("181206_2")).id == runs[1].id
    assert (await ledger.run("RUN_20260115_181206_3")).id == runs[2].id
    assert (await ledger.run("RUN_20260115_181206")).id == runs[0].id, "a whole id is meant, not the beginning of three"
    assert (await ledger.run("last")).id == runs[2].id


@pytest.mark.usefixtures("noon")
async def test_a_run_that_is_not_there_is_told_with_the_nearest_names(ledger: Ledger, new_run: NewRunOf) -> None:
    with pytest.raises(NotFound, match="nothing has been run"):
        await ledger.run("last")
    await ledger.create_run(new_run())
    await ledger.create_run(new_run())
    with pytest.raises(NotFound, match="fits several runs: RUN_20260115_181206_2, RUN_20260115_181206; write more"):
        await ledger.run("RUN_2026")
    with pytest.raises(NotFound, match="the nearest: RUN_20260115_181206"):
        await ledger.run("RUN_20260115_181260")
    with pytest.raises(NotFound, match="the latest: RUN_20260115_181206"):
        await ledger.run("xyz")
    with pytest.raises(NotFound):
        await ledger.run("")
    with pytest.raises(NotFound):
        await ledger.run("%")


async def test_runs_are_listed_newest_first_by_pipeline_and_tag(ledger: Ledger, new_run: NewRunOf) -> None:
    first = await ledger.create_run(new_run(tags=("demo",)))
    second = await ledger.create_run(new_run(tags=("demo", "b")))
    third = await ledger.create_run(new_run())
    assert [run.id for run in await ledger.runs()] == [third.id, second.id, first.id]
    assert [run.id for run in await ledger.runs(limit=1)] == [third.id]
    assert [run.id for run in await ledger.runs(tag="demo")] == [second.id, first.id]
    assert await ledger.runs(tag="dem") == []
    assert [run.id for run in await ledger.runs(pipeline="book", tag="b")] == [second.id]
    assert await ledger.runs(pipeline="other") == []


async def test_a_wish_is_read_as_it_was_set(ledger: Ledger, new_run: NewRunOf) -> None:
    run = await ledger.create_run(new_run())
    assert await ledger.wish(run.id) is Wish.RUN
    await ledger.write(WishSet(run.id, Wish.PAUSE, NOON))
    assert await ledger.wish(run.id) is Wish.PAUSE
    assert (await ledger.run(run.run_id)).wish is Wish.PAUSE
    with pytest.raises(NotFound):
        await ledger.wish(1)


async def test_ids_grow_and_stay_below_two_to_the_53(ledger: Ledger) -> None:
    ids = [ledger.new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert 0 < ids[0] < ids[-1] < 2**53


async def test_two_openings_of_one_ledger_never_give_the_same_id(tmp_path: Path) -> None:
    async with await Ledger.open(tmp_path / "l.db") as one, await Ledger.open(tmp_path / "l.db") as two:
        given = [ledger.new_id() for _ in range(1000) for ledger in (one, two)]
    assert len(set(given)) == len(given)


async def test_threads_that_use_a_counter_up_together_never_share_an_id(ledger: Ledger) -> None:
    end = ((ledger.new_id() >> 30) + 1) << 30
    ledger._ids._numbers = iter(range(end - 50, end))

    def take() -> list[int]:
        return [ledger.new_id() for _ in range(100)]

    taken = await asyncio.gather(*(asyncio.to_thread(take) for _ in range(4)))
    ids = [number for part in taken for number in part]
    assert len(set(ids)) == 400
    assert len({number >> 30 for number in ids}) == 2


async def test_a_used_up_counter_takes_another_writer_number(ledger: Ledger) -> None:
    first = ledger.new_id()
    ledger._ids._numbers = iter(())
    assert ledger.new_id() >> 30 == (first >> 30) + 1
