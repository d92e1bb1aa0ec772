"""`stagebook pause` and `stagebook cancel`: what the owner wants of a run; its driver looks twice a second."""

import asyncio
import os

import click

from stagebook.cli.command_lines import command
from stagebook.cli.opened import open_existing
from stagebook.cli.options import ledger_option, run_argument
from stagebook.engine.session import Site, cancel_batches
from stagebook.insight.overview import describe
from stagebook.ledger.clock import now
from stagebook.ledger.facts import WishSet
from stagebook.model.errors import UsageError
from stagebook.model.records import Run
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
        NotFound: No run is called so.
        UsageError: The run stands so that the wish would change nothing.
    """
    async with await open_existing(url) as ledger:
        run = await ledger.run(typed)
        status = (await describe(ledger, run.run_id)).status
        resume = command("resume", run.run_id, ledger=url)
        _refuse(run, status, wish, resume)
        again = run.wish is wish
        if not again:
            await ledger.write(WishSet(run.id, wish, now()))
        told = ""
        if wish is Wish.CANCEL and status != RunStatus.RUNNING:
            ended = await cancel_batches(run, Site(ledger, os.environ))
            told = f", and {ended} of its batches at the provider with it" if ended else ""
    if status == RunStatus.RUNNING:
        wished = f"{wish} is wished already" if again else f"{wish} wished"
        return f"{run.run_id}: {wished}; its driver finishes what is in flight and then stops"
    if wish is Wish.CANCEL:
        return f"{run.run_id} is cancelled{told}"
    return f"{run.run_id} is paused; nobody was driving it. Go on with: {resume}"


def _refuse(run: Run, status: str, wish: Wish, resume: str) -> None:
    """See that a wish would change something.

    Raises:
        UsageError: It would not.
    """
    if status in {RunStatus.COMPLETED, RunStatus.CANCELLED}:
        raise UsageError(f"{run.run_id} is {status} already; there is nothing to {wish}")
    if wish is Wish.CANCEL:
        return
    if run.wish is Wish.CANCEL:
        raise UsageError(f"{run.run_id} is being cancelled, which is for good; it cannot be paused any more")
    if status == RunStatus.FAILED:
        raise UsageError(f"{run.run_id} has failed and nobody drives it; there is nothing to pause ({resume} goes on)")
    if status == RunStatus.PAUSED:
        raise UsageError(f"{run.run_id} is paused already ({resume} goes on)")
