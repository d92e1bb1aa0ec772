"""`stagebook purge`: bodies of requests and answers that are no longer wanted."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final

import click

from stagebook.cli.console import print_json
from stagebook.cli.opened import look, open_existing
from stagebook.cli.options import json_option, ledger_option
from stagebook.cli.quantities import plural
from stagebook.cli.told import told
from stagebook.insight.ended_runs import Bodies, bodies_of, ended_runs
from stagebook.ledger.clock import now
from stagebook.ledger.store import Ledger
from stagebook.ledger.upkeep import PurgedRuns

UNITS: Final = {"h": 3600, "d": 86_400, "w": 604_800}
"""Seconds."""


class Age(click.ParamType[int]):
    """A time that has passed: `12h`, `90d`, `8w`; in microseconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        found = re.fullmatch(r"(\d+)([hdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is no age; write 12h, 90d or 8w", param, ctx)
        return int(found[1]) * UNITS[found[2]] * 1_000_000


@dataclass(frozen=True, slots=True)
class _Purge:
    """What is or would be purged."""

    runs: list[str]
    bodies: Bodies
    done: PurgedRuns | None


@click.command
@click.option(
    "--older-than", "age", type=Age(), required=True, metavar="AGE", help="Since a run's last step: 12h, 90d."
)
@click.option("--bodies", is_flag=True, required=True, help="What to remove: bodies of requests and answers.")
@click.option("--dry-run", is_flag=True, help="Only say what it would remove.")
@json_option
@ledger_option
def purge(*, age: int, bodies: bool, dry_run: bool, as_json: bool, ledger: str | None) -> None:  # noqa: ARG001  says what, and there is one thing so far
    """Remove the bodies of requests and answers of runs that ended long ago; rows, tokens, costs and outputs stay.

    Such a run can be shown and queried. When one that had failed is resumed, what was not completed is asked again.
    """
    before = now() - age
    found = look(ledger, lambda opened: _plan(opened, before)) if dry_run else asyncio.run(_purge(ledger, before))
    if as_json:
        print_json(_document(found))
        return
    what = f"{plural(found.bodies.exchanges, 'exchange')} of {plural(len(found.runs), 'run')}"
    if found.done is None:
        click.echo(f"would remove the bodies of {what} ({found.bodies.bytes:,} bytes as they were sent)")
        return
    click.echo(
        f"removed the bodies of {what}: {plural(found.done.taken.payloads, 'payload')}, "
        f"{found.done.taken.bytes:,} bytes that the database uses again, {plural(len(found.done.taken.files), 'file')}"
    )


async def _plan(ledger: Ledger, before: int) -> _Purge:
    runs = await ended_runs(ledger, before)
    return _Purge([run.run_id for run in runs], await bodies_of(ledger, runs), None)


async def _purge(url: str | None, before: int) -> _Purge:
    async with await open_existing(url) as ledger:
        runs = await ended_runs(ledger, before)
        bodies = await bodies_of(ledger, runs)
        done = await ledger.upkeep.purge_bodies([(run.id, run.run_id) for run in runs], told())
    return _Purge([run.run_id for run in runs if run.run_id not in done.driven], bodies, done)


def _document(found: _Purge) -> dict[str, object]:
    return {
        "dry_run": found.done is None,
        "runs": found.runs,
        "exchanges": found.bodies.exchanges,
        "body_bytes": found.bodies.bytes,
        "payloads": 0 if found.done is None else found.done.taken.payloads,
        "freed_bytes": 0 if found.done is None else found.done.taken.bytes,
        "files": 0 if found.done is None else len(found.done.taken.files),
    }
