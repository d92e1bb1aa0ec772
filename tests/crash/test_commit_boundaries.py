"""Every commit of a run is the last one once: just before it, and just after it."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stagebook.testing.crash_client import Side
from stagebook.testing.crash_figures import Figures
from stagebook.testing.crash_many import Plan, try_many
from stagebook.testing.crash_trial import Blow, Case, Outcome, reference
from stagebook.testing.provider_process import ProviderProcess

SHARE_KILLED_AGAIN = 0.4
SIDES: tuple[Side, Side] = ("before", "after")


@pytest.mark.timeout(600)
def test_a_run_killed_beside_any_one_of_its_commits_pays_nothing_twice_and_loses_nothing(
    case: Callable[..., Case],
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    workers: int,
    seed: str,
    show: Callable[[str], None],
    tmp_path: Path,
) -> None:
    small, _ = reference(case(2, 2, 1), provider, tmp_path)
    reached: set[tuple[int, Side]] = set()

    def plans() -> Iterator[Plan]:
        number = 1
        while True:
            for side in SIDES:
                draw = random.Random(f"{seed}/{number}/{side}")
                blows = [Blow(commit=(number, side))]
                if draw.random() < SHARE_KILLED_AGAIN:
                    blows.append(Blow(commit=(draw.randint(1, number + 5), draw.choice(SIDES))))
                yield f"commit-{number}-{side}", blows
            number += 1

    def watch(_: Figures, outcome: Outcome) -> bool:
        """Go on until a run has no commit of that number any more."""
        if outcome.blows:
            side, _, number = outcome.blows[0].split()
            reached.add((int(number), "before" if side == "before" else "after"))
        return bool(outcome.blows)

    figures = try_many(small, plans(), tmp_path, workers=workers, watch=watch, provider_options=provider_options)
    show(figures.table(f"killed beside every commit ({len(reached)} places, seed {seed})"))
    assert figures.wrong == []
    assert len(reached) >= 2 * len(SIDES) * len(small.expected.calls)  # a call is two commits, sent and received
    assert figures.overdue == 0


@pytest.mark.timeout(300)
def test_a_run_killed_around_a_payload_that_is_a_file_pays_nothing_twice_and_loses_nothing(
    case: Callable[..., Case],
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    workers: int,
    show: Callable[[str], None],
    tmp_path: Path,
) -> None:
    large, _ = reference(case(1, 1, 1, appendix=900), provider, tmp_path)
    files = [path for path in (tmp_path / "undisturbed" / "blobs").rglob("*") if path.is_file()]
    assert len(files) == 1
    commits = len(large.expected.calls) * 2
    plans: Iterator[Plan] = (
        (f"commit-{number}", [Blow(commit=(number, SIDES[number % 2]))]) for number in range(commits // 2, commits + 10)
    )
    figures = try_many(large, plans, tmp_path, workers=workers, provider_options=provider_options)
    show(figures.table("killed around a payload that is a file"))
    assert figures.wrong == []
    assert figures.kills >= commits // 2
