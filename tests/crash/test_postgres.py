"""Runs whose ledger is in PostgreSQL, killed while the server is killed, too: KILLS=10000 (`make chaos`) for many."""

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stagebook.testing.crash_figures import Figures
from stagebook.testing.crash_many import Plan, try_many
from stagebook.testing.crash_trial import Blow, Case, Outcome, forked, random_blows, reference
from stagebook.testing.postgres_process import PostgresProcess
from stagebook.testing.provider_process import ProviderProcess

KILLS = int(os.environ.get("KILLS", "200")) // 20
COMMITS = 6
"""Commits beside which a run is killed; every one of SQLite's is tried elsewhere."""


@pytest.mark.timeout(0 if KILLS > 100 else 600)
def test_runs_killed_while_the_server_is_restarted_pay_nothing_twice_and_lose_nothing(
    case: Callable[..., Case],
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    postgres_server: PostgresProcess,
    restarted_server: str,
    workers: int,
    seed: str,
    show: Callable[[str], None],
    tmp_path: Path,
) -> None:
    calm = replace(case(3, 2, 6), server=postgres_server.address)
    chosen, seconds = reference(calm, provider, tmp_path)
    began = time.monotonic()

    def plans() -> Iterator[Plan]:
        for number in itertools.count(1):
            draw = random.Random(f"{seed}/{number}")
            yield f"trial-{number}", random_blows(draw, seconds, again=0.6, starting=0.2)

    def watch(figures: Figures, _: Outcome) -> bool:
        return figures.kills < KILLS

    figures = try_many(
        replace(chosen, server=restarted_server),
        plans(),
        tmp_path,
        workers=min(2, workers),
        beginner=forked,
        watch=watch,
        provider_options=provider_options,
    )
    show(figures.table(f"killed on PostgreSQL, restarted meanwhile (seed {seed}, {time.monotonic() - began:.0f} s)"))
    assert figures.wrong == []
    assert figures.kills >= KILLS


@pytest.mark.timeout(600)
def test_a_run_killed_beside_a_commit_to_postgresql_pays_nothing_twice_and_loses_nothing(
    case: Callable[..., Case],
    provider: ProviderProcess,
    provider_options: tuple[str, ...],
    postgres_server: PostgresProcess,
    seed: str,
    tmp_path: Path,
) -> None:
    small, _ = reference(replace(case(2, 2, 1), server=postgres_server.address), provider, tmp_path)
    draw = random.Random(seed)
    chosen = draw.sample([(number, side) for number in range(1, 40) for side in ("before", "after")], COMMITS)
    plans = ((f"commit-{number}-{side}", [Blow(commit=(number, side))]) for number, side in chosen)
    figures = try_many(
        small, plans, tmp_path, workers=2, beginner=forked, watch=lambda *_: True, provider_options=provider_options
    )
    assert figures.wrong == []
    assert figures.kills >= COMMITS // 2
