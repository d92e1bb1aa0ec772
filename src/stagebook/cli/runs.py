"""`stagebook runs`: the runs of a ledger, newest first."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import click
from rich.table import Table

from stagebook.cli.console import print_json, results
from stagebook.cli.opened import look
from stagebook.cli.options import json_option, ledger_option
from stagebook.cli.quantities import duration, money
from stagebook.cli.stage_table import styled
from stagebook.insight.overview import list_runs
from stagebook.insight.run_document import RunDocument
from stagebook.model.status import RunStatus
from stagebook.model.usage import PICODOLLARS

LIMIT: Final = 50


@click.command
@click.option("--pipeline", metavar="P", help="Only of this pipeline.")
@click.option(
    "--status", type=click.Choice([status.value for status in RunStatus]), metavar="S", help="Only those that stand so."
)
@click.option("--tag", metavar="T", help="Only those with this tag.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Most runs to list.")
@json_option
@ledger_option
def runs(
    *, pipeline: str | None, status: str | None, tag: str | None, limit: int, as_json: bool, ledger: str | None
) -> None:
    """List runs, newest first."""
    wanted = RunStatus(status) if status is not None else None
    found = look(ledger, lambda opened: list_runs(opened, pipeline=pipeline, status=wanted, tag=tag, limit=limit))
    if as_json:
        print_json({"runs": [run.to_json() for run in found]})
    elif not found:
        click.echo("no run" + (" fits" if pipeline or status or tag else " yet: begin with stagebook run"), err=True)
    else:
        results().print(_table(found))


def _table(found: list[RunDocument]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True, min_width=len("RUN_20260115_181206"))
    table.add_column("pipeline", no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True, min_width=len("interrupted"))
    table.add_column("stages", justify="right", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("begun", no_wrap=True, overflow="ellipsis")
    for run in found:
        progress = run.progress
        table.add_row(
            run.run_id,
            run.pipeline,
            styled(run.status),
            f"{progress['completed']}/{progress['total']}",
            money(Decimal(run.cost) / PICODOLLARS),
            duration(run.seconds) if run.seconds else "",
            f"{datetime.fromtimestamp(run.created_at / 1e6, UTC).astimezone():%d %b %H:%M}",
        )
    return table
