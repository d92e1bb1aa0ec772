"""Peak memory of a mapped stage over very many items: the memory that the process had at most, beyond its start.

Run with `make bench`. A stage yields the items (each of 200 bytes), a mapped stage computes one output for each, and a
last one reads them all one by one (`Rows`). Prints one JSON line: megabytes, and steps a second.
"""

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from stagebook import Key, Pipeline, Rows
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger


class Count(BaseModel):
    """The input."""

    items: int


class Page(BaseModel):
    """One item."""

    number: Annotated[int, Key]
    text: str


class Length(BaseModel):
    """What is made of it."""

    characters: int


class Total(BaseModel):
    """What is made of all."""

    characters: int


def declare() -> Pipeline:
    """Declare items, one stage over them, and one that reads all."""
    book = Pipeline("items", input=Count)

    @book.stage()
    def pages(given: Count) -> Iterator[Page]:
        for number in range(given.items):
            yield Page(number=number, text=f"{number:08d} " * 20)

    @book.stage(each=Page)
    def measure(page: Page) -> Length:
        return Length(characters=len(page.text))

    @book.stage()
    async def total(lengths: Rows[Length]) -> Total:
        return Total(characters=sum([length.characters async for length in lengths]))

    return book


def peak() -> float:
    """Megabytes that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run(folder: Path, items: int) -> None:
    """Run it."""
    graph = declare().check()
    async with await Ledger.open(folder / "ledger.db") as ledger:
        start = Start(graph, "bench", Count(items=items), Settings(concurrency=64))
        new, claim = await begin_driven(start, Site(ledger, {}))
        ended = await carry_on(new, graph, Site(ledger, {}), claim=claim)
        made = await ledger.output_of(new.id, "total", "")
        if not ended.finished or made is None or json.loads(made)["characters"] != items * 180:
            raise SystemExit("the run did not come to the right end")


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--core", type=int, help="pin to this core")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    before, begun = peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name), chosen.items))
    print(
        json.dumps(
            {
                "bench": "items",
                "items": chosen.items,
                "peak_mb": round(peak()),
                "at_start_mb": round(before),
                "steps_per_second": round(chosen.items / (time.perf_counter() - begun)),
            }
        )
    )


if __name__ == "__main__":
    main()
