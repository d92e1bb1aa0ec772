"""How near a run comes to what a provider lets through: 3,000 requests and 2,000,000 tokens in any minute.

Run with `python bench/rates.py`: 10,000 calls, which take as long as the limits do, some three minutes. The fake
provider enforces them in a process of its own. Prints one JSON line: the seconds that the run took, those that the
limits allow at best (whole windows, each filled at once), and the share of calls that were answered 429; `--untold`
tells the run nothing of the limits.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from calls import Book, declare

from stagebook.cli.driving import look_for_garbage_seldom, loop_factory
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.testing.provider_process import ProviderProcess

WINDOW = 60.0


async def ours(url: str, folder: Path, calls: int, at_once: int, limits: dict[str, str]) -> dict[str, float]:
    """Run it; seconds, calls answered 200 and 429, and the tokens of one."""
    graph = declare(folder, shared=False).check()
    async with await Ledger.open(folder / "ledger.db") as ledger:
        site = Site(ledger, {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "x"})
        start = Start(graph, "bench", Book(pages=calls), Settings(concurrency=at_once, limits=limits))
        run, claim = await begin_driven(start, site)
        begun = time.perf_counter()
        ended = await carry_on(run, graph, site, claim=claim)
        took = time.perf_counter() - begun
        found = await ledger.query(
            "SELECT sum(http_status = 200), sum(http_status = 429), max(input_tokens) FROM exchanges"
        )
    answered, refused, tokens = (int(str(cell)) for cell in found.rows[0])
    return {"seconds": took, "answered": answered, "refused": refused, "tokens": tokens, "failed": len(ended.failed)}


def main() -> None:
    """Run with the limits told, or without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--untold", action="store_true", help="tell the run nothing of the limits")
    chosen = parser.parse_args()
    look_for_garbage_seldom()
    options = ("--requests", str(chosen.requests), "--tokens", str(chosen.tokens), "--latency", "0.02")
    limits = {} if chosen.untold else {"openai": f"{chosen.requests}/{chosen.tokens}"}
    with (
        ProviderProcess(options=options) as provider,
        tempfile.TemporaryDirectory() as name,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        figures = runner.run(ours(provider.base_url, Path(name), chosen.calls, chosen.at_once, limits))
    fit = min(chosen.requests, chosen.tokens // int(figures["tokens"]))
    best = (chosen.calls - 1) // fit * WINDOW
    told = {
        "bench": "rates",
        "calls": chosen.calls,
        "told": not chosen.untold,
        "seconds": round(figures["seconds"], 1),
        "seconds_that_the_limits_allow": best,
        "of_them": round(figures["seconds"] / best, 3) if best else None,
        "refused_share": round(figures["refused"] / (figures["answered"] + figures["refused"]), 4),
        "tokens_each": figures["tokens"],
        "failed": figures["failed"],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
