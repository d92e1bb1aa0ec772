"""How many bytes are kept of an agent's conversation: twenty turns of pydantic-ai, each request with all before it.

Run with `python bench/sdk_bytes.py`. The agent runs in a stage, through `door.httpx2_client()` and over HTTP; the model
is scripted and calls a tool in every turn but the last. What the tools give are passages of real transcripts, or, where
the shared data is absent, of the project's own pages, and the result says so.

Prints one JSON line, and a table on stderr: the same requests, cut in other ways. `kept` are the packed bytes of
everything that requests refer to, each once; `rows` are the bytes of the columns and index entries around that.
"""

import argparse
import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zstandard
from fastcdc import fastcdc
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from stagebook import Door, Pipeline
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.clock import now
from stagebook.ledger.facts import ExchangeReceived, ExchangeSent
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request
from stagebook.model.records import NewRun
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_script import Rule, Script, ScriptedCall

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "podcast" / "dev"
TURNS = 20
INSTRUCTIONS = """You answer questions about a large archive of interviews. Search before you answer. Read a passage
whole before you quote it, and quote it word for word, with its number. Note what contradicts what. Trust no title.
Where the archive says nothing, say so; never fill a gap with what you know from elsewhere. End with a report of at most
six paragraphs, each with the numbers of the passages that it rests on."""
LEVEL = 3
"""zstd level, as the ledger's."""
HASH, INTEGERS = 16, 10
"""Bytes of a hash, and of a row's small integers with its record header (estimated)."""
PARTS = """
    WITH part AS (SELECT skeleton AS hash FROM exchanges UNION SELECT payload FROM segments)
    SELECT count(*), sum(p.size), sum(length(p.body)), sum(coalesce(length(p.base), 0))
    FROM part JOIN payloads p ON p.hash = part.hash
    WHERE p.hash NOT IN (SELECT response FROM exchanges WHERE response IS NOT NULL)
"""
Cutter = Callable[[bytes], Sequence[bytes]]
Exchanges = list[tuple[bytes, bytes]]


class Question(BaseModel):
    """What the agent is asked."""

    question: str


class Report(BaseModel):
    """What it says in the end."""

    text: str


def source() -> tuple[list[str], str]:
    """Passages, and where they come from."""
    if DATA.is_dir():
        pages, told = sorted(DATA.glob("*.md")), "real transcripts"
    else:
        pages = [ROOT / "examples" / "interview.txt", *sorted(ROOT.rglob("docs/**/*.md"))]
        told = "the project's own pages, as the shared data is absent"
    words = " ".join(page.read_text(encoding="utf-8") for page in pages).split()
    return [" ".join(words[at : at + 80]) for at in range(0, len(words) - 80, 80)], told


async def converse(passages: list[str], place: Path) -> Exchanges:
    """Run the agent once; gives each request's body and its answer."""
    rng = random.Random(7)
    chosen = iter(rng.sample(passages, min(len(passages), 10 * TURNS)))
    lengths = [rng.randrange(1, 8) for _ in range(TURNS)]
    turns = tuple((ScriptedCall(name="search", arguments={"query": f"passage {at}"}),) for at in range(TURNS - 1))
    script = Script(rules=(Rule(calls=turns, answer=" ".join(passages[:4])),))
    pipeline = Pipeline("archive", input=Question)

    @pipeline.stage()
    async def report(question: Question, door: Door) -> Report:
        provider = OpenAIProvider(
            base_url=fake.base_url, api_key="sk-fake-key-of-the-bench", http_client=door.httpx2_client()
        )
        agent = Agent(OpenAIChatModel("gpt-4.1-mini", provider=provider), instructions=INSTRUCTIONS)

        @agent.tool_plain
        def search(query: str) -> list[dict[str, Any]]:
            """Search the archive; gives numbered passages, the best first."""
            count = lengths[int(query.rsplit(maxsplit=1)[-1])]
            return [{"number": at, "of": query, "text": next(chosen)} for at in range(count)]

        @agent.tool_plain
        def read(number: int, *, neighbours: bool = False) -> str:
            """Read a passage whole, with those before and after it if its neighbours are wanted."""
            return passages[number] if not neighbours else " ".join(passages[number - 1 : number + 2])

        @agent.tool_plain
        def note(number: int, contradicts: list[int], remark: str) -> str:
            """Note which passages a passage contradicts, and what follows from that."""
            return f"{number}: {remark} ({contradicts})"

        return Report(text=(await agent.run(question.question)).output)

    async with FakeProvider(script) as fake, await Ledger.open(place) as ledger:
        graph = pipeline.check()
        run = await begin(
            Start(graph, "bench", Question(question="What was said, by whom?"), Settings()), Site(ledger, {})
        )
        ended = await carry_on(run, graph, Site(ledger, {}))
        rows = (await ledger.query("select id, response from exchanges order by id")).rows
        if not ended.finished or len(rows) != TURNS:
            raise SystemExit(f"the agent ended after {len(rows)} of {TURNS} turns")
        return [(await ledger.request_body(int(str(key))), await ledger.payload(_hash(answer))) for key, answer in rows]


