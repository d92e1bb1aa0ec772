"""`stagebook sql`: questions to the ledger, read-only."""

import asyncio
import csv
import io
import sys
from collections.abc import Iterable
from typing import Any, Final

import click
from rich.table import Table as Drawn

from stagebook.cli.console import harmless, notes, print_json, results
from stagebook.cli.opened import look, open_existing
from stagebook.cli.options import json_option, ledger_option
from stagebook.cli.quantities import plural
from stagebook.ledger.sql.typed_views import TypedView
from stagebook.ledger.table import LIMIT, TIMEOUT, Cell, Table

CELL: Final = 200
"""Characters of a cell that are drawn."""


@click.command
@click.argument("query", metavar="SELECT", required=False)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Most rows to give.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT,
    show_default=True,
    help="Seconds that it may take.",
)
@click.option("--views", "list_views", is_flag=True, help="List the views and their columns.")
@click.option("--install-views", is_flag=True, help="Put the views of all stages in place for other SQLite clients.")
@ledger_option
def sql(
    *,
    query: str | None,
    as_json: bool,
    as_csv: bool,
    limit: int,
    timeout: float,
    list_views: bool,
    install_views: bool,
    ledger: str | None,
) -> None:
    """Ask the ledger in SQL; nothing can be changed by it.

    Views: stage_outputs (one row per output, its text and its data), costs (one row per request), v2_pipeline_steps
    (one row per step). Every stage has a view with a column per field of its output, such as book__label_page, and one
    with a row per element for each list in it: book__label_page__words. Tables: runs, steps, attempts, outputs,
    exchanges, and more: docs/reference/ledger.md lists them.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; keep one")
    if sum((query is not None, list_views, install_views)) != 1:
        raise click.UsageError("write one SELECT, or --views to list what there is to ask for, or --install-views")
    if list_views:
        _print_views(look(ledger, lambda opened: opened.upkeep.typed_views()), as_json=as_json)
        return
    if install_views:
        made = asyncio.run(_install(ledger))
        if as_json:
            _print_views(made, as_json=True)
        else:
            click.echo(f"{plural(len(made), 'view')} put in place; do it again after a pipeline's outputs have changed")
        return
    assert query is not None  # noqa: S101  seen above
    table = look(ledger, lambda opened: opened.query(query, limit=limit, timeout=timeout))
    if as_json:
        print_json({"columns": table.columns, "rows": [[_plain(cell) for cell in row] for row in table.rows]})
    elif as_csv:
        _print_csv(table)
    elif table.columns:
        results().print(_draw(table))
    if table.truncated:
        notes().say(f"more rows than {limit:,} fit; --limit gives more")


async def _install(url: str | None) -> list[TypedView]:
    async with await open_existing(url) as ledger:
        return await ledger.upkeep.install_views()


def _print_views(views: list[TypedView], *, as_json: bool) -> None:
    if as_json:
        print_json({"views": [{"name": view.name, "columns": view.columns} for view in views]})
        return
    console = results()
    for view in views:
        console.print(harmless(f"{view.name}: {', '.join(view.columns)}"), soft_wrap=True)


def _plain(cell: Cell) -> Any:
    """Give a cell as JSON has it; bytes become hexadecimal digits."""
    return cell.hex() if isinstance(cell, bytes) else cell


def _print_csv(table: Table) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_plain(cell) for cell in row] for row in table.rows)
    sys.stdout.buffer.write(text.getvalue().encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def _draw(table: Table) -> Drawn:
    drawn = Drawn(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for position, name in enumerate(table.columns):
        numbers = all(isinstance(row[position], int | float | None) for row in table.rows)
        drawn.add_column(name, justify="right" if numbers and table.rows else "left", overflow="ellipsis", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*_cells(row))
    return drawn


def _cells(row: Iterable[Cell]) -> list[str]:
    shown = []
    for cell in row:
        text = "" if cell is None else harmless(str(_plain(cell))).replace("\n", "⏎")
        shown.append(text if len(text) <= CELL else f"{text[: CELL - 1]}…")
    return shown
