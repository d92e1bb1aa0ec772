"""`stagebook export` and `stagebook import`: a run as a file that another ledger can take in."""

import asyncio
from pathlib import Path

import click

from stagebook.cli.command_lines import command
from stagebook.cli.console import print_json
from stagebook.cli.documents import file_name, shown
from stagebook.cli.opened import look
from stagebook.cli.options import json_option, ledger_option, run_argument
from stagebook.cli.quantities import plural
from stagebook.ledger.location import locate
from stagebook.ledger.sql.run_import import Imported
from stagebook.ledger.store import Ledger
from stagebook.ledger.upkeep import read_run_file


@click.command
@run_argument
@click.option(
    "--to", "path", required=True, type=click.Path(path_type=Path), help="The file, or a folder for RUN_....json."
)
@json_option
@ledger_option
def export(*, run_id: str, path: Path, as_json: bool, ledger: str | None) -> None:
    """Write RUN as one JSON document: every prompt, answer, output and event; `stagebook import` takes it in again."""
    into = path if path.is_dir() else None

    async def work(opened: Ledger) -> tuple[str, Path, int]:
        run = await opened.run(run_id)
        target = path if into is None else into / f"{file_name(run.run_id)}.json"
        return run.run_id, target, await opened.upkeep.export(run.id, target)

    name, target, size = look(ledger, work)
    if as_json:
        print_json({"run_id": name, "path": str(target), "bytes": size})
    else:
        click.echo(f"{name} written to {shown(target)} ({size:,} bytes)")


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@ledger_option
def import_(*, path: Path, as_json: bool, ledger: str | None) -> None:
    """Take in a run that `stagebook export` wrote; it keeps its id, and can be shown, queried and resumed here."""
    found = asyncio.run(_import(path, ledger))
    if as_json:
        print_json({"run_id": found.run_id, "new": found.new, "steps": found.steps, "exchanges": found.exchanges})
    elif found.new:
        what = f"{plural(found.steps, 'step')}, {plural(found.exchanges, 'exchange')}"
        click.echo(f"{found.run_id} imported ({what}); see it with: {command('show', found.run_id, ledger=ledger)}")
    else:
        click.echo(f"{found.run_id} is here already, with the same content; nothing was changed")


async def _import(path: Path, url: str | None) -> Imported:
    place = locate(url)
    if place.server is not None or not place.may_exist:
        read_run_file(path)  # what is no run makes no ledger either
    async with await Ledger.open(url) as ledger:
        return await ledger.upkeep.import_run(path)
