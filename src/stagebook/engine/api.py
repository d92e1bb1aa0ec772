"""Running pipelines from Python: `run` and `resume`, and the same to await."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from stagebook.definition.loading import Found, find
from stagebook.definition.pipeline import Pipeline
from stagebook.engine.drive import Ended
from stagebook.engine.result import RunResult, in_own_loop, result_of
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.session import check as check_start
from stagebook.engine.settings import Dollars, Settings, picodollars
from stagebook.engine.unfinished import unfinished
from stagebook.ledger.claim import Claim
from stagebook.ledger.location import MEMORY, locate
from stagebook.ledger.store import Ledger
from stagebook.llm.endpoint import Endpoint
from stagebook.model.errors import InputError, RunFailed, RunInterrupted, RunPaused, UsageError
from stagebook.model.records import Run
from stagebook.model.status import RunStatus, Wish

LEDGER = "STAGEBOOK_LEDGER"
"""Environment variable that names the ledger where nothing else does."""

Place = str | Path | Ledger | None


def run(
    pipeline: Pipeline | str,
    given: BaseModel,
    *,
    model: str | None = None,
    models: Mapping[str, str] | None = None,
    ledger: Place = None,
    until: str | None = None,
    concurrency: int | None = None,
    budget: Dollars | None = None,
    prices: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    endpoints: Mapping[str, Endpoint] | None = None,
    lenient: bool = False,
    reuse: bool = False,
    provider_batch: bool = False,
    go_on: bool = False,
    tags: Sequence[str] = (),
    check: bool = True,
) -> RunResult:
    """Run a pipeline and wait for its end; works inside a running loop too, as in a notebook.

    Args:
        pipeline: The pipeline, or where it is found: `file.py`, `package.module:name`, the name of an installed one.
        given: The run's input, of the pipeline's input model.
        model: Asked by every prompt instead of its own model, `provider:name`.
        models: Stage -> model; stronger than `model`.
        ledger: A path, `sqlite:///path`, `postgresql://user@host/database`, or an open ledger; by default
            STAGEBOOK_LEDGER, else `.stagebook/ledger.db`.
        until: Last stage: it and everything above it runs.
        concurrency: Most steps at once.
        budget: Dollars that the run may cost at most; before a call that could pass them it pauses.
        prices: Model -> what it costs, for those that no price list has or that are cheaper for you: dollars for a
            million tokens read, a slash, for a million written, as in `{"openai:my-model": "0.40/1.60"}`.
        limits: `provider:model` or `provider` -> what it lets through in any minute: requests, a slash, tokens, as in
            `{"openai": "3000/2M"}`. A 429 slows down in any case.
        endpoints: Name -> an HTTP endpoint of any shape, asked as `endpoint:NAME`.
        lenient: Accept a prompt's last answer with a warning when its tries are used up.
        reuse: Ask only what no other run of the pipeline was answered: the very same request, to the same model.
        provider_batch: Ask prompts that have many items through the provider's batches (OpenAI, Anthropic): half the
            price, and answers within a day instead of seconds.
        go_on: Where the last run of the same input and the same models was interrupted, paused or failed, go on with
            that one instead of beginning another; its tags stay.
        tags: Labels to find the run by.
        check: Raise where the run did not end well; otherwise its status tells.

    Raises:
        RunFailed: A step failed; the text names it and its reason.
        RunPaused: Its budget was reached, or it was paused from outside.
        RunInterrupted: It was cancelled from outside.
        UsageError: A name, a setting or the input cannot be used; nothing was written.
        MissingKey: A model that would be asked needs a key that is not set.
    """
    return in_own_loop(
        lambda: arun(
            pipeline,
            given,
            model=model,
            models=models,
            ledger=ledger,
            until=until,
            concurrency=concurrency,
            budget=budget,
            prices=prices,
            limits=limits,
            endpoints=endpoints,
            lenient=lenient,
            reuse=reuse,
            provider_batch=provider_batch,
            go_on=go_on,
            tags=tags,
            check=check,
        )
    )


def resume(
    run_id: str,
    *,
    pipeline: Pipeline | str | None = None,
    ledger: Place = None,
    budget: Dollars | None = None,
    take_over: bool = False,
    check: bool = True,
) -> RunResult:
    """Go on with a run and wait for its end; as `aresume`."""
    return in_own_loop(
        lambda: aresume(run_id, pipeline=pipeline, ledger=ledger, budget=budget, take_over=take_over, check=check)
    )


async def arun(
    pipeline: Pipeline | str,
    given: BaseModel,
    *,
    model: str | None = None,
    models: Mapping[str, str] | None = None,
    ledger: Place = None,
    until: str | None = None,
    concurrency: int | None = None,
    budget: Dollars | None = None,
    prices: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    endpoints: Mapping[str, Endpoint] | None = None,
    lenient: bool = False,
    reuse: bool = False,
    provider_batch: bool = False,
    go_on: bool = False,
    tags: Sequence[str] = (),
    check: bool = True,
) -> RunResult:
    """Run a pipeline; arguments, result and errors are those of `run`."""
    found = _found(pipeline)
    graph = found.pipeline.check()
    if not isinstance(given, graph.input):
        raise InputError(f"the input of {graph.name} is a {graph.input.__name__}, not {type(given).__name__}")
    allowed = None if budget is None else picodollars(budget)
    chosen = Settings(
        model=model,
        models=dict(models or {}),
        until=until,
        lenient=lenient,
        reuse=reuse,
        provider_batch=provider_batch,
        budget=allowed,
        prices=dict(prices or {}),
        limits=dict(limits or {}),
        endpoints=dict(endpoints or {}),
    )
    if concurrency is not None:
        chosen = replace(chosen, concurrency=concurrency)
    start = Start(graph, found.source, given, chosen, tuple(tags))
    await preflight(start)
    async with _opened(ledger) as place:
        left = await unfinished(start, place.site) if go_on else None
        if left is not None:
            return await _drive(left, found, place, None, chosen, raising=check)
        new, claim = await begin_driven(start, place.site)
        return await _drive(new, found, place, claim, raising=check)


async def aresume(
    run_id: str,
    *,
    pipeline: Pipeline | str | None = None,
    ledger: Place = None,
    budget: Dollars | None = None,
    take_over: bool = False,
    check: bool = True,
) -> RunResult:
    """Go on with a run: what was finished is not run again, what was answered is not paid again.

    Args:
        run_id: Its readable id, a part of one, or `last`.
        pipeline: The pipeline, where it cannot be found as the run recorded it (one that was declared in a notebook).
        ledger: As in `run`.
        budget: Dollars that the whole run may cost from now on, what it has cost included; infinity lifts the limit,
            and None keeps the one that it has.
        take_over: Take it from a driver on another machine that has not been heard of for a minute (PostgreSQL).
        check: As in `run`.

    Raises:
        RunFailed: A step failed; the text names it and its reason.
        RunPaused: Its budget was reached, or it was paused from outside.
        RunInterrupted: It was cancelled from outside.
        RunIsDriven: Another living process drives it.
        NotFound: No run is called so, or its pipeline is gone.
    """
    async with _opened(ledger) as place:
        again = await reopen(place.site.ledger, run_id, take_over=take_over)
        settings = Settings.load(again.settings).with_budget(budget)
        return await _drive(again, _found(pipeline or again.source), place, None, settings, raising=check)


async def preflight(start: Start) -> None:
    """See that a run can begin before a ledger is opened, so that nothing is written for one that cannot.

    Raises:
        UsageError: A name, a setting or the input cannot be used.
        MissingKey: A model that would be asked needs a key that is not set.
    """
    async with await Ledger.open(MEMORY) as nowhere:
        check_start(start, Site(nowhere, os.environ))


async def reopen(ledger: Ledger, run_id: str, *, take_over: bool = False) -> Run:
    """Find a run that is to go on.

    Args:
        ledger: Where it is.
        run_id: Its readable id, a part of one, or `last`.
        take_over: Take it from a driver on another machine that has not been heard of for a minute.

    Raises:
        NotFound: No run is called so.
        UsageError: It was cancelled.
        RunIsDriven: Another living process drives it.
    """
    found = await ledger.run(run_id)
    if take_over or ledger.is_driven(found.run_id):
        claim = await ledger.claim(
            found.run_id, take_over=take_over
        )  # says who drives it, or takes the place of one that just ended
        await claim.release()
    if found.wish is Wish.CANCEL:
        raise UsageError(f"{found.run_id} was cancelled, which is for good; begin a new run")
    return found


@dataclass(frozen=True, slots=True)
class _Opened:
    """A ledger and whose it is."""

    site: Site
    url: str | Path | None
    ours: bool
    """Whether it is closed after the run; otherwise it is the caller's."""


@asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[_Opened]:
    if isinstance(place, Ledger):
        yield _Opened(Site(place, os.environ), None, ours=False)
        return
    url = place if place is not None else os.environ.get(LEDGER) or None
    if not locate(url).lasts:
        raise UsageError("a ledger in memory would be gone with the run; name a file, or give a ledger that is open")
    async with await Ledger.open(url) as ledger:
        yield _Opened(Site(ledger, os.environ), url, ours=True)


def _found(pipeline: Pipeline | str) -> Found:
    """Find a pipeline, or say where a given one is found again."""
    if isinstance(pipeline, str):
        return find(pipeline)
    pipeline.check()
    return Found(pipeline, f"{Path(pipeline.place.file).absolute()}:{pipeline.name}")


async def _drive(
    run: Run, found: Found, place: _Opened, claim: Claim | None, settings: Settings | None = None, *, raising: bool
) -> RunResult:
    """Drive a run to its end and say what came of it."""
    graph = found.pipeline.check()
    ended = await carry_on(run, graph, place.site, claim=claim, settings=settings)
    result = await result_of(run.run_id, graph, place.site.ledger, keep=not place.ours, url=place.url)
    if raising:
        _raise_unless_completed(result, ended)
    return result


def _raise_unless_completed(result: RunResult, ended: Ended) -> None:
    """Raise what its status says.

    Raises:
        RunFailed: A step failed.
        RunPaused: It was paused, or its budget was reached.
        RunInterrupted: It was stopped.
    """
    if result.status is RunStatus.COMPLETED:
        return
    if result.status is RunStatus.FAILED:
        more = f" (and {len(result.errors) - 1} more)" if len(result.errors) > 1 else ""
        raise RunFailed(f"{result.run_id} failed: {next(iter(result.errors), 'a step failed')}{more}")
    if ended.reached is not None:
        more = f"stagebook.resume({result.run_id!r}, budget={ended.reached.proposed})"
        raise RunPaused(f"{result.run_id} is paused: {ended.reached}; what was finished is kept: {more}")
    kind = RunPaused if result.status is RunStatus.PAUSED else RunInterrupted
    raise kind(f"{result.run_id} is {result.status}; what was finished is kept: stagebook.resume({result.run_id!r})")
