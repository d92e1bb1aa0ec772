"""Provider batches: a run is killed beside every one of its commits, killed again, and held against the bill."""

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from stagebook.llm.batch_policy import BatchPolicy
from stagebook.model.status import ExchangeState
from stagebook.testing.crash_client import Errand, Side
from stagebook.testing.crash_clients import KILLED, Nursery
from stagebook.testing.crash_look import Look, look
from stagebook.testing.provider_bill import Bill
from stagebook.testing.provider_faults import BatchFaults
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script

CENSUS = Path(__file__).with_name("census.py")
RETRY = {"tries": 6, "base": 0.01, "cap": 0.02, "longest_asked": 1.0}
SWIFT = BatchPolicy(
    tick=0.002,
    calm=0.01,
    quiet=5.0,
    first_wait=0.005,
    growth=1.2,
    longest_wait=0.02,
    alone=0,
    arrival=3.0,
    settling=1.0,
)
SIDES: tuple[Side, Side] = ("before", "after")
MOST_DRIVES = 12
SHARE_AGAIN = 0.3
SCRIPT = Script(
    rules=(
        Rule(contains=("village 6?", "cannot be used"), fields={"heads": 12}),
        Rule(contains="village 6?", fields={"heads": -1}),
        Rule(contains="village", fields={"heads": 7}),
        Rule(contains="Add", fields={"words": "as many as there are"}),
    ),
    batches=BatchFaults(seconds=0.01, expire=(1,), cut_creations=(2,)),
)
"""The first batch expires half-way, the second is made but its creation is cut off, a complaint makes a third."""


class Censuses:
    """Begins and resumes runs, each in a folder of its own."""

    def __init__(self, provider: ProviderProcess, nursery: Nursery, folder: Path) -> None:
        self._provider = provider
        self._nursery = nursery
        self._folder = folder

    def take(self, name: str, model: str, kills: list[tuple[int, Side]]) -> "Census":
        """Drive a run to its end, killing its first drives beside one of their commits each."""
        folder = self._folder / name
        folder.mkdir()
        self._provider.use(SCRIPT)
        self._provider.reset()
        settings: dict[str, Any] = {"model": model, "provider_batch": True, "retry": RETRY, "batching": asdict(SWIFT)}
        codes = []
        for kill in [*kills, *[None] * MOST_DRIVES]:
            errand = Errand(
                ledger=folder / "ledger.db",
                pipeline=str(CENSUS),
                input=orjson.dumps({"villages": 6}),
                settings=orjson.dumps(settings),
                base_url=self._provider.base_url,
                kill_at=kill,
            )
            codes.append(self._nursery.start(errand, folder / "client.log").wait())
            if codes[-1] != KILLED:
                break
        assert codes[-1] == 0, (folder / "client.log").read_text()
        return Census(codes.count(KILLED), look(errand.ledger), self._provider.bill())


class Census:
    """A finished run: its ledger, and the bill."""

    def __init__(self, killed: int, last: Look, bill: Bill) -> None:
        self.killed = killed
        self.last = last
        self.bill = bill

    def wrong(self, undisturbed: "Census") -> list[str]:
        """Say what it paid twice, lost, or does not know."""
        found = [*self.last.untidy]
        lost = sum(call.state is ExchangeState.LOST for call in self.last.calls if call.stage == "total")
        found += [
            f"{entries[0].batch or 'a live call'}: {body} paid {len(entries)} times"
            for body, entries in self.bill.charged_again().items()
            if entries[0].batch or len(entries) > 1 + lost
        ]
        batched = sum(entry.cost for entry in self.bill.charged if entry.batch)
        recorded = sum(call.cost or 0 for call in self.last.calls if call.stage == "count")
        if recorded != batched:
            found.append(f"the ledger says that batches cost {recorded}, the bill {batched}")
        found += [
            f"exchange {call.id} is {call.state}"
            for call in self.last.calls
            if call.stage != "total" and call.state in {ExchangeState.SENT, ExchangeState.LOST}
        ]
        if dict(self.last.outputs) != dict(undisturbed.last.outputs):
            found.append("other outputs")
        return found


@pytest.fixture
def censuses(tmp_path: Path) -> Iterator[Censuses]:
    with ProviderProcess() as provider, Nursery() as nursery:
        yield Censuses(provider, nursery, tmp_path)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("model", "stride"), [("openai:gpt-4.1-mini", 2), ("anthropic:claude-haiku-4-5", 2)])
def test_batches_killed_beside_every_commit_are_submitted_once_and_paid_once(
    censuses: Censuses, show: Callable[[str], None], seed: str, model: str, stride: int
) -> None:
    """Before one commit and after the next; STAGEBOOK_SEED chooses which resumes are killed as well."""
    undisturbed = censuses.take("undisturbed", model, [])
    assert undisturbed.wrong(undisturbed) == []
    assert len({entry.batch for entry in undisturbed.bill.charged if entry.batch}) == 3
    wrong: dict[str, list[str]] = {}
    number, kills, late = 0, 0, 0
    while late < len(SIDES):
        number += stride
        side = SIDES[number // stride % len(SIDES)]
        draw = random.Random(f"{seed}/{number}/{side}")
        again: list[tuple[int, Side]] = [(draw.randint(1, 12), draw.choice(SIDES))] * (draw.random() < SHARE_AGAIN)
        census = censuses.take(f"{number}-{side}", model, [(number, side), *again])
        kills += census.killed
        late = 0 if census.killed else late + 1
        wrong |= {f"{side} commit {number}, then {again}": found} if (found := census.wrong(undisturbed)) else {}
    show(f"batches of {model}: {kills} kills beside {number - late * stride} commits, {len(wrong)} wrong")
    assert wrong == {}
    assert kills > 12
