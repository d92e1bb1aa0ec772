"""Begins runs and carries them on: everything around a drive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import orjson
from pydantic import BaseModel, ValidationError

from stagebook.definition.graph import Graph
from stagebook.door.budget import Budget, Reached
from stagebook.door.door import OutwardDoor
from stagebook.door.http_pool import PostPool
from stagebook.door.rate import Lanes
from stagebook.door.secrets import refuse_literals
from stagebook.door.transport import HttpTransport, Timeouts, Transport
from stagebook.engine.batching import CANCELLED, announcement, batches_of, cancel_left, leave, take_up
from stagebook.engine.bind import Binder
from stagebook.engine.drive import PAUSED, Driver, Ended, Stop
from stagebook.engine.outcomes import Outcomes
from stagebook.engine.outputs import Outputs
from stagebook.engine.pacing import keep_to
from stagebook.engine.plan import Frontier, State, scope
from stagebook.engine.progress import Progress
from stagebook.engine.restore import restore
from stagebook.engine.reuse import Reuse
from stagebook.engine.settings import Settings, asks, goes_by_batch
from stagebook.engine.spending import spent_so_far
from stagebook.engine.steps import Crew
from stagebook.engine.threads import StageThreads
from stagebook.ledger.claim import Claim
from stagebook.ledger.clock import now
from stagebook.ledger.facts import Fact, Noted, PromptSeen, SettingsChanged, WishSet
from stagebook.ledger.store import Ledger
from stagebook.llm.batch_record import doubt_in_flight
from stagebook.llm.client import ModelClient
from stagebook.llm.local_transport import LocalTransport
from stagebook.llm.reading import kept, read_kept
from stagebook.llm.weight import weigh
from stagebook.llm.worst_case import WorstCases
from stagebook.model.errors import Complaint, InputError, MissingOutput
from stagebook.model.exchange import content_hash
from stagebook.model.records import NewRun, Run, Step
from stagebook.model.status import StepStatus, Wish

WISH_EVERY = 0.5
"""Seconds between looks at what the owner wants of the run; a look is one small read."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where runs happen: the ledger and what surrounds it."""

    ledger: Ledger
    """Where everything is written."""
    environment: Mapping[str, str]
    """For keys and addresses; usually `os.environ`."""
    public_only: bool = True
    """Whether stages may fetch only public addresses."""
    threads: StageThreads = field(default_factory=StageThreads)
    """Where the stages' own functions run, those of all runs here; its threads end with this site."""
    lanes: Lanes = field(default_factory=Lanes)
    """Who asks a model when; all runs here go through the same."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a new run is begun with."""

    graph: Graph
    source: str
    """Where the pipeline was found, so that resume finds it again."""
    input: BaseModel
    settings: Settings
    tags: tuple[str, ...] = ()
    via: str = "api"
    """`cli`, `api` or `http`."""


def check(start: Start, site: Site) -> bytes:
    """See that a run can begin, before anything is written or paid.

    Returns:
        The input as it will be kept.

    Raises:
        UsageError: A name, a setting or the input cannot be used.
        MissingKey: A model that will be asked needs a key that is not set.
    """
    start.settings.check(start.graph)
    try:
        data = kept(start.input)
    except Complaint as complaint:
        raise InputError(f"the input of {start.graph.name} cannot be kept: {complaint}") from complaint
    refuse_literals(data.decode(), f"the input of {start.graph.name}")
    check_models(start.graph, start.settings, site)
    return data


def check_models(graph: Graph, settings: Settings, site: Site) -> None:
    """See that every model that a run asks can be asked, and that its budget, if it has one, can be kept with it.

    Raises:
        NotFound: There is no such provider.
        MissingKey: A key is not set.
        UsageError: There is a budget, and nobody knows what a model costs.
    """
    worst = WorstCases(settings.price_book(), settings.endpoints) if settings.budget is not None else None
    door = OutwardDoor(site.ledger, {}, environment=site.environment)
    client = ModelClient(door, site.environment, endpoints=settings.endpoints)
    for name in scope(graph, settings.until):
        spec = graph.stages[name]
        model = settings.model_of(spec)
        if model is not None and asks(spec):
            client.check(model)
            if worst is not None:
                worst.check(model, spec.prompt.sampling.max_tokens if spec.prompt is not None else None)


async def begin(start: Start, site: Site) -> Run:
    """Write a new run; nothing is run yet.

    Raises:
        UsageError: As `check`.
    """
    return await site.ledger.create_run(_new(start, check(start, site)))


