"""Every commit of a stage that sends by `door.httpx2_client()` is the last one once: just before it, just after it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from stagebook.testing.crash_client import Errand, Side, settings_for_trials
from stagebook.testing.crash_figures import Figures
from stagebook.testing.crash_many import Plan, try_many
from stagebook.testing.crash_trial import Blow, Case, Outcome, reference
from stagebook.testing.provider_faults import Cut, ErrorStatus
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script

CORRESPONDENCE = Path(__file__).with_name("correspondence.py")
QUESTIONS = 3
SAMPLES = 3
SIDES: tuple[Side, Side] = ("before", "after")
SCRIPT = Script(
    rules=(
        Rule(contains="Propose a title"),
        Rule(contains="Question", faults=(ErrorStatus(status=503, nth=(2,)), Cut(nth=(3,), charged=True))),
    )
)


@pytest.mark.timeout(300)
def test_a_stage_that_sends_as_sdks_do_pays_nothing_twice_wherever_it_is_killed(
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    workers: int,
    show: Callable[[str], None],
    tmp_path: Path,
) -> None:
    errand = Errand(
        ledger=Path(),
        pipeline=str(CORRESPONDENCE),
        input=orjson.dumps({"questions": QUESTIONS, "server": "SERVER"}),
        settings=settings_for_trials(1, 5.0),
        base_url="",
    )
    case, _ = reference(Case(errand, SCRIPT, most_at_once=SAMPLES), provider, tmp_path)
    assert len(case.expected.calls) == QUESTIONS + SAMPLES
    reached: set[str] = set()

    def plans() -> Iterator[Plan]:
        number = 1
        while True:
            for side in SIDES:
                yield f"commit-{number}-{side}", [Blow(commit=(number, side))]
            number += 1

    def watch(_: Figures, outcome: Outcome) -> bool:
        """Go on until a run has no commit of that number any more."""
        reached.update(outcome.blows)
        return bool(outcome.blows)

    figures = try_many(case, plans(), tmp_path, workers=workers, watch=watch, provider_options=provider_options)
    show(figures.table(f"a stage that sends as SDKs do, killed beside every commit ({len(reached)} places)"))
    assert figures.wrong == []
    assert len(reached) >= 2 * len(SIDES) * QUESTIONS  # a call is two commits, sent and received
