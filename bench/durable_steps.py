"""What a durable step costs: 10 trivial stages x 200 runs, one after the other, against a bare commit in this process.

Run with `make bench`. Each run makes ten outputs of 4 KB; every step waits until its output is durable (WAL,
synchronous=FULL). The bare commit writes one such row to a table of its own, with the same settings, on the same disk.
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


async def ours(folder: Path, runs: int) -> float:
    """Time our steps; milliseconds a step."""
    graph = declare().check()
    async with await Ledger.open(folder / "ledger.db") as ledger:
        site = Site(ledger, {})
        start = Start(graph, "bench", Seed(text=PAYLOAD), Settings())
        warm, claim = await begin_driven(start, site)
        await carry_on(warm, graph, site, claim=claim)
        begun = time.perf_counter()
        for _ in range(runs):
            run, claim = await begin_driven(start, site)
            ended = await carry_on(run, graph, site, claim=claim)
            if not ended.finished:
                raise SystemExit("a run did not finish")
        return (time.perf_counter() - begun) * 1000 / (runs * STAGES)


def bare(folder: Path, commits: int) -> float:
    """Time a bare commit of one row of the same size; milliseconds."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)")
    begun = time.perf_counter()
    for _ in range(commits):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t (data) VALUES (?)", (PAYLOAD,))
        connection.execute("COMMIT")
    took = (time.perf_counter() - begun) * 1000 / commits
    connection.close()
    return took


def main() -> None:
    """Repeat, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to be measured")
    parser.add_argument("--core", type=int, help="pin to this core")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    pairs = []
    for _ in range(chosen.repeat):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            folder = Path(name)
            pairs.append((asyncio.run(ours(folder, chosen.runs)), bare(folder, chosen.runs * STAGES)))
    step, commit = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    print(
        json.dumps(
            {
                "bench": "durable-steps",
                "runs": chosen.runs,
                "stages": STAGES,
                "ms_per_step": round(step, 3),
                "ms_per_bare_commit": round(commit, 3),
                "ratio": round(ratio, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
