"""What a run gives back in Python: where it stands, what it cost, and its outputs as the models that made them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from stagebook.definition.graph import Graph, StageSpec
from stagebook.definition.place import nearest
from stagebook.engine.outcomes import Outcomes
from stagebook.engine.plan import StepKey, scope
from stagebook.engine.settings import Settings
from stagebook.engine.standing import Planned, Tally, stand
from stagebook.ledger.store import Ledger
from stagebook.llm.reading import read_kept
from stagebook.model.errors import InputError, MissingOutput, NotFound
from stagebook.model.records import WHOLE, OutputRef
from stagebook.model.status import RunStatus
from stagebook.model.told import Outcome

T = TypeVar("T")


class Handle(Protocol):
    """A declared stage, as far as it stands for its name."""

    @property
    def name(self) -> str:
        """The stage's name."""
        ...


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the outputs of one run are read."""

    ledger: Ledger | None
    """An open one, or None to open it when something is read."""
    url: str | Path | None = field(repr=False)  # it may hold a password
    run: int

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Ledger]:
        """Give the ledger for the time of the block."""
        if self.ledger is not None:
            yield self.ledger
            return
        async with await Ledger.open(self.url, read_only=True) as ledger:
            yield ledger


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that has ended; `result[Quotes]`, `result["extract-quotes"]` or `result[extract_quotes]` reads one."""

    run_id: str
    """For `stagebook show` and `resume`."""
    status: RunStatus
    cost_usd: Decimal
    """Of every answer of the run, earlier drives and refused answers included."""
    warnings: tuple[str, ...]
    """`stage[item]: text`."""
    errors: tuple[str, ...]
    """`stage[item]: reason`, of the steps that failed."""
    _graph: Graph = field(repr=False)
    _shelf: Shelf = field(repr=False)

    def __getitem__(self, key: type[BaseModel] | str | Handle) -> Any:
        """Read what a stage made.

        Args:
            key: The stage's handle or name, or the model that only one stage returns.

        Returns:
            The output, validated; of a stage that is mapped, or that yields items, the list of all of them, in the
            order of their items.

        Raises:
            NotFound: No stage is called so, or makes that.
            InputError: Several stages make it.
            MissingOutput: The stage made nothing: it was skipped, failed, or was not run.
        """
        spec = self._spec(key)
        return in_own_loop(lambda: self._read(spec))

    def get(self, key: type[BaseModel] | str | Handle) -> Any:
        """Read what a stage made; None where it made nothing.

        Raises:
            NotFound: No stage is called so, or makes that.
            InputError: Several stages make it.
        """
        try:
            return self[key]
        except MissingOutput:
            return None

    def outcomes(self, key: type[BaseModel] | str | Handle) -> list[Outcome]:
        """Tell what became of the steps of a stage that did not simply complete.

        Raises:
            NotFound: No stage is called so, or makes that.
            InputError: Several stages make it.
        """
        spec = self._spec(key)
        return in_own_loop(lambda: self._outcomes(spec))

    async def _outcomes(self, spec: StageSpec) -> list[Outcome]:
        async with self._shelf.opened() as ledger:
            run = await ledger.run(self.run_id)
            settings = Settings.load(run.settings)
            asked = settings.models_of(self._graph)
            how = {stage: settings.how_asked(model) for stage, model in asked.items()}
            keys = [StepKey(one.stage, one.item) for one in await ledger.steps(run.id) if one.stage == spec.name]
            return await Outcomes(ledger, run.id, asked, how).settled(keys)

    def _spec(self, key: type[BaseModel] | str | Handle) -> StageSpec:
        stages = self._graph.stages
        if isinstance(key, type):
            makers = [spec for spec in stages.values() if spec.output is key]
            if len(makers) == 1:
                return makers[0]
            if makers:
                names = ", ".join(spec.name for spec in makers)
                raise InputError(f"several stages make {key.__name__}: {names}; read one by its name")
            made = nearest(key.__name__, {spec.output.__name__ for spec in stages.values()})
            raise NotFound(f"no stage of {self._graph.name} makes {key.__name__}: {made}")
        name = key if isinstance(key, str) else key.name
        if name not in stages:
            raise NotFound(f"{self._graph.name} has no stage {name!r}: {nearest(name, stages)}")
        return stages[name]

    async def _read(self, spec: StageSpec) -> Any:
        async with self._shelf.opened() as ledger:
            refs = await ledger.outputs(self._shelf.run)
            made = {ref.item: ref for ref in refs if ref.stage == spec.name}
            if not spec.item_axis:
                if WHOLE not in made:
                    raise MissingOutput(await self._why(ledger, spec))
                return await self._value(ledger, spec, made[WHOLE])
            order = {
                ref.item: place for place, ref in enumerate(ref for ref in refs if ref.stage == spec.item_axis[-1])
            }
            items = sorted(made, key=lambda item: order.get(item, len(order)))
            return [await self._value(ledger, spec, made[item]) for item in items]

    async def _value(self, ledger: Ledger, spec: StageSpec, ref: OutputRef) -> BaseModel:
        try:
            return read_kept(spec.output, await ledger.output_data(ref.id))
        except ValidationError as error:
            what = f"{spec.name}[{ref.item}]" if ref.item else spec.name
            raise MissingOutput(
                f"what {what} made cannot be read as {spec.output.__name__} any more: {error}"
            ) from error

    async def _why(self, ledger: Ledger, spec: StageSpec) -> str:
        for step in await ledger.steps(self._shelf.run):
            if step.stage == spec.name:
                return f"{spec.name} made nothing in {self.run_id}: it is {step.status}" + (
                    f" ({step.reason})" if step.reason else ""
                )
        return f"{spec.name} made nothing in {self.run_id}: it was not run"


