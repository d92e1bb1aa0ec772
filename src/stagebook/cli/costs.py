"""`stagebook costs`: what was spent, and on what."""

from decimal import Decimal
from typing import Any, Final

import click
from rich.table import Table

from stagebook.cli.console import harmless, print_json, results
from stagebook.cli.opened import look
from stagebook.cli.options import json_option, ledger_option
from stagebook.cli.quantities import count, money
from stagebook.insight.costs import KEYS, Costs, Row, Spent, beginning, costs_by
from stagebook.model.usage import PICODOLLARS

SHOWN: Final = 200
"""Rows that are drawn."""
KEY_LEAST: Final = 6
"""Characters of a key that are always shown."""
COLUMNS: Final = ("calls", "input", "cached", "output", "reasoning", "cost")
_NOTHING: Final = {
    "model": "(no model)",
    "provider": "(no provider)",
    "stage": "(no stage)",
}


@click.command
@click.option("--by", type=click.Choice(list(KEYS)), default="model", show_default=True, help="What to add up by.")
@click.option("--pipeline", metavar="P", help="Only of this pipeline.")
@click.option("--since", metavar="DATE", help="Only what was sent since then (UTC): 2026-11-21 or 2026-11-21T18:30.")
@json_option
@ledger_option
def costs(*, by: str, pipeline: str | None, since: str | None, as_json: bool, ledger: str | None) -> None:
    """Add up calls, tokens and dollars of every exchange; days, weeks and months are those of UTC.

    Possibly paid calls (sent, and no whole answer came) are counted apart: nobody can say what they cost.
    """
    begun = None if since is None else beginning(since)
    found = look(ledger, lambda opened: costs_by(opened, by, pipeline=pipeline, since=begun))
    if as_json:
        asked: dict[str, Any] = {"pipeline": pipeline, "since": since}
        print_json(asked | found.to_json())
    elif not found.rows:
        click.echo("nothing was sent" + (" that fits" if pipeline or since else " yet"), err=True)
    else:
        console = results()
        console.print(_table(found, console.width))


def _table(found: Costs, width: int) -> Table:
    """Lay out the rows; only the first column gives way where the terminal is narrow."""
    lines = [(_name(found, row), _cells(row.spent)) for row in found.rows[:SHOWN]]
    total = _cells(found.total)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    widths = [
        max(len(name), len(total[position]), *(len(cells[position]) for _, cells in lines))
        for position, name in enumerate(COLUMNS)
    ]
    told = max(len(cells[-1]) for _, cells in lines)
    left = width - sum(widths) - 2 * len(widths) - (told + 2 if told else 0)
    table.add_column(found.by, no_wrap=True, overflow="ellipsis", max_width=max(KEY_LEAST, left))
    for name, least in zip(COLUMNS, widths, strict=True):
        table.add_column(name, justify="right", no_wrap=True, min_width=least)
    if told:
        table.add_column("", no_wrap=True, overflow="ellipsis")
    shown = len(COLUMNS) + bool(told)
    for name, cells in lines:
        table.add_row(name, *cells[:shown])
    if len(found.rows) > SHOWN:
        table.add_row(f"and {len(found.rows) - SHOWN:,} more (--json)", style="dim")
    table.add_row("total", *total[:shown], style="bold")
    return table


def _name(found: Costs, row: Row) -> str:
    if row.key is None:
        return _NOTHING.get(found.by, "(none)")
    several = len({row.pipeline for row in found.rows if row.pipeline is not None}) > 1
    return harmless(f"{row.pipeline}/{row.key}" if several and row.pipeline is not None else row.key)


def _cells(spent: Spent) -> list[str]:
    tokens = (
        spent.input_tokens,
        spent.cache_read_input_tokens,
        spent.output_tokens,
        spent.reasoning_output_tokens,
    )
    said = [f"{spent.possibly_paid:,} possibly paid"] if spent.possibly_paid else []
    said += [f"{spent.unpriced:,} without a price"] if spent.unpriced else []
    return [
        count(spent.calls),
        *(count(one) if one else "" for one in tokens),
        money(Decimal(spent.cost) / PICODOLLARS),
        ", ".join(said),
    ]
