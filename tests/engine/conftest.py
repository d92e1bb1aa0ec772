from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import Pipeline
from stagebook.door.retry import RetryPolicy
from stagebook.engine.drive import Ended, Stop
from stagebook.engine.progress import Progress
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.model.records import Run
from stagebook.testing.provider import FakeProvider

QUICK = RetryPolicy(tries=4, base=0.02, cap=0.05)


class Bench:
    """A ledger, a provider and shortcuts to run pipelines between them."""

    def __init__(self, ledger: Ledger, provider: FakeProvider) -> None:
        self.ledger = ledger
        self.provider = provider
        environment = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "sk-fake-key-of-the-tests",
            "ANTHROPIC_BASE_URL": provider.url,
            "ANTHROPIC_API_KEY": "sk-ant-fake-key-of-the-tests",
        }
        self.site = Site(ledger, environment, public_only=False)

    async def begin(self, pipeline: Pipeline, given: BaseModel, **settings: Any) -> Run:
        chosen = Settings(**{"retry": QUICK, **settings})
        return await begin(Start(pipeline.check(), "test", given, chosen), self.site)

    async def carry_on(
        self, run: Run, pipeline: Pipeline, stop: Stop | None = None, progress: Progress | None = None
    ) -> Ended:
        return await carry_on(run, pipeline.check(), self.site, stop=stop, progress=progress)

    async def run(self, pipeline: Pipeline, given: BaseModel, **settings: Any) -> tuple[Run, Ended]:
        run = await self.begin(pipeline, given, **settings)
        return run, await self.carry_on(run, pipeline)

    async def outputs(self, run: Run, stage: str) -> dict[str, bytes]:
        found = await self.ledger.outputs(run.id)
        return {ref.item: await self.ledger.output_data(ref.id) for ref in found if ref.stage == stage}

    async def steps(self, run: Run) -> dict[tuple[str, str], str]:
        return {(step.stage, step.item): step.status.value for step in await self.ledger.steps(run.id)}

    async def reasons(self, run: Run) -> dict[str, str]:
        return {step.stage: step.reason or "" for step in await self.ledger.steps(run.id)}

    async def cost(self, run: Run) -> int:
        table = await self.ledger.query(f"select coalesce(sum(cost), 0) from exchanges where run = {run.id}")  # noqa: S608
        return int(table.rows[0][0])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with FakeProvider() as provider, await Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Bench(ledger, provider)
