"""Mapped prompt calls per second, as a share of bare aiohttp in the same run: 256 at once, answers after 20 ms.

Run with `make bench`. The client is on one core, a mock provider (`bench/mock_provider.py`, uvloop) on the other. Bare
aiohttp sends the same bodies and reads the answers, nothing more, on asyncio's own loop; beside it is told what it does
on uvloop, which the command uses. We render a template per item, write request and answer durably (synchronous=FULL)
before anyone reads, validate by a model, price, and keep an output per item. The ledger's bytes are counted after a
checkpoint, against the bytes of requests, answers and outputs (the pages that the first stage yields are outputs, too).
Prints one JSON line: medians of the repetitions.
"""

import argparse
import asyncio
import functools
import json
import os
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import aiohttp
from pydantic import BaseModel, Field

from stagebook import Key, Pipeline
from stagebook.cli.driving import look_for_garbage_seldom, loop_factory
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger

TEMPLATE = """\
Label the following page. Say whether it is a boundary, how sure you are, and why.

{{ page.text }}
"""
SHARED = """\
This is the book that the page comes from:

{{ book.context }}

Label the following page. Say whether it is a boundary, how sure you are, and why.

{{ page.text }}
"""


class Book(BaseModel):
    """The input."""

    pages: int
    context: str = ""


class Page(BaseModel):
    """One item."""

    number: Annotated[str, Key]
    text: str


class Label(BaseModel):
    """What the model answers."""

    label: str = Field(description="boundary or plain")
    score: int = Field(ge=0, le=10)
    reason: str = Field(max_length=2000)


@functools.cache  # made before anything is timed, for bare aiohttp and for us
def text_of(number: int) -> str:
    """Make the 2 KB of one page; no two are alike."""
    words = (f"{(number * 7919 + k * 104729) % 9999991:07d}" for k in range(230))
    return f"page {number}: {' '.join(words)}"


def declare(folder: Path, *, shared: bool) -> Pipeline:
    """Declare pages, and a prompt for each."""
    (folder / "label.md").write_text(SHARED if shared else TEMPLATE)
    book = Pipeline("bench", input=Book, templates=folder)

    @book.stage()
    def pages(book: Book) -> Iterator[Page]:
        for number in range(book.pages):
            yield Page(number=str(number), text=text_of(number))

    def with_context(page: Page, book: Book) -> None: ...

    def alone(page: Page) -> None: ...

    asked = with_context if shared else alone
    book.add(asked, name="label", each=Page, template="label", returns=Label, model="openai:gpt-4.1-mini")
    return book


class Provider:
    """The mock in its process."""

    def __init__(self, core: int | None) -> None:
        command = [sys.executable, str(Path(__file__).with_name("mock_provider.py"))]
        self._process = subprocess.Popen(
            command + ([] if core is None else ["--core", str(core)]), stdout=subprocess.PIPE, text=True
        )
        told = self._process.stdout.readline() if self._process.stdout is not None else ""
        self.url = f"http://127.0.0.1:{int(told)}/v1"

    def cpu(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=10)


async def bare(provider: Provider, bodies: list[bytes], at_once: int) -> dict[str, float]:
    """Send bodies with nothing but aiohttp."""
    left = iter(bodies)

    async def worker(session: aiohttp.ClientSession) -> None:
        for body in left:
            async with session.post(f"{provider.url}/chat/completions", data=body) as answer:
                await answer.read()

    connector = aiohttp.TCPConnector(limit=at_once)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer x"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        return await timed(provider, len(bodies), asyncio.gather(*(worker(session) for _ in range(at_once))))


async def timed(provider: Provider, calls: int, work: Any) -> dict[str, float]:
    """Time something; calls a second, client CPU per 1,000 calls, and how busy the mock was."""
    begun, cpu, theirs = time.perf_counter(), time.process_time(), provider.cpu()
    await work
    took = time.perf_counter() - begun
    return {
        "calls_per_second": calls / took,
        "cpu_per_1000": (time.process_time() - cpu) / calls * 1000,
        "mock_busy": (provider.cpu() - theirs) / took,
    }


