"""`stagebook run`: begins a run of a pipeline and drives it to its end."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from stagebook.cli.driving import Outcome, Telling, drive, finish
from stagebook.cli.given_input import read_input
from stagebook.cli.options import json_option, ledger_option
from stagebook.cli.report import HOSTED
from stagebook.definition.graph import Graph
from stagebook.definition.loading import Found, find
from stagebook.engine.api import preflight
from stagebook.engine.plan import scope
from stagebook.engine.session import Site, Start, begin
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError

LOCAL: Final = "local:"


@dataclass(frozen=True, slots=True)
class _Typed:
    """What was typed, as far as it makes the input."""

    pipeline: str
    inputs: tuple[str, ...]
    settings: tuple[str, ...]

    def again(self) -> list[str]:
        """The words that run the same on a hosted model."""
        given = [word for setting in self.settings for word in ("--set", setting)]
        return ["run", self.pipeline, *self.inputs, *given, "--model", HOSTED]


@click.command
@click.argument("pipeline", metavar="PIPELINE|FILE.py")
@click.argument("inputs", nargs=-1, metavar="[INPUT.json|FILE]...")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Set a field of the input; K=@FILE reads a file.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="M|STAGE=M",
    help="Ask this model, provider:name, everywhere or in one stage.",
)
@click.option("--until", metavar="STAGE", help="Stop after this stage and what it needs.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Most steps at once. [default: 16]")
@click.option("--lenient", is_flag=True, help="Accept a last answer that fails its checks, with a warning.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="A label to find the run by.")
@json_option
@ledger_option
def run(
    *,
    pipeline: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    models: tuple[str, ...],
    until: str | None,
    concurrency: int | None,
    lenient: bool,
    tags: tuple[str, ...],
    as_json: bool,
    ledger: str | None,
) -> int:
    """Run a pipeline on an input.

    The pipeline is an installed one (`stagebook pipelines` lists them), a file, or package.module:name. The input is a
    JSON file, or a text file that fills the input's one text field; --set sets its other fields.
    """
    found = find(pipeline)
    graph = found.pipeline.check()
    chosen = replace(_chosen(models), until=until, lenient=lenient)
    if concurrency is not None:
        chosen = replace(chosen, concurrency=concurrency)
    chosen.check(graph)
    given = read_input(graph.input, graph.name, [Path(one) for one in inputs], settings)
    start = Start(graph, found.source, given, chosen, tags, "cli")
    again = _Typed(pipeline, inputs, settings).again() if _asks_local(graph, chosen) else ()
    return finish(_begin(start, found, Telling(as_json, ledger, again)))


async def _begin(start: Start, found: Found, telling: Telling) -> Outcome:
    await preflight(start)
    async with await Ledger.open(telling.ledger) as ledger:
        site = Site(ledger, os.environ)
        begun = await begin(start, site)
        return await drive(begun, found.pipeline.check(), site, telling)


def _chosen(models: Sequence[str]) -> Settings:
    """Read `--model M` and `--model STAGE=M`.

    Raises:
        InputError: Two models are given for everything, or for one stage.
    """
    general: str | None = None
    by_stage: dict[str, str] = {}
    for typed in models:
        stage, equals, name = typed.partition("=")
        if not equals or ":" in stage:
            if general is not None:
                raise InputError(
                    f"--model {general} and --model {typed} exclude each other; for one stage write STAGE={typed}"
                )
            general = typed
        elif stage in by_stage:
            raise InputError(f"--model {stage}=... is given twice; keep one")
        else:
            by_stage[stage] = name
    return Settings(model=general, models=by_stage)


def _asks_local(graph: Graph, settings: Settings) -> bool:
    """Whether a model in this process is asked: then a hosted one is worth proposing."""
    asked = (settings.model_of(graph.stages[name]) for name in scope(graph, settings.until))
    return any(model is not None and model.startswith(LOCAL) for model in asked)
