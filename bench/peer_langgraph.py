"""Ten trivial nodes x N runs on LangGraph with its SqliteSaver, each step durable; run by `bench/peers.py`.

The same work as `bench/durable_steps.py`: every node hands on 4 KB, a run's nodes come one after the other, and
`durability="sync"` writes the checkpoint of a step before the next one begins. The connection is set to WAL and
synchronous=FULL, as ours is. Prints one JSON line: milliseconds a step.
"""

import argparse
import json
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

STAGES = 10
PAYLOAD = "0123456789abcdef" * 256


class State(TypedDict):
    """What every node reads and writes."""

    text: str
    number: int


def step(state: State) -> State:
    """Hand on the text."""
    return {"text": state["text"], "number": state["number"] + 1}


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--core", type=int)
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "checkpoints.db", check_same_thread=False)
        saver = SqliteSaver(connection)
        saver.setup()
        connection.execute("PRAGMA synchronous = FULL")
        declared = StateGraph(State)
        names = [f"step-{number}" for number in range(STAGES)]
        for name in names:
            declared.add_node(name, step)
        for before, after in zip([START, *names], [*names, END], strict=True):
            declared.add_edge(before, after)
        graph: Any = declared.compile(checkpointer=saver)
        seed = {"text": PAYLOAD, "number": 0}
        graph.invoke(seed, {"configurable": {"thread_id": "warm"}}, durability="sync")
        begun = time.perf_counter()
        for run in range(chosen.runs):
            made = graph.invoke(seed, {"configurable": {"thread_id": str(run)}}, durability="sync")
            if made["number"] != STAGES:
                raise SystemExit("a run did not finish")
        took = (time.perf_counter() - begun) * 1000 / (chosen.runs * STAGES)
        (kept,) = connection.execute("SELECT count(*) FROM checkpoints").fetchone()
        connection.close()
    print(json.dumps({"ms_per_step": took, "checkpoints": kept}))


if __name__ == "__main__":
    main()
