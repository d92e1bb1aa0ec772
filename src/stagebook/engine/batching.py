"""The providers' batches of a drive: set up, taken up from earlier drives, and left or cancelled at its end."""

from stagebook.definition.graph import Graph
from stagebook.door.batch_member import MARK_SIZE
from stagebook.door.budget import Budget
from stagebook.door.door import OutwardDoor
from stagebook.engine.drive import Stop
from stagebook.engine.progress import Progress
from stagebook.engine.settings import Settings, asks, goes_by_batch
from stagebook.llm.batches import Batches, Surroundings
from stagebook.model.exchange import content_hash
from stagebook.model.records import Run

CANCELLED = "cancelled"
"""Why a drive ends whose owner cancelled the run."""


def batches_of(
    run: Run, settings: Settings, door: OutwardDoor, progress: Progress, stop: Stop, budget: Budget | None
) -> Batches | None:
    """Make the batches of a drive; None where its run goes live."""
    if not settings.provider_batch:
        return None
    batches = Batches(
        Surroundings(
            door=door,
            run=run.id,
            run_id=run.run_id,
            mark=content_hash(f"{run.run_id} {run.created_at}".encode() + run.definition_hash)[:MARK_SIZE],
            prices=settings.price_book(),
            policy=settings.batching,
            retry=settings.retry,
            under_way=lambda: sum([stage.running for stage in progress.stages.values()]),
            held_back=lambda: 0 if budget is None else budget.waiting,
            stopping=lambda: stop.wished,
        )
    )
    progress.batches = batches.told
    return batches


async def take_up(batches: Batches, budget: Budget | None) -> None:
    """Go on with the batches of earlier drives; what they may cost is spent as far as the budget is concerned."""
    for step, request in await batches.recall():
        if budget is not None:
            budget.expect(step, request)
    batches.resume()


async def leave(batches: Batches, stop: Stop) -> None:
    """End a drive's part in its batches: they go on at their providers, unless the run was cancelled."""
    if stop.reason == CANCELLED:
        await batches.cancel()
    await batches.close()


async def cancel_left(run: Run, settings: Settings, door: OutwardDoor) -> int:
    """Have the providers end the batches of a run that nobody drives; says how many they took."""
    batches = batches_of(run, settings, door, Progress(), Stop(), None)
    if batches is None:
        return 0
    try:
        await batches.recall()
        return await batches.cancel()
    finally:
        await batches.close()


def announcement(graph: Graph, stages: frozenset[str], settings: Settings) -> str | None:
    """Say which stages are answered by batches and which, though they ask, are not."""
    if not settings.provider_batch:
        return None
    asking = [spec for spec in graph.stages.values() if spec.name in stages and asks(spec)]
    patient = [spec.name for spec in asking if goes_by_batch(spec, settings)]
    live = [spec.name for spec in asking if spec.name not in patient]
    told = f"by batch, at half price: {', '.join(patient) or 'none'}"
    return told + (f"; live: {', '.join(live)}" if live else "")