async def begin_driven(start: Start, site: Site) -> tuple[Run, Claim]:
    """Write a new run that this process drives at once: one commit instead of two; hand the claim to `carry_on`.

    Raises:
        UsageError: As `check`.
    """
    return await site.ledger.begin_run(_new(start, check(start, site)))


def _new(start: Start, data: bytes) -> NewRun:
    return NewRun(
        pipeline=start.graph.name,
        definition=start.graph.definition,
        source=start.source,
        input=data,
        settings=start.settings.dump(),
        tags=start.tags,
        created_via=start.via,
    )


async def carry_on(
    run: Run,
    graph: Graph,
    site: Site,
    *,
    claim: Claim | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Ended:
    """Drive a run until it is finished, fails, or is told to stop; begun or resumed alike.

    Args:
        run: The run.
        graph: Its pipeline.
        site: Where it happens.
        claim: The right to drive it, where this process has it already; released at the end in any case.
        settings: From now on, instead of those that are recorded; kept once it is certain that the run goes on.
        progress: Moved as it goes.
        stop: Tells it to end early.

    Raises:
        RunIsDriven: Another living process drives it.
        MissingKey: A model that will be asked needs a key that is not set.
        MissingOutput: What was kept cannot be read by the pipeline as it is now.
    """
    chosen = settings or Settings.load(run.settings)
    progress, stop = progress or Progress(), stop or Stop()
    if claim is None:
        chosen.check(graph)
        check_models(graph, chosen, site)
        claim = await site.ledger.claim(run.run_id)
    try:
        await _wish_on(site.ledger, run, settings)
        if chosen.provider_batch and claim.fence > 1:
            await doubt_in_flight(site.ledger, run.id)
        # the first driver of a run has no predecessor that could have sent anything
        lost = await site.ledger.lose_unanswered(run.id, claim.fence, now()) if claim.fence > 1 else 0
        if lost:
            told = (
                f"{lost} {'call was' if lost == 1 else 'calls were'} in flight when the run was cut off: possibly paid"
            )
            progress.warnings.append(told)
        async with _drive(run, graph, site, chosen, claim, progress, stop) as driver:
            watch = asyncio.create_task(_heed(site.ledger, run.id, stop))
            try:
                ended = await driver.drive()
            finally:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch
        if ended.reached is not None:
            await _pause(site.ledger, run.id, ended.reached)
        return ended
    finally:
        await claim.release()


async def cancel_batches(run: Run, site: Site) -> int:
    """Have the providers end the batches of a run that nobody drives; says how many they took."""
    settings = Settings.load(run.settings)
    if not settings.provider_batch:
        return 0
    limits = Timeouts(total=settings.request_timeout)
    door = OutwardDoor(site.ledger, {"": PostPool(limits, HttpTransport(limits))}, environment=site.environment)
    try:
        await doubt_in_flight(site.ledger, run.id)
        return await cancel_left(run, settings, door)
    finally:
        await door.close()


@contextlib.asynccontextmanager
async def _drive(
    run: Run, graph: Graph, site: Site, settings: Settings, claim: Claim, progress: Progress, stop: Stop
) -> AsyncIterator[Driver]:
    """Set up everything that steps work with, and take it down again."""
    stages = scope(graph, settings.until)
    ledger = site.ledger
    frontier = Frontier(graph, stages, State())
    steps, outputs = ([], []) if claim.fresh else (await ledger.steps(run.id), await ledger.outputs(run.id))
    restored = restore(frontier.rules, steps, outputs)
    progress.run_id, progress.pipeline = run.run_id, run.pipeline
    progress.lay_out(graph, stages)
    for stage, ended in restored.state.ended.items():
        counter = progress.stages[stage]
        counter.expected = frontier.rules.expected(graph.stages[stage])
        counter.completed = sum(status is StepStatus.COMPLETED for status in ended.values())
        counter.skipped = len(ended) - counter.completed
    shelf = Outputs(ledger, {name: spec.output for name, spec in graph.stages.items()}, outputs)
    run_input = _input(run, graph)
    limits = Timeouts(total=settings.request_timeout)
    transports: dict[str, Transport] = {
        "": PostPool(limits, HttpTransport(limits)),
        "http": HttpTransport(limits, public_only=site.public_only),
        "local": LocalTransport(_streaming(progress)),
    }
    prices, budget = settings.price_book(), None
    if settings.budget is not None:
        worst = WorstCases(prices, settings.endpoints).of
        before = None if claim.fresh else await spent_so_far(ledger, run.id, worst)
        budget = Budget(settings.budget, worst, before)
    if settings.limits:
        await keep_to(settings.rate_limits(), site.lanes, ledger)
    progress.pacing = site.lanes.told
    door = OutwardDoor(
        ledger,
        transports,
        retry=settings.retry,
        environment=site.environment,
        budget=budget,
        lanes=site.lanes,
        weigh=weigh,
    )
    asked = settings.models_of(graph)
    how = {stage: settings.how_asked(model) for stage, model in asked.items()}
    outcomes = Outcomes(site.ledger, run.id, asked, how)
    batches = batches_of(run, settings, door, progress, stop, budget)
    if batches is not None:
        progress.by_batch = announcement(graph, stages, settings)
        if not claim.fresh:
            await take_up(batches, budget)
    crew = Crew(
        ledger=ledger,
        run=run.id,
        fence=claim.fence,
        binder=Binder(frontier.rules, shelf, run_input, content_hash(run.input), outcomes),
        outputs=shelf,
        door=door,
        client=ModelClient(door, site.environment, prices, settings.endpoints, batches),
        settings=settings,
        progress=progress,
        threads=site.threads,
        budget=budget,
        reuse=await _reuse(run, graph, stages, steps, settings, ledger),
        by_batch=frozenset(name for name in stages if goes_by_batch(graph.stages[name], settings)),
    )
    driver = Driver(graph, frontier, crew, restored.prior, stop)
    for stage, parent, key in restored.items:
        driver.runner.items.recall(stage, parent, key)
    seen: list[Fact] = [
        PromptSeen(spec.prompt.template.content_hash, spec.prompt.template.name, spec.prompt.template.text, now())
        for spec in graph.stages.values()
        if spec.prompt is not None and spec.name in stages
    ]
    if seen:
        ledger.follow(*seen)
    try:
        yield driver
    finally:
        if batches is not None:
            await leave(batches, stop)
        await door.close()


async def _reuse(
    run: Run, graph: Graph, stages: frozenset[str], steps: list[Step], settings: Settings, ledger: Ledger
) -> Reuse | None:
    """Look for what other runs were answered, if that is wanted."""
    if not settings.reuse:
        return None
    prompts = [name for name in graph.stages if name in stages and graph.stages[name].prompt is not None]
    return await Reuse.of(ledger, run, prompts, steps, lenient=settings.lenient)


def _streaming(progress: Progress) -> Callable[[int], None]:
    def on_tokens(count: int) -> None:
        progress.streaming_tokens = count

    return on_tokens


def _input(run: Run, graph: Graph) -> BaseModel:
    try:
        return read_kept(graph.input, run.input)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        raise MissingOutput(
            f"the input of {run.run_id} cannot be read as {graph.input.__name__} any more:"
            f" field {field}: {first['msg']}"
        ) from error


async def _heed(ledger: Ledger, run: int, stop: Stop) -> None:
    """Look now and then whether the owner wants the run to pause or to be cancelled."""
    while not stop.wished:
        await asyncio.sleep(WISH_EVERY)
        wish = await ledger.wish(run)
        if wish is not Wish.RUN:
            stop.finish({Wish.PAUSE: PAUSED, Wish.CANCEL: CANCELLED}[wish])


async def _wish_on(ledger: Ledger, run: Run, settings: Settings | None) -> None:
    """Take back the wish that a run pause, and keep what is chosen anew for it."""
    changes: list[Fact] = []
    if run.wish is Wish.PAUSE:
        changes.append(WishSet(run.id, Wish.RUN, now()))
    if settings is not None and settings.dump() != run.settings:
        changes.append(SettingsChanged(run.id, settings.dump(), now()))
    if changes:
        await ledger.write(*changes)


async def _pause(ledger: Ledger, run: int, reached: Reached) -> None:
    """Write that the budget wants a run to pause, and what it came to."""
    amounts = {"limit": reached.limit, "spent": reached.spent, "next": reached.worst, "model": reached.model}
    note = Noted(run, "budget_reached", orjson.dumps(amounts), now())
    if await ledger.wish(run) is Wish.RUN:
        await ledger.write(WishSet(run, Wish.PAUSE, now()), note)
    else:
        await ledger.write(note)
