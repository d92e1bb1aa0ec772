"""The same work done by others, in this run and on this machine; each is installed into an environment of its own.

Run with `make peers`: makes `.bench/NAME` for each peer at first (pip, the package registries), then measures it and us
in turn, three times, on one core, and prints one JSON line per comparison with the medians of the ratios. Nothing of
them is installed with the product.
"""

import argparse
import json
import statistics
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from calls import Provider

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "bench"
LANGGRAPH = ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2")
CURATOR = ("bespokelabs-curator==0.1.31",)
OTHERS = {
    "litellm": ("litellm==1.106.2",),
    "langchain": ("langchain-openai==1.7.3",),
    "pydantic-ai": ("pydantic-ai-slim[openai]==2.68.0",),
    "distilabel": ("distilabel[openai]==1.5.3", "requests"),
}
OTHERS_CALLS = 2_000
"""Calls of theirs: at their pace, 10,000 would take a quarter of an hour each, and it does not change on the way."""


def python_of(name: str, packages: tuple[str, ...]) -> str:
    """Give the interpreter of a peer's environment, making that at first."""
    folder = ROOT / ".bench" / name
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        print(f"installing {' '.join(packages)} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return str(python)


def measured(*command: object) -> dict[str, Any]:
    """Run a bench and read its JSON line."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[1]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def steps(runs: int, repeat: int, core: list[str]) -> None:
    """Durable steps, against LangGraph's SqliteSaver."""
    python = python_of("langgraph", LANGGRAPH)
    pairs = []
    for _ in range(repeat):
        theirs = measured(python, HERE / "peer_langgraph.py", "--runs", runs, *core)
        ours = measured(sys.executable, HERE / "durable_steps.py", "--runs", runs, "--repeat", 1, *core)
        pairs.append((theirs["ms_per_step"], ours["ms_per_step"]))
    print_line("durable-steps against LangGraph SqliteSaver", pairs)


def calls(count: int, repeat: int, core: list[str], mock_core: int | None) -> None:
    """Mapped prompt calls, against bespokelabs-curator on the same mock."""
    python = python_of("curator", CURATOR)
    pairs = []
    for _ in range(repeat):
        provider = Provider(mock_core)
        try:
            theirs = measured(python, HERE / "peer_curator.py", "--url", provider.url, "--calls", count, *core)
        finally:
            provider.stop()
        mock = [] if mock_core is None else ["--mock-core", str(mock_core)]
        ours = measured(sys.executable, HERE / "calls.py", "--calls", count, "--repeat", 1, *core, *mock)
        pairs.append((ours["calls_per_second"], theirs["calls_per_second"]))
    print_line("calls per second against bespokelabs-curator", pairs)


def others(count: int, repeat: int, core: list[str], mock_core: int | None) -> None:
    """Mapped prompt calls, against libraries that ask models and keep nothing."""
    mock = [] if mock_core is None else ["--mock-core", str(mock_core)]
    ours = [
        measured(sys.executable, HERE / "calls.py", "--calls", count, "--repeat", 1, *core, *mock)["calls_per_second"]
        for _ in range(repeat)
    ]
    for name, packages in OTHERS.items():
        python = python_of(name, packages)
        pairs = []
        for mine in ours:
            provider = Provider(mock_core)
            try:
                asked = (HERE / "peer_models.py", name, "--url", provider.url, "--calls", min(count, OTHERS_CALLS))
                theirs = measured(python, *asked, *core)
            finally:
                provider.stop()
            pairs.append((mine, theirs["calls_per_second"]))
        print_line(f"calls per second against {name}", pairs)


def print_line(name: str, pairs: list[tuple[float, float]]) -> None:
    """Print how many times better we are, and both figures."""
    ratio = statistics.median(first / second for first, second in pairs)
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        json.dumps({"bench": name, "ratio": round(ratio, 2), "figures": [round(first, 3), round(second, 3)]}),
        flush=True,
    )


def main() -> None:
    """Measure what was asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", default=["steps", "calls", "others"], help="steps, calls, others")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--core", type=int)
    parser.add_argument("--mock-core", type=int)
    chosen = parser.parse_args()
    core = [] if chosen.core is None else ["--core", str(chosen.core)]
    if "steps" in chosen.which:
        steps(chosen.runs, chosen.repeat, core)
    if "calls" in chosen.which:
        calls(chosen.calls, chosen.repeat, core, chosen.mock_core)
    if "others" in chosen.which:
        others(chosen.calls, chosen.repeat, core, chosen.mock_core)


if __name__ == "__main__":
    main()
