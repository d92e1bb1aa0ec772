"""`stagebook doctor`: what is set up, what is missing, and what to type."""

import asyncio
import os
from itertools import groupby
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from stagebook.cli.console import harmless, print_json, results, stdout_kept_clean
from stagebook.cli.options import json_option, ledger_option
from stagebook.insight.doctor import BROKEN, OK, Diagnosis, Finding, diagnose
from stagebook.insight.doctor_ledger import examine
from stagebook.ledger.location import locate

STYLES: Final = {OK: "green", BROKEN: "red"}
MARKS: Final = {OK: "ok", BROKEN: "!!"}


@click.command
@json_option
@ledger_option
def doctor(*, as_json: bool, ledger: str | None) -> int:
    """Say what is set up here, what is missing, and what to type for it; keys are never shown.

    Exit code 0 where a run can begin: the ledger can be written, and there is a model to ask. 1 otherwise.
    """
    with stdout_kept_clean():  # a package may print when its pipeline is imported
        found = diagnose(asyncio.run(examine(locate(ledger))), os.environ)
    if as_json:
        print_json(_document(found))
    else:
        _print(results(), found)
    return 0 if found.usable else 1


def _print(console: Console, found: Diagnosis) -> None:
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column(overflow="fold")
    for area, findings in groupby(found.findings, key=lambda one: one.area):
        for place, one in enumerate(findings):
            table.add_row("" if place else area, MARKS.get(one.state, "-"), one.name, _told(one))
    console.print(table)
    console.print()
    if found.usable:
        models = ", ".join(f"{one}..." if one.endswith(":") else one for one in found.models)
        console.print(f"Ready. Models to ask: {models}", style=STYLES[OK], soft_wrap=True)
        return
    for one in found.of("ledger"):
        if one.state != OK:
            console.print(f"The ledger cannot be used: {harmless(one.said)}; {one.mend}", style=STYLES[BROKEN])
    if not found.models:
        console.print(
            "No model can be asked: set a provider's key, or type: stagebook models get smollm2", style=STYLES[BROKEN]
        )


def _told(one: Finding) -> str:
    return harmless(one.said if one.mend is None else f"{one.said}: {one.mend}")


def _document(found: Diagnosis) -> dict[str, object]:
    return {
        "usable": found.usable,
        "models": list(found.models),
        "findings": [
            {
                "area": one.area,
                "name": one.name,
                "state": one.state,
                "said": one.said,
                "mend": one.mend,
                "facts": dict(one.facts),
            }
            for one in found.findings
        ],
    }
