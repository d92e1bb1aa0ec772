"""How long the command takes to say something: `stagebook --help` and `stagebook runs` on a ledger of 20,000 runs.

Run with `make bench`. Whole processes, each in turn with `python -c pass`, so that all meet the same load. Every run of
the ledger has a completed step with an output. Prints one JSON line: medians in milliseconds, and what `--help` takes
beyond Python's own start.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stagebook.ledger.clock import now
from stagebook.ledger.facts import OutputMade, StepEnded, StepStarted
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import content_hash
from stagebook.model.records import NewRun
from stagebook.model.status import StepStatus

AT_ONCE = 200
DATA = b'{"text":"done"}'


async def fill(path: Path, runs: int) -> None:
    """Write so many runs."""
    async with await Ledger.open(path) as ledger:

        async def one() -> None:
            run, claim = await ledger.begin_run(
                NewRun("bench", b'{"stages":[{"name":"label"}]}', "bench", b'{"text":"given"}', b"{}")
            )
            step, fence, at = ledger.new_id(), claim.fence, now()
            await ledger.write(
                StepStarted(step, run.id, "label", "", fence, 1, None, b"{}", at),
                OutputMade(ledger.new_id(), run.id, step, "label", "", DATA, content_hash(DATA), "stage", at, fence),
                StepEnded(step, run.id, fence, 1, StepStatus.COMPLETED, at),
            )
            await claim.release()

        for start in range(0, runs, AT_ONCE):
            await asyncio.gather(*(one() for _ in range(min(AT_ONCE, runs - start))))


def seconds(*command: str) -> float:
    """Run a whole process."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Repeat, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--core", type=int, help="pin to this core")
    chosen = parser.parse_args()
    stagebook = str(Path(sys.executable).with_name("stagebook"))
    with tempfile.TemporaryDirectory() as name:
        ledger = Path(name) / "ledger.db"
        asyncio.run(fill(ledger, chosen.runs))
        if chosen.core is not None:
            os.sched_setaffinity(0, {chosen.core})  # and with it whatever is started from here
        commands = {
            "python": (sys.executable, "-c", "pass"),
            "help": (stagebook, "--help"),
            "runs": (stagebook, "runs", "--ledger", str(ledger)),
        }
        took: dict[str, list[float]] = {what: [] for what in commands}
        for _ in range(chosen.repeat):
            for what, command in commands.items():
                took[what].append(seconds(*command))
    middle = {what: statistics.median(times) * 1000 for what, times in took.items()}
    print(
        json.dumps(
            {
                "bench": "startup",
                "runs": chosen.runs,
                **{f"{what}_ms": round(value) for what, value in middle.items()},
                "help_over_python_ms": round(middle["help"] - middle["python"]),
            }
        )
    )


if __name__ == "__main__":
    main()
