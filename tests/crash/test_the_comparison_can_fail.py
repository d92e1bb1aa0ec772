"""The same trials with a Stagebook that is broken on purpose: each break must show in the figure that stands for it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from stagebook.testing.crash_client import Errand
from stagebook.testing.crash_clients import Spawned, Started
from stagebook.testing.crash_figures import Figures
from stagebook.testing.crash_look import Look
from stagebook.testing.crash_many import Plan, try_many
from stagebook.testing.crash_trial import Beginner, Blow, Case, Outcome, reference
from stagebook.testing.provider_process import ProviderProcess

BROKEN = Path(__file__).with_name("broken_client.py")


def broken(how: str) -> Beginner:
    """A client that is broken in one way."""

    def start(errand: Errand, log: Path, _: Look) -> Started:
        number, side = errand.kill_at or (0, "after")
        given = [str(errand.ledger), errand.pipeline, errand.input.decode(), errand.settings.decode(), errand.base_url]
        return Spawned([sys.executable, str(BROKEN), how, *given, str(number), side], errand.base_url, log)

    return lambda: nullcontext(start)


@pytest.mark.parametrize(
    ("how", "figures_wanted"),
    [
        ("forgets-answers", ("paid_twice", "sent_again")),
        ("mixes-samples", ("answers_missing",)),
        ("sends-unwritten", ("stowaways",)),
    ],
)
@pytest.mark.timeout(300)
def test_a_broken_stagebook_is_noticed(
    how: str,
    figures_wanted: tuple[str, ...],
    case: Callable[..., Case],
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    workers: int,
    tmp_path: Path,
) -> None:
    small, _ = reference(case(1, 2, 2), provider, tmp_path)

    def noticed(figures: Figures) -> bool:
        return all(getattr(figures, name) > 0 for name in figures_wanted)

    def watch(figures: Figures, outcome: Outcome) -> bool:
        """Go on until it is noticed, or until a run has no such commit."""
        return bool(outcome.blows) and not noticed(figures)

    # every commit from the middle on: only a kill between the answers of two samples can mix them up
    numbers = range(len(small.expected.calls), 200)
    plans: Iterator[Plan] = ((f"commit-{number}", [Blow(commit=(number, "before"))]) for number in numbers)
    figures = try_many(
        small, plans, tmp_path, workers=workers, beginner=broken(how), watch=watch, provider_options=provider_options
    )
    assert noticed(figures), figures.table(how)
    assert figures.wrong != []
