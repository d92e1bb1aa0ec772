"""Every real transcript through all ten stages of episode-content on the embedded model, by the command that one types.

Run with `make trial`. The transcripts are read from ../shared/data/podcast/dev and never copied into the project; the
ledger is made in a folder of its own. Prints a line per transcript as it ends, and a table at the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "podcast" / "dev"


def one(transcript: Path, ledger: Path, model: str, limit: float, cores: "Queue[int]") -> dict[str, object]:
    """Run one transcript on a core of its own; what the run document says, and the seconds it took.

    The model writes with one thread, and two that read wait for each other: two transcripts side by side end sooner
    than one after the other.
    """
    core = cores.get()
    command = [
        str(Path(sys.executable).with_name("stagebook")),
        "run",
        "episode-content",
        str(transcript),
        "--set",
        f"evergreen={ROOT / 'examples' / 'evergreen.json'}",
        # the embedded model reads some 8,000 tokens at a time, slowly: smaller windows, and stage 0 already from 4,000
        "--set",
        "window_tokens=3000",
        "--set",
        "preprocess_from_tokens=4000",
        "--model",
        model,
        "--lenient",
        "--tries",
        "1",  # as the demo: what it gets wrong once, this model seldom gets right when it is told
        "--tag",
        "trial",
        "--json",
        "--ledger",
        str(ledger),
    ]
    begun = time.monotonic()
    try:
        done = subprocess.run(
            ["taskset", "-c", str(core), *command], capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return {"status": "timed out", "exit": None, "seconds": limit, "stages": [], "errors": []}
    finally:
        cores.put(core)
    document = json.loads(done.stdout) if done.stdout.strip() else {"status": "no document", "errors": [done.stderr]}
    return {**document, "exit": done.returncode, "seconds": time.monotonic() - begun}


def main() -> int:
    """Run them all; the exit code is 1 if one did not complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="local:smollm2")
    parser.add_argument("--only", default="", help="part of a file's name")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds that one transcript may take")
    chosen = parser.parse_args()
    files = sorted(path for path in DATA.glob("*") if path.suffix in {".md", ".txt"} and chosen.only in path.name)
    if not files:
        print(f"no transcripts in {DATA}; this trial needs the shared data")
        return 2
    failed = 0
    cores: Queue[int] = Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with (
        tempfile.TemporaryDirectory(prefix="stagebook-trial-") as folder,
        ThreadPoolExecutor(cores.qsize()) as pool,
    ):
        ledger = Path(folder) / "ledger.db"
        begun = {pool.submit(one, path, ledger, chosen.model, chosen.limit, cores): path for path in files}
        for number, ended in enumerate(as_completed(begun), 1):
            found, path = ended.result(), begun[ended]
            failed += found["exit"] != 0
            steps = sum(stage["steps"]["total"] for stage in found.get("stages", []))  # type: ignore[attr-defined]  # JSON
            warnings = len(found.get("warnings", []))  # type: ignore[arg-type]  # JSON
            print(
                f"{number:2}/{len(files)} {path.name:62} {found['status']!s:10} {found['seconds']:7.0f} s "
                f"{steps:3} steps {found.get('input_tokens', 0):>7} in {found.get('output_tokens', 0):>6} out"
                f" {warnings:3} warnings",
                flush=True,
            )
            for error in found.get("errors", []):  # type: ignore[attr-defined]  # JSON
                print(f"      {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
