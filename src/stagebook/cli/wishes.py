"""`stagebook pause` and `stagebook cancel`: what the owner wants of a run; its driver looks about once a second."""

import asyncio

import click

from stagebook.cli.command_lines import command
from stagebook.cli.opened import open_existing
from stagebook.cli.options import ledger_option, run_argument
from stagebook.insight.overview import describe
from stagebook.ledger.clock import now
from stagebook.ledger.facts import WishSet
from stagebook.model.errors import UsageError
from stagebook.model.status import RunStatus, Wish


@click.command
@run_argument
@ledger_option
def pause(run_id: str, ledger: str | None) -> None:
    """Let RUN finish what is in flight and begin nothing new; `stagebook resume` goes on."""
    click.echo(asyncio.run(_wish(run_id, ledger, Wish.PAUSE)))


@click.command
@run_argument
@ledger_option
def cancel(run_id: str, ledger: str | None) -> None:
    """Let RUN finish what is in flight and begin nothing new, for good."""
    click.echo(asyncio.run(_wish(run_id, ledger, Wish.CANCEL)))


async def _wish(typed: str, url: str | None, wish: Wish) -> str:
    """Set a wish and say what follows.

    Raises:
        UsageError: The run has ended, so that there is nothing to wish.
    """
    async with await open_existing(url) as ledger:
        run = await ledger.run(typed)
        standing = await describe(ledger, run.run_id)
        if standing.status in {RunStatus.COMPLETED, RunStatus.CANCELLED}:
            raise UsageError(f"{run.run_id} is {standing.status} already; there is nothing to {wish}")
        if standing.status == RunStatus.FAILED and wish is Wish.PAUSE:
            again = command("resume", run.run_id, ledger=url)
            raise UsageError(
                f"{run.run_id} has failed and nobody drives it; there is nothing to pause ({again} goes on)"
            )
        await ledger.write(WishSet(run.id, wish, now()))
    if standing.status == RunStatus.RUNNING:
        return f"{run.run_id}: {wish} wished; its driver finishes what is in flight and then stops"
    if wish is Wish.CANCEL:
        return f"{run.run_id} is cancelled"
    return f"{run.run_id} is paused; nobody was driving it. Go on with: {command('resume', run.run_id, ledger=url)}"
