"""What the ledger itself costs, without an engine: a trivial durable step, grouped throughput, and requests' bytes.

- A unit is what a trivial step writes: started, one output, ended. It is awaited one after the other and compared with
  a bare commit of one row in the same process, on the same disk, with the same settings (WAL, synchronous=FULL); the
  two take turns, so that both meet the same load.
- Grouped: 200 writers at once, each awaiting its own units; four rows a unit.
- Requests: windows of numbered sentences of a transcript are asked about by ten stages; what is kept of their bytes.

Prints one JSON line: milliseconds, rows a second, and parts of one.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import orjson

from stagebook.ledger.facts import ExchangeSent, Fact, OutputMade, StepEnded, StepStarted
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request, content_hash
from stagebook.model.records import NewRun, Run
from stagebook.model.status import StepStatus

TURN = 20
ROWS_A_UNIT = 4
STAGES = 10
WINDOW = 6000


class Steps:
    """Makes the units of trivial steps.

    Args:
        ledger: Where they go.
        size: Bytes of each output.
    """

    def __init__(self, ledger: Ledger, size: int) -> None:
        self._ledger = ledger
        self._data = orjson.dumps({"text": "x" * size})
        self._hash = content_hash(self._data)
        self.run: Run
        self._fence = 0

    async def begin(self, given: bytes = b"{}") -> None:
        """Create a run and claim it."""
        new = NewRun("bench", b'{"stages":[{"name":"label"}]}', "bench", given, b"{}")
        self.run = await self._ledger.create_run(new)
        self._fence = (await self._ledger.claim(self.run.run_id)).fence

    def unit(self, item: str) -> tuple[Fact, ...]:
        """Make the facts of one whole step."""
        step, at = self._ledger.new_id(), time.time_ns() // 1000
        run, fence, output = self.run.id, self._fence, self._ledger.new_id()
        return (
            StepStarted(step, run, "label", item, fence, 1, self._hash, b"{}", at),
            OutputMade(output, run, step, "label", item, self._data, self._hash, "stage", at),
            StepEnded(step, run, fence, 1, StepStatus.COMPLETED, at),
        )


async def sequential(folder: Path, turns: int, size: int) -> tuple[float, float]:
    """Medians of one unit and one bare commit, milliseconds."""
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)")
    ours: list[float] = []
    theirs: list[float] = []
    async with await Ledger.open(folder / "ledger.db") as ledger:
        steps = Steps(ledger, size)
        await steps.begin()
        for turn in range(turns):
            for n in range(TURN):
                unit = steps.unit(f"{turn}.{n}")
                began = time.perf_counter()
                await ledger.write(*unit)
                ours.append(time.perf_counter() - began)
            for _ in range(TURN):
                began = time.perf_counter()
                bare.execute("BEGIN IMMEDIATE")
                bare.execute("INSERT INTO t (data) VALUES (?)", ("x" * size,))
                bare.execute("COMMIT")
                theirs.append(time.perf_counter() - began)
    bare.close()
    return statistics.median(ours) * 1000, statistics.median(theirs) * 1000


async def grouped(folder: Path, writers: int, units: int, size: int) -> float:
    """Rows a second."""
    async with await Ledger.open(folder / "ledger.db") as ledger:
        all_steps = [Steps(ledger, size) for _ in range(writers)]
        for steps in all_steps:
            await steps.begin()

        async def write(steps: Steps) -> None:
            for n in range(units):
                await ledger.write(*steps.unit(str(n)))

        began = time.perf_counter()
        await asyncio.gather(*map(write, all_steps))
        return writers * units * ROWS_A_UNIT / (time.perf_counter() - began)


def transcript(sentences: int) -> str:
    """A text of many sentences that do not repeat, drawn with a fixed seed."""
    drawn = random.Random(86)
    words = ["".join(drawn.choices("abcdefghijklmnoprstuvw", k=drawn.randint(2, 9))) for _ in range(3000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return " ".join(
        " ".join(drawn.choices(words, weights, k=drawn.randint(6, 25))).capitalize() + "." for _ in range(sentences)
    )


async def kept(folder: Path, text: str) -> float:
    """The part of the raw request bytes that is kept."""
    numbered = "\n".join(f"[{n}] {sentence}" for n, sentence in enumerate(text.split(". ")))
    body = orjson.dumps(numbered)[1:-1]
    windows = [body[start : start + WINDOW] for start in range(0, len(body), WINDOW)]
    raw = 0
    async with await Ledger.open(folder / "ledger.db") as ledger:
        steps = Steps(ledger, 1)
        await steps.begin(orjson.dumps({"transcript": text}))
        for stage in range(STAGES):
            head = b'{"model":"m","stage":"%d","messages":[{"role":"user","content":"' % stage
            instruction = random.Random(stage).randbytes(600).hex().encode()
            for number, window in enumerate(windows):
                request = Request("POST", "https://api.test", (head, instruction, b" %d " % number, window, b'"}]}'))
                raw += len(request.body)
                at = time.time_ns() // 1000
                sent = ExchangeSent(
                    id=ledger.new_id(),
                    run=steps.run.id,
                    step=None,
                    attempt=1,
                    occurrence=0,
                    try_number=1,
                    kind="model",
                    provider="openai",
                    model="m",
                    method=request.method,
                    url=request.url,
                    headers=b"{}",
                    request_hash=request.digest(),
                    segments=request.segments,
                    prepared_at=at,
                    sent_at=at,
                )
                await ledger.write(sent)
                if await ledger.request_body(sent.id) != request.body:
                    raise SystemExit("a request was not read back as it was sent")
        table = await ledger.query(
            "SELECT sum(length(body)) FROM payloads WHERE hash NOT IN (SELECT input FROM runs)",
        )
    return int(str(table.rows[0][0])) / raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100, help="turns of 20 units and 20 bare commits")
    parser.add_argument("--size", type=int, default=4096, help="bytes of an output")
    parser.add_argument("--transcript", type=Path, help="a text to cut into windows, instead of a drawn one")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to be measured")
    chosen = parser.parse_args()
    text = chosen.transcript.read_text() if chosen.transcript else transcript(700)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        parts = [folder / part for part in ("sequential", "grouped", "kept")]
        for part in parts:
            part.mkdir()
        unit, commit = asyncio.run(sequential(parts[0], chosen.turns, chosen.size))
        rows = asyncio.run(grouped(parts[1], 200, 25, chosen.size))
        part_kept = asyncio.run(kept(parts[2], text))
    print(
        json.dumps(
            {
                "bench": "ledger-units",
                "ms_per_unit": round(unit, 3),
                "ms_per_bare_commit": round(commit, 3),
                "ratio": round(unit / commit, 2),
                "grouped_rows_per_second": round(rows),
                "request_bytes_kept": round(part_kept, 4),
            }
        )
    )


if __name__ == "__main__":
    main()
