"""`stagebook run ... --estimate`: what a run would ask, take and cost, without asking anybody."""

import asyncio
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.table import Table

from stagebook.cli.beginning import Typed, prepare
from stagebook.cli.console import print_json, results
from stagebook.cli.quantities import count, duration, money, plural
from stagebook.engine.plan import scope
from stagebook.engine.session import Start
from stagebook.insight.estimate import Estimate, StageEstimate, estimate
from stagebook.insight.estimate_document import estimate_document
from stagebook.insight.history import History, history
from stagebook.insight.trend import Range
from stagebook.ledger.location import locate
from stagebook.ledger.store import Ledger
from stagebook.llm.reading import kept
from stagebook.model.errors import NoLedger
from stagebook.model.usage import PICODOLLARS, dollars

UNKNOWN: Final = "?"
REUSED: Final = "What --reuse would take over is not taken off: it is known once the prompts are written."
FEW: Final = 3
"""Stages that a sentence names one by one."""
CLOSE: Final = 1.02
"""Ends of a range that differ by less than this are told as one amount."""


def show_estimate(typed: Typed, *, as_json: bool, ledger: str | None) -> None:
    """Estimate what was typed, and print it; no ledger is made where there is none.

    Raises:
        StagebookError: What was typed cannot be used.
    """
    start = prepare(typed)
    size = len(kept(start.input))
    past = asyncio.run(_past(start, ledger))
    found = estimate(start.graph, start.settings, start.input, size, past, start.settings.price_book())
    if as_json:
        print_json(estimate_document(found))
    else:
        print_estimate(results(), found, start.settings.budget)
        if start.settings.reuse:
            results().print(REUSED, style="dim")


async def _past(start: Start, url: str | None) -> History:
    place = locate(url)
    if not place.may_exist:
        return History()
    try:
        ledger = await Ledger.open(url, read_only=True)
    except NoLedger:
        return History()
    async with ledger:
        return await history(ledger, start.graph.name, scope(start.graph, start.settings.until))


def print_estimate(console: Console, found: Estimate, budget: int | None = None) -> None:
    """Print a table that fits the terminal, what its numbers rest on, and whether a budget is enough."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True, overflow="ellipsis")
    for name in ("calls", "in", "out", "cost", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True, overflow="ellipsis")
    for stage in found.stages:
        table.add_row(stage.title, *_cells(stage), stage.source.removeprefix("from "))
    table.add_row(
        "total",
        *(_summed(found, name) for name in ("calls", "input_tokens", "output_tokens")),
        _summed(found, "cost"),
        _time(found.seconds),
        "",
        style="bold",
    )
    console.print(table)
    console.print()
    for note in notes(found):
        console.print(note, style="dim")
    if budget is not None:
        console.print(verdict(found, budget))


def notes(found: Estimate) -> list[str]:
    """Say what the numbers rest on, a sentence each."""
    said = []
    if found.runs:
        said.append(f"Learned from the latest {plural(found.runs, 'run')}; inputs of other sizes are scaled.")
    else:
        said.append(
            "No run of this pipeline is recorded yet: four bytes count as a token, and no answer is asked again."
        )
    if any(stage.bounded for stage in found.stages):
        said.append("<= is the most that max_tokens, or the sizes in the schema, allow; answers are mostly shorter.")
    if found.unknown:
        few = len(found.unknown) <= FEW
        names = ", ".join(found.unknown) if few else plural(len(found.unknown), "stage")
        said.append(f"Not in the total: {names}. Run it once on a small input, then estimate again.")
    return said


def verdict(found: Estimate, budget: int) -> str:
    """Say whether a budget is enough.

    Args:
        found: What the run would cost.
        budget: Picodollars.
    """
    cost, told = found.total("cost"), f"The budget of ${dollars(budget)}"
    if cost.low > budget:
        return f"{told} is reached before the run is finished; it pauses there."
    if cost.high > budget or found.unknown:
        return f"{told} may be reached before the run is finished; it would pause there."
    return f"{told} is enough, as long as the worst case of the last call still fits."


def _cells(stage: StageEstimate) -> list[str]:
    if stage.calls is not None and not stage.calls.high:
        return ["", "", "", "", _time(stage.seconds)]
    return [
        _counted(stage.calls),
        _counted(stage.input_tokens),
        _counted(stage.output_tokens, at_most=stage.bounded),
        UNKNOWN if stage.cost is None else _cost(stage.cost, at_most=stage.bounded),
        _time(stage.seconds),
    ]


def _counted(amount: Range | None, *, at_most: bool = False) -> str:
    if amount is None:
        return UNKNOWN
    return f"<={count(round(amount.expected))}" if at_most else count(round(amount.expected))


def _summed(found: Estimate, name: str) -> str:
    """Write a sum, with a question mark where something is missing in it."""
    amount, missing = found.total(name), any(getattr(stage, name) is None for stage in found.stages)
    if missing and not amount.high:
        return UNKNOWN
    text = _cost(amount, at_most=found.bounded) if name == "cost" else _counted(amount)
    return f"{text}+?" if missing else text


def _time(amount: Range | None) -> str:
    return "" if amount is None or not amount.expected else duration(amount.expected)


def _cost(amount: Range, *, at_most: bool = False) -> str:
    """Write a cost: one amount where it is known well, else from what to what."""
    low, high = (money(Decimal(round(one)) / PICODOLLARS) for one in (amount.low, amount.high))
    if at_most:
        return f"<={high}"
    if low == high or amount.high <= CLOSE * amount.low:
        return money(Decimal(round(amount.expected)) / PICODOLLARS)
    return f"{'$0' if low.startswith('<') else low}-{high.removeprefix('$')}"
