"""`stagebook delete`: a run and everything that only it needs."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import click

from stagebook.cli.console import print_json
from stagebook.cli.documents import texts_folder
from stagebook.cli.opened import open_existing
from stagebook.cli.options import json_option, ledger_option, run_argument
from stagebook.cli.quantities import plural
from stagebook.cli.told import told
from stagebook.ledger.sql.unused import TakenAway
from stagebook.model.errors import UsageError


@click.command
@run_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@ledger_option
def delete(*, run_id: str, yes: bool, as_json: bool, ledger: str | None) -> None:
    """Delete RUN for good: its steps, prompts, answers and outputs, and its texts beside the ledger."""
    name, taken = asyncio.run(_delete(run_id, ledger, yes=yes))
    if as_json:
        print_json({"run_id": name, "payloads": taken.payloads, "bytes": taken.bytes, "files": len(taken.files)})
    else:
        what = f"{plural(taken.payloads, 'payload')} and {plural(len(taken.files), 'file')}"
        click.echo(f"{name} is deleted, with {what} that nothing else used")


async def _delete(typed: str, url: str | None, *, yes: bool) -> tuple[str, TakenAway]:
    async with await open_existing(url) as ledger:
        run = await ledger.run(typed)
        if not yes:
            _ask(f"Delete {run.run_id} ({run.pipeline}) for good?")
        if not ledger.is_driven(run.run_id):  # first, so that a kill leaves nothing that cannot be deleted again
            _delete_texts(texts_folder(run.run_id, url))
        return run.run_id, await ledger.upkeep.delete(run.id, run.run_id, told())


def _delete_texts(folder: Path) -> None:
    for path in folder.glob("*.md"):
        path.unlink()
    with suppress(OSError):  # somebody put other files there, or there is none
        folder.rmdir()


def _ask(question: str) -> None:
    """Ask on a terminal.

    Raises:
        UsageError: There is none.
        Abort: The answer is no.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is at a terminal to say so: write --yes")
    click.confirm(question, abort=True, err=True)
