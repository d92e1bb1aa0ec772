"""How many bytes are kept of the requests of one run: episode-content on a transcript of 21,000 tokens.

Run with `make bench`. All ten stages run through the engine and over HTTP, against a scripted author who answers in
sentences of other real episodes, so that the answers are as hard to pack as what a model writes. Where the shared data
is absent, the example (a short interview) is run instead, answered in the project's own prose, and the result says so.

Prints one JSON line, and a table on stderr. `kept` are the packed bytes of everything that requests refer to: their
skeletons and their large parts. The run's input is not among them, as it is kept for itself, whatever is requested;
`with_input` adds it. What is also an answer is not counted either, as answers are kept whole anyway. `rows` are the
bytes of the columns and index entries around that: hashes, sizes and places.
"""

import argparse
import asyncio
import importlib.util
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.testing.provider import FakeProvider
from stagebook_pipelines.episode_content.models import Episode
from stagebook_pipelines.episode_content.pipeline import pipeline
from stagebook_pipelines.episode_content.tokens import estimate_tokens

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "podcast" / "dev"
LONG = DATA / "friends__changelog--friends-28.md"
PARTS = """
    WITH part AS (
        SELECT e.id AS exchange, e.skeleton AS hash, 1 AS small FROM exchanges e
        UNION ALL SELECT g.exchange, g.payload, 0 FROM segments g
    )
    SELECT p.hash, p.size, length(p.body), p.base, p.base IN (SELECT input FROM runs), max(part.small),
        min(coalesce(g.number || ' ', '') || g.name)
    FROM part
    JOIN payloads p ON p.hash = part.hash
    JOIN exchanges e ON e.id = part.exchange
    JOIN steps s ON s.id = e.step
    JOIN runs r ON r.id = e.run
    JOIN stages g ON g.definition = r.definition AND g.name = s.stage
    WHERE p.hash NOT IN (SELECT input FROM runs)
        AND p.hash NOT IN (SELECT response FROM exchanges WHERE response IS NOT NULL)
    GROUP BY p.hash
"""
"""Everything that requests refer to and nothing else does, each once, under the first stage that sent it."""
INTEGERS = 10
"""Bytes of a row's small integers and of its record header, estimated."""
HASH = 16


def author(prose: str) -> Any:
    """Load the scripted author that the tests use."""
    place = ROOT / "tests" / "pipelines" / "episode_answers.py"
    spec = importlib.util.spec_from_file_location("episode_answers", place)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{place} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Author(prose)


async def run_once(transcript: str, prose: str, ledger: Path) -> None:
    """Run all ten stages."""
    evergreen = json.loads((ROOT / "examples" / "evergreen.json").read_text(encoding="utf-8"))
    episode = Episode.model_validate({"transcript": transcript, "evergreen": evergreen})
    async with FakeProvider(author(prose).script()) as provider, await Ledger.open(ledger) as opened:
        site = Site(opened, {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "sk-fake-key-of-the-bench"})
        graph = pipeline.check()
        run = await begin(Start(graph, "bench", episode, Settings()), site)
        if not (await carry_on(run, graph, site)).finished:
            raise SystemExit("the run did not finish")
        for (exchange,) in (await opened.query("select id from exchanges")).rows:
            await opened.request_body(int(str(exchange)))  # put together again and checked against its hash


def measure(ledger: Path) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Count bytes in a ledger of one run; also raw and kept bytes of each stage."""
    connection = sqlite3.connect(ledger)
    requests, raw = connection.execute("SELECT count(*), sum(request_size) FROM exchanges").fetchone()
    parts = connection.execute(PARTS).fetchall()
    (segments,) = connection.execute("SELECT count(*) FROM segments").fetchone()
    (given,) = connection.execute("SELECT length(p.body) FROM runs r JOIN payloads p ON p.hash = r.input").fetchone()
    stages: dict[str, list[int]] = {}
    for _, size, packed, _, _, _, stage in parts:
        row = stages.setdefault(stage, [0, 0])
        row[0] += size
        row[1] += packed
    connection.close()
    kept = sum(part[2] for part in parts)
    # a payload's hash stands in its row and in the index; a segment and an exchange each name one
    rows = sum(2 * HASH + INTEGERS + len(part[3] or b"") for part in parts) + (segments + requests) * (HASH + INTEGERS)
    figures = {
        "requests": requests,
        "raw_bytes": raw,
        "distinct_bytes": sum(part[1] for part in parts),
        "skeleton_bytes": sum(part[2] for part in parts if part[5]),
        "part_bytes": sum(part[2] for part in parts if not part[5]),
        "row_bytes": rows,
        "input_bytes": given,
        "kept": round(kept / raw, 4),
        "kept_with_rows": round((kept + rows) / raw, 4),
        "kept_with_input": round((kept + given) / raw, 4),
    }
    return figures, stages


def main() -> None:
    """Run, count, print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if LONG.is_file():
        transcript, words = LONG.read_text(encoding="utf-8"), [path for path in DATA.glob("*.md") if path != LONG]
        source = "a real transcript"
    else:
        transcript, words = (
            (ROOT / "examples" / "interview.txt").read_text(encoding="utf-8"),
            [*ROOT.rglob("docs/**/*.md")],
        )
        source = "the example, as the shared data is absent: not the run that the figures in docs/benchmarks.md are of"
    prose = "\n".join(path.read_text(encoding="utf-8") for path in sorted(words))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.db"
        asyncio.run(run_once(transcript, prose, ledger))
        figures, stages = measure(ledger)
    head = {"bench": "request-bytes", "transcript": source, "transcript_tokens": estimate_tokens(transcript)}
    print(json.dumps({**head, **figures}))
    print(f"{'first sent by':28}{'distinct bytes':>16}{'kept':>10}", file=sys.stderr)
    for stage, (size, packed) in sorted(stages.items(), key=lambda one: -one[1][1]):
        print(f"{stage:28}{size:>16,}{packed:>10,}", file=sys.stderr)


if __name__ == "__main__":
    main()
