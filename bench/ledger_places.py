"""What a durable step and a recorded call cost on each kind of ledger: SQLite, PostgreSQL, PostgreSQL behind a pooler.

The same units are written on each in turn, one after the other and 200 at once, and a payload of 2 MB, each awaited.
PostgreSQL is started here, on this disk, with fsync on. Prints one JSON line a ledger: wall clock and CPU time of this
process (the server's is its own), milliseconds a unit; medians of the repetitions.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from stagebook.ledger.facts import (
    ExchangeParsed,
    ExchangeReceived,
    ExchangeSent,
    Fact,
    OutputMade,
    StepEnded,
    StepStarted,
)
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request, content_hash
from stagebook.model.records import NewRun
from stagebook.model.status import StepStatus
from stagebook.model.usage import Charge, Usage
from stagebook.testing.pooler_process import PoolerProcess, program
from stagebook.testing.postgres_process import PostgresProcess

DATA = json.dumps({"text": "x" * 4000}).encode()
HASH = content_hash(DATA)
CHARGE = Charge(Usage(100, 20), b'{"prompt_tokens":100}', 1, "1", "bench", "m", "stop")


class Units:
    """Writes whole steps and whole calls of one run."""

    def __init__(self, ledger: Ledger, run: int, fence: int) -> None:
        self._ledger = ledger
        self._run = run
        self._fence = fence

    def facts(self) -> tuple[Fact, ...]:
        """A whole step."""
        step, at = self._ledger.new_id(), time.time_ns() // 1000
        return (
            StepStarted(step, self._run, "label", str(step), self._fence, 1, HASH, b"{}", at),
            OutputMade(self._ledger.new_id(), self._run, step, "label", str(step), DATA, HASH, "stage", at),
            StepEnded(step, self._run, self._fence, 1, StepStatus.COMPLETED, at),
        )

    async def step(self) -> None:
        """Write a step, durable."""
        await self._ledger.write(*self.facts())

    async def call(self) -> None:
        """Write a call as the door does: durable before it is sent, and before its answer is read."""
        at, number = time.time_ns() // 1000, self._ledger.new_id()
        body = b'{"messages":["' + os.urandom(200).hex().encode() + b'"]}'
        request = Request("POST", "https://api.test/v1", (body,), kind="model", provider="p", model="m")
        sent = ExchangeSent(
            *(number, self._run, None, 1, 0, 1, "model", "p", "m", "POST", request.url, b"{}", request.digest()),
            *(request.segments, at, at),
        )
        await self._ledger.write(sent)
        await self._ledger.write(ExchangeReceived(number, 200, b"{}", body + b"answer", CHARGE, at))
        self._ledger.follow(ExchangeParsed(number, None, at))

    async def large(self) -> None:
        """Store 2 MB that cannot be packed."""
        number, at = self._ledger.new_id(), time.time_ns() // 1000
        request = Request("GET", "https://page.test", ())
        sent = ExchangeSent(
            *(number, self._run, None, 1, 0, 1, "http", None, None, "GET", request.url, b"{}", request.digest()),
            *((), at, at),
        )
        await self._ledger.write(sent, ExchangeReceived(number, 200, b"{}", os.urandom(2_000_000), None, at))


async def timed(work: Callable[[], Awaitable[None]], count: int, at_once: int) -> tuple[float, float]:
    """Do something many times; milliseconds of wall clock and of CPU, each."""
    wall, used = time.perf_counter(), cpu()

    async def some() -> None:
        for _ in range(count // at_once):
            await work()

    await asyncio.gather(*(some() for _ in range(at_once)))
    return (time.perf_counter() - wall) * 1000 / count, (cpu() - used) * 1000 / count


def cpu() -> float:
    """Seconds that this process has computed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(place: str, repeat: int) -> dict[str, float]:
    """Measure one ledger."""
    found: dict[str, list[float]] = {}
    async with await Ledger.open(place) as ledger:
        run, claim = await ledger.begin_run(NewRun("bench", b'{"stages":[{"name":"label"}]}', "bench", b"{}", b"{}"))
        units = Units(ledger, run.id, claim.fence)
        for number in range(repeat + 1):
            for name, work, count, at_once in (
                ("step", units.step, 300, 1),
                ("step_at_once", units.step, 4000, 200),
                ("call_at_once", units.call, 4000, 200),
                ("large", units.large, 10, 1),
            ):
                wall, used = await timed(work, count, at_once)
                if number:  # the first time warms up
                    found.setdefault(f"{name}_ms", []).append(wall)
                    found.setdefault(f"{name}_cpu_ms", []).append(used)
    return {name: round(statistics.median(values), 4) for name, values in found.items()}


def main() -> None:
    """Measure all, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgresProcess(folder / "data", fsync="on")
        server.start()
        places = {"sqlite": str(folder / "ledger.db"), "postgresql": f"{server.address}?schema=direct"}
        pooler = None
        if program() is not None:
            (folder / "pooler").mkdir()
            pooler = PoolerProcess(folder / "pooler", server)
            places["pgbouncer"] = f"{pooler.address}?schema=pooled"
        try:
            for kind, place in places.items():
                print(
                    json.dumps({"bench": "ledger_places", "ledger": kind, **asyncio.run(measure(place, chosen.repeat))})
                )
        finally:
            if pooler is not None:
                pooler.stop()
            server.stop()


if __name__ == "__main__":
    main()
