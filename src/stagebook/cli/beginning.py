"""Begins a run as it was typed and drives it to its end."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stagebook.cli.console import stdout_kept_clean
from stagebook.cli.driving import Outcome, Telling, drive, finish
from stagebook.cli.given_endpoints import read_endpoints
from stagebook.cli.given_input import read_input
from stagebook.cli.report import HOSTED
from stagebook.definition.graph import Graph
from stagebook.definition.loading import find
from stagebook.engine.api import preflight
from stagebook.engine.plan import scope
from stagebook.engine.session import Site, Start, begin_driven
from stagebook.engine.settings import Settings, picodollars
from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError

LOCAL: Final = "local:"


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed after `stagebook run`."""

    pipeline: str
    inputs: tuple[str, ...]
    settings: tuple[str, ...]
    """`--set`, each as it stands."""
    models: tuple[str, ...]
    """`--model`, each as it stands."""
    until: str | None
    budget: str | None
    """`--budget`, dollars."""
    prices: tuple[str, ...]
    """`--price`, each as it stands."""
    limits: tuple[str, ...]
    """`--limit`, each as it stands."""
    concurrency: int | None
    lenient: bool
    provider_batch: bool
    tries: int | None
    tags: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    """`--endpoint`, each as it stands."""
    reuse: bool = False

    def again(self) -> list[str]:
        """The words that run the same on a hosted model."""
        given = [word for setting in self.settings for word in ("--set", setting)]
        return ["run", self.pipeline, *self.inputs, *given, "--model", HOSTED]

    def chosen(self) -> Settings:
        """Read what changes how the run goes.

        Raises:
            InputError: Two models are given for everything, or for one stage; a price or a limit is for no model; an
                endpoint cannot be used.
            UsageError: The budget is no amount.
        """
        general: str | None = None
        by_stage: dict[str, str] = {}
        for typed in self.models:
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
        given = [one.rpartition("=") for one in self.prices]
        unclear = next((typed for typed, (model, _, _) in zip(self.prices, given, strict=True) if not model), None)
        if unclear is not None:
            raise InputError(f"--price {unclear} is not of the form MODEL=IN/OUT, as in openai:gpt-4.1-mini=0.40/1.60")
        limited = [one.rpartition("=") for one in self.limits]
        unclear = next((typed for typed, (name, _, _) in zip(self.limits, limited, strict=True) if not name), None)
        if unclear is not None:
            raise InputError(f"--limit {unclear} is not of the form MODEL=RPM/TPM, as in openai:gpt-4.1-mini=3000/2M")
        chosen = Settings(
            model=general,
            models=by_stage,
            until=self.until,
            lenient=self.lenient,
            reuse=self.reuse,
            provider_batch=self.provider_batch,
            tries=self.tries,
            budget=None if self.budget is None else picodollars(self.budget),
            prices={model: price for model, _, price in given},
            limits={name: limit for name, _, limit in limited},
            endpoints=read_endpoints(self.endpoints),
        )
        return chosen if self.concurrency is None else replace(chosen, concurrency=self.concurrency)


def begin_run(typed: Typed, *, as_json: bool, ledger: str | None) -> int:
    """Begin and drive a run; nothing is written where it cannot begin.

    Returns:
        The exit code.

    Raises:
        StagebookError: It could not begin, or not be driven.
    """
    start = prepare(typed)
    again = typed.again() if _asks_local(start.graph, start.settings) else ()
    return finish(_begin(start, Telling(as_json, ledger, again)))


def prepare(typed: Typed) -> Start:
    """Read all that was typed: find the pipeline, and make its input.

    Raises:
        StagebookError: Something of it cannot be used.
    """
    with stdout_kept_clean():  # a user's file may print when it is imported
        found = find(typed.pipeline)
        graph = found.pipeline.check()
        chosen = typed.chosen()
        chosen.check(graph)
        given = read_input(graph.input, graph.name, [Path(one) for one in typed.inputs], typed.settings)
    return Start(graph, found.source, given, chosen, typed.tags, "cli")


async def _begin(start: Start, telling: Telling) -> Outcome:
    await preflight(start)
    async with await Ledger.open(telling.ledger) as ledger:
        site = Site(ledger, os.environ)
        run, claim = await begin_driven(start, site)
        return await drive(run, start.graph, site, telling, claim)


def _asks_local(graph: Graph, settings: Settings) -> bool:
    """Whether a model in this process is asked: then a hosted one is worth proposing."""
    asked = (settings.model_of(graph.stages[name]) for name in scope(graph, settings.until))
    return any(model is not None and model.startswith(LOCAL) for model in asked)
