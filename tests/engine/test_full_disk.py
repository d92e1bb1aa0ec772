"""A ledger that cannot be written is not a step's failure."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from stagebook import Pipeline
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.sqlite.session import SqliteSession
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError
from stagebook.model.status import StepStatus


class Page(BaseModel):
    """An input and an output."""

    text: str


async def test_a_run_on_a_full_disk_ends_without_a_failed_step_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    book = Pipeline("book", input=Page)

    @book.stage()
    def long(page: Page) -> Page:
        return Page(text=page.text * 100_000)

    graph = book.check()
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        site = Site(ledger, {})
        run = await begin(Start(graph, "here", Page(text="x"), Settings()), site)
        session = ledger._database.session
        assert isinstance(session, SqliteSession)
        (pages,) = session._connection.execute("PRAGMA page_count").fetchone()
        session._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(LedgerError, match="full"):
            await carry_on(run, graph, site)
        session._connection.execute("PRAGMA max_page_count = 1000000")
        await ledger.write()
        assert all(step.status is not StepStatus.FAILED for step in await ledger.steps(run.id))
        ended = await carry_on(await ledger.run(run.run_id), graph, site)
        assert ended.finished
        assert not ended.failed