def _hash(value: object) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(str(value))


async def store(exchanges: Exchanges, cutter: Cutter, place: Path) -> None:
    """Write the same exchanges, cut in another way."""
    async with await Ledger.open(place) as ledger:
        run = await ledger.create_run(NewRun("bench", b'{"stages":[]}', "bench", b"{}", b"{}"))
        for body, answer in exchanges:
            key, request = ledger.new_id(), Request("POST", "http://127.0.0.1/", tuple(cutter(body)))
            await ledger.write(
                ExchangeSent(
                    key, run.id, None, 1, 0, 1, "model", "openai", "m", "POST", request.url, b"{}", request.digest(),
                    request.segments, now(), now(),
                )
            )  # fmt: skip
            await ledger.write(ExchangeReceived(key, 200, b"{}", answer, None, now()))


def measure(place: Path, raw: int) -> dict[str, Any]:
    """Count bytes in a ledger."""
    connection = sqlite3.connect(place)
    count, distinct, kept, bases = connection.execute(PARTS).fetchone()
    (segments,) = connection.execute("SELECT count(*) FROM segments").fetchone()
    connection.close()
    rows = count * (2 * HASH + INTEGERS) + bases + (segments + TURNS) * (HASH + INTEGERS)
    return {
        "payloads": count,
        "segments": segments,
        "distinct_bytes": distinct,
        "kept_bytes": kept,
        "row_bytes": rows,
        "kept": round(kept / raw, 4),
        "kept_with_rows": round((kept + rows) / raw, 4),
    }


def cutters() -> dict[str, Cutter]:
    """Other ways to cut."""

    def of(average: int) -> Cutter:
        return lambda body: [body[one.offset :][: one.length] for one in fastcdc(body, 512, average, 16 * 1024)]

    return {
        "whole bodies": lambda body: [body],
        **{f"chunks of {size}": of(size) for size in (1024, 2048, 3072, 4096, 8192)},
    }


def main() -> None:
    """Run, count, print."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    passages, told = source()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.db"
        exchanges = asyncio.run(converse(passages, place))
        raw = sum(len(body) for body, _ in exchanges)
        figures = measure(place, raw)
        others = {}
        for name, cutter in cutters().items():
            other = Path(folder) / name.replace(" ", "-") / "ledger.db"
            asyncio.run(store(exchanges, cutter, other))
            others[name] = measure(other, raw)
    packed = sum(len(zstandard.compress(body, LEVEL)) for body, _ in exchanges)
    head = {
        "bench": "sdk-bytes",
        "tools_give": told,
        "turns": TURNS,
        "raw_bytes": raw,
        "last_bytes": len(exchanges[-1][0]),
    }
    print(json.dumps({**head, **figures, "packed_one_by_one": round(packed / raw, 4)}))
    print(f"{'cut into':16}{'payloads':>10}{'distinct':>12}{'kept':>10}{'with rows':>12}", file=sys.stderr)
    for name, row in others.items():
        share = row["distinct_bytes"] / raw
        print(
            f"{name:16}{row['payloads']:>10}{share:>12.3f}{row['kept']:>10.4f}{row['kept_with_rows']:>12.4f}",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
