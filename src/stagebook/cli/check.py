"""`stagebook check`: whether a ledger is whole."""

import asyncio

import click

from stagebook.cli.console import harmless, print_json
from stagebook.cli.opened import look, open_existing
from stagebook.cli.options import json_option, ledger_option
from stagebook.cli.quantities import plural
from stagebook.cli.told import told
from stagebook.ledger.sql.integrity import Checked, Fixed


@click.command
@click.option("--fix", is_flag=True, help="Remove what belongs to nothing (orphans); nothing else is changed.")
@json_option
@ledger_option
def check(*, fix: bool, as_json: bool, ledger: str | None) -> int:
    """Look the ledger over: the database, every hash, every request, sums, and what belongs to nothing.

    Exit code 0 where it is sound, 1 with a line for each finding.
    """
    fixed = asyncio.run(_fix(ledger)) if fix else None
    found = look(ledger, lambda opened: opened.upkeep.check(told()))
    if as_json:
        print_json(_document(found, fixed))
        return 1 if found.findings else 0
    if fixed is not None:
        parts = [plural(fixed.rows, "row"), plural(fixed.payloads, "payload"), plural(len(fixed.files), "file")]
        click.echo(f"removed {', '.join(parts)} that belonged to nothing")
    for one in found.findings:
        click.echo(harmless(f"{one.kind}: {one.what}; {one.mend}").replace("\n", " "))
    if found.findings:
        return 1
    looked = ", ".join(plural(number, name.removesuffix("s")) for name, number in found.counts.items())
    click.echo(f"the ledger is sound: {looked}")
    return 0


async def _fix(url: str | None) -> Fixed:
    async with await open_existing(url) as ledger:
        return await ledger.upkeep.fix()


def _document(found: Checked, fixed: Fixed | None) -> dict[str, object]:
    document: dict[str, object] = {
        "sound": not found.findings,
        "checked": found.counts,
        "findings": [{"kind": one.kind, "what": one.what, "mend": one.mend} for one in found.findings],
    }
    if fixed is not None:
        document["fixed"] = {"rows": fixed.rows, "payloads": fixed.payloads, "files": len(fixed.files)}
    return document