async def ours(provider: Provider, folder: Path, calls: int, at_once: int, *, context: str) -> dict[str, float]:
    """Run the pipeline."""
    graph = declare(folder, shared=bool(context)).check()
    environment = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "x"}
    path = folder / "ledger.db"
    async with await Ledger.open(path) as ledger:
        site = Site(ledger, environment)
        start = Start(graph, "bench", Book(pages=calls, context=context), Settings(concurrency=at_once))
        run, claim = await begin_driven(start, site)
        figures = await timed(provider, calls, carry_on(run, graph, site, claim=claim))
        (row,) = (await ledger.query("SELECT count(*) FROM steps WHERE status = 'completed'")).rows
        if row[0] != calls + 1:
            raise SystemExit(f"{row[0]} steps completed of {calls + 1}")
    figures["kept"] = kept(path)
    return figures


def kept(path: Path) -> float:
    """Bytes of the ledger, of those of requests, answers and outputs."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (requests,) = connection.execute("SELECT sum(request_size) FROM exchanges").fetchone()
    (answers,) = connection.execute(
        "SELECT sum(p.size) FROM exchanges AS e JOIN payloads AS p ON p.hash = e.response"
    ).fetchone()
    (outputs,) = connection.execute("SELECT sum(size) FROM outputs").fetchone()
    connection.close()
    blobs = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file() and "blobs" in file.parts)
    return (path.stat().st_size + blobs) / (requests + answers + outputs)


def requests(calls: int) -> list[bytes]:
    """Make the bodies that bare aiohttp sends: those of our first call, with each page in turn."""
    bodies = []
    for number in range(calls):
        text = TEMPLATE.replace("{{ page.text }}", text_of(number))
        bodies.append(
            json.dumps(
                {
                    "model": "gpt-4.1-mini",
                    "messages": [{"role": "user", "content": text}],
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "Label", "strict": True, "schema": Label.model_json_schema()},
                    },
                }
            ).encode()
        )
    return bodies


def main() -> None:
    """Repeat, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--core", type=int, help="pin the client to this core")
    parser.add_argument("--mock-core", type=int, help="pin the mock to this one")
    parser.add_argument("--shared", type=int, default=0, metavar="BYTES", help="a context that every prompt repeats")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    look_for_garbage_seldom()  # as the command does; it helps bare aiohttp as well
    context = " ".join(f"{k * 7919 % 10007:05d}" for k in range(chosen.shared // 6))
    pairs = []
    for _ in range(chosen.repeat):
        with tempfile.TemporaryDirectory() as name:
            folder, provider = Path(name), Provider(chosen.mock_core)
            try:
                bodies = requests(chosen.calls)
                first = asyncio.run(bare(provider, bodies, chosen.at_once))
                with asyncio.Runner(loop_factory=loop_factory()) as runner:  # as the command does
                    third = runner.run(bare(provider, bodies, chosen.at_once))
                    second = runner.run(ours(provider, folder, chosen.calls, chosen.at_once, context=context))
                pairs.append((first, second, third))
            finally:
                provider.stop()
    limit = {key: statistics.median(one[0][key] for one in pairs) for key in pairs[0][0]}
    mine = {key: statistics.median(one[1][key] for one in pairs) for key in pairs[0][1]}
    faster = {key: statistics.median(one[2][key] for one in pairs) for key in pairs[0][2]}
    ratio = statistics.median(one[1]["calls_per_second"] / one[0]["calls_per_second"] for one in pairs)
    print(
        json.dumps(
            {
                "bench": "calls",
                "calls": chosen.calls,
                "at_once": chosen.at_once,
                "shared_context": chosen.shared,
                "of_aiohttp": round(ratio, 3),
                **{key: round(value, 3) for key, value in mine.items()},
                "cpu_of_aiohttp": round(mine["cpu_per_1000"] / limit["cpu_per_1000"], 2),
                "aiohttp": {key: round(value, 3) for key, value in limit.items()},
                "aiohttp_on_uvloop": {key: round(value, 3) for key, value in faster.items()},
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main()
