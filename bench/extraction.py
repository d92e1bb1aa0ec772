"""Prompts out of a 2 GB archive: peak memory, and speed beside a bare ijson pass over the same bytes.

Run with `make bench`. The archive is made anew in a temporary folder: a ChatGPT export, of the conversations of the
real one in ../shared/data where that is there, otherwise of conversations made here. Three ways are measured, each in a
process of its own: the prompts one by one; an export to JSON Lines; the fastest pass that ijson offers (`basic_parse`
on yajl2_c, which builds nothing). Ratios are of processor time, medians of the rounds. Prints one JSON line.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REAL = Path(__file__).resolve().parents[2] / "shared/data/conversations/dev/derived/chatgpt_export/conversations.json"
CHUNK = 1 << 19


def conversation(number: int) -> dict[str, object]:
    """Make a conversation of eight turns, in the shape of the export."""
    mapping: dict[str, object] = {}
    for turn in range(8):
        role = "assistant" if turn % 2 else "user"
        mapping[f"{number}-{turn}"] = {
            "id": f"{number}-{turn}",
            "parent": f"{number}-{turn - 1}" if turn else None,
            "children": [f"{number}-{turn + 1}"] if turn < 7 else [],
            "message": {
                "author": {"role": role, "name": None, "metadata": {}},
                "create_time": 1720045466.98 + turn,
                "content": {"content_type": "text", "parts": [f"{role} {number} {turn}: " + 'words and "more". ' * 40]},
                "status": "finished_successfully",
                "metadata": {"model_slug": "gpt-4.1"},
            },
        }
    return {"title": f"Conversation {number}", "mapping": mapping, "current_node": f"{number}-7", "id": str(number)}


def make(path: Path, size: int, *, compact: bool) -> str:
    """Write an archive of that many bytes; say what it is made of."""
    given = json.loads(REAL.read_bytes()) if REAL.is_file() else [conversation(number) for number in range(150)]
    elements = [json.dumps(one, indent=None if compact else 1, ensure_ascii=False).encode() for one in given]
    block = b", ".join(elements) if compact else b",\n".join(elements)
    with path.open("wb") as file:
        file.write(b"[" + block)
        while file.tell() < size:
            file.write(b", " + block)
        file.write(b"]")
    return "real" if REAL.is_file() else "made"


def prompts(path: Path) -> int:
    """Read the prompts one by one."""
    from stagebook_pipelines.prompt_batch import ExtractedPrompt, read_prompts  # noqa: PLC0415  not ijson's burden

    return sum(isinstance(one, ExtractedPrompt) for one in read_prompts(path))


def export(path: Path) -> int:
    """Export the prompts."""
    from stagebook_pipelines.prompt_batch import extract_prompts  # noqa: PLC0415  as above

    return extract_prompts(source=path, export_path=path.with_suffix(".out.jsonl"), keep=False).total


def ijson(path: Path) -> int:
    """Let ijson go through the bytes."""
    from ijson.backends import yajl2_c  # noqa: PLC0415  not ours to carry

    with path.open("rb") as file:
        return sum(1 for _ in yajl2_c.basic_parse(file, buf_size=CHUNK, use_float=True))


WAYS: dict[str, Callable[[Path], int]] = {"prompts": prompts, "export": export, "ijson": ijson}


def alone(way: str, path: Path) -> None:
    """Measure one way in this process."""
    begun, processor = time.perf_counter(), time.process_time()
    count = WAYS[way](path)
    took = {"cpu": time.process_time() - processor, "seconds": time.perf_counter() - begun}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"count": count, "peak_mb": peak, **took}))


def measured(way: str, path: Path) -> dict[str, float]:
    """Measure one way in a process of its own."""
    command = [sys.executable, __file__, "--alone", way, "--path", str(path)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def main() -> None:
    """Make the archive, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compact", action="store_true", help="without line breaks, as the vendors write it")
    parser.add_argument("--core", type=int, help="pin to this core")
    parser.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone is not None:
        alone(chosen.alone, chosen.path)
        return
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})  # and with it whatever is started from here
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "conversations.json"
        made_of = make(path, chosen.megabytes * 1_000_000, compact=chosen.compact)
        rounds = [{way: measured(way, path) for way in WAYS} for _ in range(chosen.repeat)]
        size = path.stat().st_size / 1e6

    def middle(way: str, what: str) -> float:
        return statistics.median(one[way][what] for one in rounds)

    if middle("prompts", "count") != middle("export", "count"):
        raise SystemExit("the two ways do not give the same prompts")
    print(
        json.dumps(
            {
                "bench": "extraction",
                "megabytes": round(size),
                "made_of": made_of,
                "compact": chosen.compact,
                "prompts": int(middle("prompts", "count")),
                "peak_mb": round(max(one[way]["peak_mb"] for one in rounds for way in ("prompts", "export"))),
                "of_ijson": round(statistics.median(one["ijson"]["cpu"] / one["prompts"]["cpu"] for one in rounds), 2),
                "export_of_ijson": round(
                    statistics.median(one["ijson"]["cpu"] / one["export"]["cpu"] for one in rounds), 2
                ),
                "mb_per_cpu_second": round(size / middle("prompts", "cpu")),
                "ijson_mb_per_cpu_second": round(size / middle("ijson", "cpu")),
            }
        )
    )


if __name__ == "__main__":
    main()
