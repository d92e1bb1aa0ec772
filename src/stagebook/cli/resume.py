"""`stagebook resume`: goes on with a run where it stopped."""

import os

import click

from stagebook.cli.console import notes, stdout_kept_clean
from stagebook.cli.driving import Outcome, Telling, drive, finish
from stagebook.cli.opened import open_existing
from stagebook.cli.options import json_option, ledger_option, run_argument
from stagebook.cli.quantities import plural
from stagebook.definition.loading import find
from stagebook.engine.api import reopen
from stagebook.engine.session import Site
from stagebook.engine.settings import Settings
from stagebook.ledger.location import locate
from stagebook.model.errors import UsageError


@click.command
@run_argument
@click.option(
    "--budget", metavar="USD", help="Most dollars that the whole run may cost from now on; `none` for no limit."
)
@click.option("--take-over", is_flag=True, help="Take the run from a driver that is gone; for ledgers in PostgreSQL.")
@json_option
@ledger_option
def resume(*, run_id: str, budget: str | None, take_over: bool, as_json: bool, ledger: str | None) -> int:
    """Go on with RUN (`last` for the latest): what is finished is not run again, nor paid again."""
    if take_over and locate(ledger).server is None:
        raise UsageError(
            "--take-over is for ledgers in PostgreSQL: here a file lock (flock) holds a run and ends with its driver,"
            " so that a run which is driven has a living driver; stop that, or resume without --take-over"
        )
    return finish(_resume(run_id, budget, Telling(as_json, ledger), take_over=take_over))


async def _resume(run_id: str, budget: str | None, telling: Telling, *, take_over: bool) -> Outcome:
    async with await open_existing(telling.ledger) as ledger:
        again = await reopen(ledger, run_id, take_over=take_over)
        settings = Settings.load(again.settings).with_budget(budget)
        purged = await ledger.upkeep.answers_to_ask_again(again.id)
        if purged:
            what = f"{plural(purged, 'recorded answer')} of unfinished steps had been purged"
            notes().say(f"{what}: what they answered is asked, and paid for, again")
        with stdout_kept_clean():  # a user's file may print when it is imported
            graph = find(again.source).pipeline.check()
        return await drive(again, graph, Site(ledger, os.environ), telling, settings=settings)
