"""Jobs, tools and stand-ins: a run is killed beside every one of its commits, resumed, and held against the bill."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from stagebook.model.status import ExchangeState
from stagebook.testing.crash_client import Errand, Side
from stagebook.testing.crash_clients import KILLED, Nursery
from stagebook.testing.crash_look import Look, look
from stagebook.testing.crash_trial import settled
from stagebook.testing.provider_bill import Bill
from stagebook.testing.provider_faults import Delay, ErrorStatus
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script, ScriptedCall

ITINERARY = Path(__file__).with_name("itinerary.py")
RETRY = {"tries": 2, "base": 0.01, "cap": 0.02, "longest_asked": 1.0}
HOTELS = ("Sun", "Moon")
SIDES: tuple[Side, Side] = ("before", "after")
SCRIPT = Script(
    rules=(
        Rule(model="gpt-4.1-nano", faults=(ErrorStatus(status=503),)),
        Rule(contains="What stands in", fields={"name": "a gate"}, faults=(Delay(seconds=0.05, nth=(1,)),)),
        Rule(
            contains="Find a bed",
            calls=tuple((ScriptedCall(name="vacancies", arguments={"hotel": hotel}),) for hotel in HOTELS),
            fields={"hotel": "Sun"},
            reasoning_tokens=3,
        ),
        Rule(contains=("Judge", "yes or no"), answer={"word": "yes"}),
        Rule(contains="Judge", answer={"word": "perhaps"}),
    )
)


class Journeys:
    """Begins and resumes journeys, each in a folder of its own."""

    def __init__(self, provider: ProviderProcess, nursery: Nursery, folder: Path) -> None:
        self._provider = provider
        self._nursery = nursery
        self._folder = folder

    def make(self, name: str, kill_at: tuple[int, Side] | None) -> "Journey":
        """Drive a run to its end, killing the first drive beside one of its commits."""
        folder = self._folder / name
        folder.mkdir()
        self._provider.use(SCRIPT)
        self._provider.reset()
        looks, codes = [], []
        for kill in (kill_at, None):
            errand = Errand(
                ledger=folder / "ledger.db",
                pipeline=str(ITINERARY),
                input=orjson.dumps({"town": "Bern", "visits": str(folder / "visits")}),
                settings=orjson.dumps({"concurrency": 1, "retry": RETRY}),
                base_url=self._provider.base_url,
                kill_at=kill,
            )
            codes.append(self._nursery.start(errand, folder / "client.log").wait())
            looks.append(look(errand.ledger))
            if codes[-1] != KILLED:
                break
        assert codes[-1] == 0, (folder / "client.log").read_text()
        visits = (folder / "visits").read_text().split()
        return Journey(codes[0] == KILLED, looks, settled(self._provider), visits)


class Journey:
    """A finished run: its ledger after each drive, the bill, and which hotels the tool was called for."""

    def __init__(self, killed: bool, looks: list[Look], bill: Bill, visits: list[str]) -> None:  # noqa: FBT001  a record
        self.killed = killed
        self.looks = looks
        self.bill = bill
        self.visits = visits

    @property
    def last(self) -> Look:
        return self.looks[-1]

    def wrong(self, undisturbed: "Journey") -> list[str]:
        """Say what it paid twice, lost, or did again."""
        found = [*self.last.untidy]
        lost = Counter(call.sha256 for call in self.last.calls if call.state is ExchangeState.LOST)
        charged = Counter(entry.sha256 for entry in self.bill.charged)
        found += [f"{body} paid {times} times" for body, times in charged.items() if times > 1 + lost[body]]
        prices = {entry.sha256: entry.cost for entry in self.bill.charged}
        recorded = sum(call.cost or 0 for call in self.last.calls)
        if recorded != sum(prices.values()):
            found.append(f"the ledger says {recorded}, one answer to each request is {sum(prices.values())}")
        if dict(self.last.outputs) != dict(undisturbed.last.outputs):
            found.append("other outputs")
        found += [f"{hotel} asked for {times} times" for hotel, times in self.again(lost.total()).items()]
        if self.last.told > 1:
            found.append(f"{self.last.told} calls possibly paid at one kill of one call at a time")
        return found

    def again(self, lost: int) -> dict[str, int]:
        """Name what the tool did more than once without the ledger saying so."""
        return {hotel: times for hotel, times in Counter(self.visits).items() if times > 1 + lost}


@pytest.fixture
def journeys(tmp_path: Path) -> Iterator[Journeys]:
    with ProviderProcess() as provider, Nursery() as nursery:
        yield Journeys(provider, nursery, tmp_path)


@pytest.mark.timeout(600)
def test_jobs_tools_and_stand_ins_killed_beside_every_commit_pay_nothing_twice(
    journeys: Journeys, show: Callable[[str], None]
) -> None:
    undisturbed = journeys.make("undisturbed", None)
    assert undisturbed.wrong(undisturbed) == []
    assert undisturbed.visits == list(HOTELS)
    kinds = Counter(call.kind for call in undisturbed.last.calls)
    assert kinds["tool"] == 2
    assert kinds["poll"] >= 2
    wrong: dict[str, list[str]] = {}
    kills = number = 0
    while number == 0 or kills >= number * len(SIDES):
        number += 1
        for side in SIDES:
            journey = journeys.make(f"{number}-{side}", (number, side))
            kills += journey.killed
            wrong |= {f"{side} commit {number}": found} if (found := journey.wrong(undisturbed)) else {}
            first, last = journey.looks[0], journey.last
            if any(call.answered and call.stage == "verdict" for call in first.calls):
                refused = [call.status for call in last.calls[len(first.calls) :]]
                assert 503 not in refused, f"{side} commit {number}: the first model was asked again"
    show(f"jobs, tools and a stand-in: killed beside {kills // len(SIDES)} commits, {len(wrong)} wrong")
    assert wrong == {}
    assert kills >= 2 * len(undisturbed.last.calls)
