"""Runs killed at random moments, by a process outside: KILLS=10000 (`make chaos`) for many, 200 otherwise."""

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stagebook.testing.crash_figures import Figures
from stagebook.testing.crash_many import Plan, try_many
from stagebook.testing.crash_trial import Beginner, Case, Outcome, commanded, forked, random_blows, reference
from stagebook.testing.provider_process import ProviderProcess

KILLS = int(os.environ.get("KILLS", "200"))
COMMANDED_SHARE = 0.05
"""Of the kills, those that hit the real `stagebook` command; the others hit processes forked from a warm parent."""
KILLED_AGAIN = 0.6
STARTING = 0.2
"""Of the kills, those whose moment counts from the process's start."""
TELL_EVERY = 500


@pytest.mark.timeout(0 if KILLS > 1000 else 600)
@pytest.mark.parametrize(
    ("beginner", "share"), [(forked, 1 - COMMANDED_SHARE), (commanded, COMMANDED_SHARE)], ids=["forked", "command"]
)
def test_runs_killed_at_random_moments_pay_nothing_twice_and_lose_nothing(
    beginner: Beginner,
    share: float,
    case: Callable[..., Case],
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    workers: int,
    seed: str,
    show: Callable[[str], None],
    tmp_path: Path,
) -> None:
    wanted = round(KILLS * share)
    chosen, seconds = reference(case(3, 2, 6, for_the_command=beginner is commanded), provider, tmp_path, beginner)
    began = time.monotonic()

    def plans() -> Iterator[Plan]:
        for number in itertools.count(1):
            draw = random.Random(f"{seed}/{number}")
            yield f"trial-{number}", random_blows(draw, seconds, again=KILLED_AGAIN, starting=STARTING)

    def watch(figures: Figures, outcome: Outcome) -> bool:
        if figures.kills // TELL_EVERY > (figures.kills - len(outcome.blows)) // TELL_EVERY:
            show(f"{figures.kills} kills, {len(figures.wrong)} wrong, {time.monotonic() - began:.0f} s")
        return figures.kills < wanted

    figures = try_many(
        chosen, plans(), tmp_path, workers=workers, beginner=beginner, watch=watch, provider_options=provider_options
    )
    title = f"killed at random moments, {beginner.__name__} (seed {seed}, {time.monotonic() - began:.0f} s)"
    show(figures.table(title))
    assert figures.wrong == []
    assert figures.kills >= wanted
    assert figures.calls > figures.trials
    assert figures.overdue == 0