async def result_of(run_id: str, graph: Graph, ledger: Ledger, *, keep: bool, url: str | Path | None) -> RunResult:
    """Say what came of a run.

    Args:
        run_id: The run.
        graph: Its pipeline.
        ledger: Open.
        keep: Whether the ledger stays open, so that the result may read from it.
        url: Where it can be opened again, otherwise.
    """
    run = await ledger.run(run_id)
    summary = (await ledger.summaries([run.id]))[run.id]
    refs = await ledger.outputs(run.id)
    stages = scope(graph, Settings.load(run.settings).until)
    planned = [
        Planned(spec.name, spec.each, spec.policy.on_error == "collect")
        for spec in graph.stages.values()
        if spec.name in stages
    ]
    tallies = {
        name: Tally(one.completed, one.failed, one.skipped, one.running, sum(ref.stage == name for ref in refs))
        for name, one in summary.stages.items()
    }
    standing = stand(planned, tallies, wish=run.wish, driven=ledger.is_driven(run.run_id), begun=run.fence > 0)
    return RunResult(
        run_id=run.run_id,
        status=standing.status,
        cost_usd=Decimal(summary.total().cost).scaleb(-12),
        warnings=tuple(summary.warnings),
        errors=tuple(summary.errors),
        _graph=graph,
        _shelf=Shelf(ledger if keep else None, url, run.id),
    )


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run asynchronous work to its end; where a loop is running already, as in a notebook, in a thread of its own.

    Raises:
        BaseException: Whatever the work raises; KeyboardInterrupt cancels it first.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    done: list[T] = []
    failed: list[BaseException] = []
    cancel: list[Callable[[], object]] = []

    async def working() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work()

    def run() -> None:
        try:
            done.append(asyncio.run(working()))
        except BaseException as error:  # noqa: BLE001  handed over to the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, name="stagebook-run")
    thread.start()
    try:
        thread.join()
    except BaseException:
        for one in cancel:
            one()
        thread.join()
        raise
    if failed:
        raise failed[0]
    return done[0]
