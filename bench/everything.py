"""Every bench, one after the other: a JSON line of each on stdout, and a table against the bars on stderr.

Run with `make bench`; takes some ten minutes. The client is on the first core that this process may use, the mock on
the second; where there is only one, both are on it, and the figures of calls say little.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
CORES = sorted(os.sched_getaffinity(0))
CLIENT = ("--core", str(CORES[0]))
BOTH = (*CLIENT, "--mock-core", str(CORES[-1]))

Read = Callable[[dict[str, Any]], float]


class Line(NamedTuple):
    """One line of the table."""

    what: str
    read: Read
    bar: float
    aim: float
    unit: str = ""
    more_is_better: bool = False


BENCHES: tuple[tuple[tuple[str, ...], tuple[Line, ...]], ...] = (
    (
        ("calls.py", *BOTH),
        (
            Line("calls a second, of bare aiohttp's", lambda one: one["of_aiohttp"], 0.35, 0.5, more_is_better=True),
            Line("client CPU of a call, of bare aiohttp's", lambda one: one["cpu_of_aiohttp"], 2.9, 2.0, "x"),
            Line("ledger bytes, of raw bytes: distinct prompts", lambda one: one["kept"], 0.9, 0.6),
        ),
    ),
    (
        ("calls.py", *BOTH, "--calls", "3000", "--shared", "20000", "--repeat", "1"),
        (Line("ledger bytes, of raw bytes: shared context", lambda one: one["kept"], 0.3, 0.12),),
    ),
    (
        ("durable_steps.py", *CLIENT),
        (Line("a durable step, of a bare commit", lambda one: one["ratio"], 3.0, 2.0, "x"),),
    ),
    (
        ("durable_steps.py", *CLIENT, "--at-once"),
        (Line("200 runs at once, of a grouped commit", lambda one: one["ratio"], 4.0, 2.0, "x"),),
    ),
    (
        ("startup.py", *CLIENT),
        (
            Line("--help over python -c pass", lambda one: one["help_over_python_ms"], 150, 60, " ms"),
            Line("runs, of 20,000", lambda one: one["runs_ms"], 400, 200, " ms"),
        ),
    ),
    (
        ("items.py", *CLIENT),
        (Line("peak memory of 100,000 items", lambda one: one["peak_mb"], 300, 120, " MB"),),
    ),
    (
        ("batch.py", *BOTH),
        (
            Line(
                "prompt-batch end to end, of bare aiohttp's",
                lambda one: one["of_aiohttp"],
                0.3,
                0.45,
                more_is_better=True,
            ),
        ),
    ),
    (
        ("storing.py",),
        (Line("rows stored a second, of a bare COPY", lambda one: one["of_copy"], 0.3, 0.7, more_is_better=True),),
    ),
    (
        ("extraction.py", *CLIENT, "--compact", "--repeat", "1"),
        (
            Line("peak memory of extraction from 2 GB", lambda one: one["peak_mb"], 300, 120, " MB"),
            Line("speed of extraction, of bare ijson's", lambda one: one["of_ijson"], 0.5, 0.9, more_is_better=True),
        ),
    ),
    (
        ("request_bytes.py",),
        (Line("request bytes kept of a ten-stage run", lambda one: one["kept"], 0.15, 0.06),),
    ),
    (
        ("sdk_bytes.py",),
        (Line("request bytes kept of an agent's 20 turns", lambda one: one["kept"], 0.15, 0.06),),
    ),
)


def measured(command: tuple[str, ...]) -> dict[str, Any]:
    """Run a bench, and hand its line on."""
    script, *options = command
    done = subprocess.run(
        [sys.executable, str(HERE / script), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    line = done.stdout.decode().strip().splitlines()[-1]
    print(line, flush=True)
    found: dict[str, Any] = json.loads(line)
    return found


def verdict(line: Line, value: float) -> str:
    """Say what a figure reaches."""
    reached = [value >= goal if line.more_is_better else value <= goal for goal in (line.aim, line.bar)]
    return "aim" if reached[0] else "bar" if reached[1] else "missed"


def main() -> None:
    """Run them all."""
    rows = []
    for command, lines in BENCHES:
        found = measured(command)
        for line in lines:
            value = line.read(found)
            rows.append((line.what, f"{value:g}{line.unit}", f"{line.bar:g}", f"{line.aim:g}", verdict(line, value)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print(f"\n{'':{widths[0]}}  {'measured':>9}  {'bar':>5}  {'aim':>5}  reached", file=sys.stderr)
    for what, value, bar, aim, reached in rows:
        print(f"{what:{widths[0]}}  {value:>9}  {bar:>5}  {aim:>5}  {reached}", file=sys.stderr)


if __name__ == "__main__":
    main()
