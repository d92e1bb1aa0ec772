"""What a durable step costs: 10 trivial stages x 200 runs, one after the other or all at once, against bare commits.

Run with `make bench`. Each run makes ten outputs of 4 KB; every step waits until its output is durable (WAL,
synchronous=FULL). The bare commit writes one such row to a table of its own, with the same settings, on the same disk;
with `--at-once` it writes as many rows in one transaction as there are runs at once.
Prints one JSON line: medians of the repetitions, milliseconds, and their ratio.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel

from stagebook import Pipeline
from stagebook.cli.driving import look_for_garbage_seldom, loop_factory
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger

STAGES = 10
PAYLOAD = "0123456789abcdef" * 256


class Seed(BaseModel):
    """The input."""

    text: str


class Out(BaseModel):
    """What every stage makes: 4 KB."""

    text: str
    number: int


def declare() -> Pipeline:
    """Declare ten stages, each reading the one before."""
    pipeline = Pipeline("trivial", input=Seed)

    def first(seed: Seed) -> Out:
        return Out(text=seed.text, number=0)

    def following(before: Out) -> Out:
        return Out(text=before.text, number=before.number + 1)

    handle = pipeline.add(first, name="step-0")
    for number in range(1, STAGES):
        handle = pipeline.add(following, name=f"step-{number}", reads={"before": handle})
    return pipeline


async def ours(folder: Path, runs: int, *, at_once: bool) -> float:
    """Time our steps; milliseconds a step."""
    graph = declare().check()
    async with await Ledger.open(folder / "ledger.db") as ledger:
        site = Site(ledger, {})
        start = Start(graph, "bench", Seed(text=PAYLOAD), Settings())
        warm, claim = await begin_driven(start, site)
        await carry_on(warm, graph, site, claim=claim)

        async def one() -> None:
            run, claim = await begin_driven(start, site)
            ended = await carry_on(run, graph, site, claim=claim)
            if not ended.finished:
                raise SystemExit("a run did not finish")

        begun = time.perf_counter()
        if at_once:
            await asyncio.gather(*(one() for _ in range(runs)))
        else:
            for _ in range(runs):
                await one()
        return (time.perf_counter() - begun) * 1000 / (runs * STAGES)


def bare(folder: Path, rows: int, together: int) -> float:
    """Time bare commits of rows of the same size; milliseconds a row."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)")
    begun = time.perf_counter()
    for _ in range(rows // together):
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(together):
            connection.execute("INSERT INTO t (data) VALUES (?)", (PAYLOAD,))
        connection.execute("COMMIT")
    took = (time.perf_counter() - begun) * 1000 / rows
    connection.close()
    return took


def main() -> None:
    """Repeat, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--at-once", action="store_true", help="all runs at once")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to be measured")
    parser.add_argument("--core", type=int, help="pin to this core")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    look_for_garbage_seldom()  # both as the command does
    pairs = []
    for _ in range(chosen.repeat):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            folder = Path(name)
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                mine = runner.run(ours(folder, chosen.runs, at_once=chosen.at_once))
            pairs.append((mine, bare(folder, chosen.runs * STAGES, chosen.runs if chosen.at_once else 1)))
    step, commit = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(first / second for first, second in pairs)
    print(
        json.dumps(
            {
                "bench": "durable-steps",
                "runs": chosen.runs,
                "stages": STAGES,
                "at_once": chosen.at_once,
                "ms_per_step": round(step, 3),
                "ms_per_bare_commit": round(commit, 3),
                "ratio": round(ratio, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
