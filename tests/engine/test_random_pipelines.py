"""Random pipelines as a user writes them, against what their stages must read: bound right, and resumed right."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagebook.definition.graph import Graph
from stagebook.definition.loading import load
from stagebook.engine.drive import Stop
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.model.status import StepStatus

HEAD = '''
"""A random pipeline."""

import hashlib
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel

from stagebook import Children, From, Key, Pipeline, Rows, Skip

HOOK = None


class Seed(BaseModel):
    value: int


def mixed(*parts: object) -> int:
    return int(hashlib.md5(repr(parts).encode()).hexdigest()[:8], 16)


def asked(stage: str, path: str) -> None:
    if HOOK is not None:
        HOOK(stage, path)


house = Pipeline("house", input=Seed)
'''


def mixed(*parts: object) -> int:
    """As in the pipeline."""
    return int(hashlib.md5(repr(parts).encode()).hexdigest()[:8], 16)  # noqa: S324  a mix, no secret


@dataclass(frozen=True)
class Reading:
    """What one parameter reads."""

    maker: str
    form: str
    """one, maybe, list, dict, rows, children."""


@dataclass(frozen=True)
class Room:
    """A stage."""

    name: str
    model: str
    axis: tuple[str, ...]
    streams: bool
    skips: bool
    reads: tuple[Reading, ...]

    @property
    def item_axis(self) -> tuple[str, ...]:
        """The axis of its outputs."""
        return (*self.axis, self.name) if self.streams else self.axis


@st.composite
def houses(draw: st.DrawFn) -> tuple[Room, ...]:
    """Draw stages, each reading some of those before it in a form that fits their axes."""
    rooms: list[Room] = []
    for number in range(draw(st.integers(1, 8))):
        name = f"s{number}"
        streaming = [room for room in rooms if room.streams]
        axis = draw(st.sampled_from(streaming)).item_axis if streaming and draw(st.integers(0, 3)) else ()
        axis = axis[: draw(st.integers(1, 2))]  # the outer items of a deeper axis, as often as the inner ones
        readable = [room for room in rooms if not (axis and room.name == axis[-1])]
        makers = draw(st.lists(st.sampled_from(readable), max_size=3, unique=True)) if readable else []
        below = [room for room in readable if "children" in forms(room, axis, rooms) and room not in makers]
        if below and draw(st.integers(0, 3)):
            makers.append(draw(st.sampled_from(below)))
        reads = tuple(Reading(room.name, draw(st.sampled_from(forms(room, axis, rooms)))) for room in makers)
        streams = len(axis) < 2 and draw(st.booleans())  # deep enough: what stands below items below items
        twins = [room.model for room in rooms if not room.streams]
        model = draw(st.sampled_from([f"M{number}", *twins])) if not streams else f"M{number}"
        rooms.append(Room(name, model, axis, streams, not streams and draw(st.booleans()), reads))
    return tuple(rooms)


def forms(maker: Room, axis: tuple[str, ...], rooms: Iterable[Room]) -> list[str]:
    """Say in which ways a stage on an axis can read another."""
    found: list[str] = []
    outer = maker.item_axis
    if axis[: len(outer)] == outer:
        found += ["one"] if maker.streams else ["one", "maybe"]
    if outer:
        found += ["list", "dict", "rows"]
    if axis and len(outer) > len(axis) and outer[: len(axis)] == axis:
        found += ["children"] * 6
    return found


def source(rooms: tuple[Room, ...]) -> str:
    """Write the pipeline."""
    text = [HEAD]
    written: set[str] = set()
    by_name = {room.name: room for room in rooms}
    for room in rooms:
        if room.model not in written:
            written.add(room.model)
            key = "    key: Annotated[str, Key]\n    path: str\n" if room.streams else ""
            text.append(f"\n\nclass {room.model}(BaseModel):\n{key}    value: int\n")
        parameters = [f"item: {by_name[room.axis[-1]].model}"] if room.axis else ["seed: Seed"]
        parts = ["item.value" if room.axis else "seed.value"]
        for reading in room.reads:
            model, name = by_name[reading.maker].model, reading.maker
            parameters.append(f"{name}: {written_type(reading, model)}")
            parts.append(
                {
                    "one": f"{name}.value",
                    "maybe": f"None if {name} is None else {name}.value",
                    "list": f"[one.value for one in {name}]",
                    "children": f"[one.value for one in {name}]",
                    "dict": f"[(key, one.value) for key, one in {name}.items()]",
                    "rows": f"[one.value async for one in {name}]",
                }[reading.form]
            )
        each = f"each={by_name[room.axis[-1]].model}" if room.axis else ""
        returned = f"Iterator[{room.model}]" if room.streams else f"{room.model} | Skip" if room.skips else room.model
        rows = any(reading.form == "rows" for reading in room.reads)
        kind = "async def" if rows else "def"
        if room.streams and rows:
            returned = returned.replace("Iterator", "AsyncIterator")
            text[0] = text[0].replace("import Iterator\n", "import AsyncIterator, Iterator\n")
        text.append(f"\n\n@house.stage({each})\n{kind} {room.name}({', '.join(parameters)}) -> {returned}:\n")
        path = "item.path" if room.axis else '""'
        text.append(f"    asked({room.name!r}, {path})\n    value = mixed({room.name!r}, {path}, {', '.join(parts)})\n")
        if room.streams:
            deeper = "{item.path}/k{number}" if room.axis else "k{number}"
            text.append(
                "    for number in range(value % 4):\n"
                f'        yield {room.model}(key=f"k{{number}}", path=f"{deeper}", value=mixed(value, number))\n'
            )
            continue
        if room.skips:
            text.append('    if value % 4 == 0:\n        return Skip("a multiple of four")\n')
        text.append(f"    return {room.model}(value=value)\n")
    return "".join(text)


def written_type(reading: Reading, model: str) -> str:
    """Write the type of a parameter."""
    if reading.form == "one":
        return model
    if reading.form == "maybe":
        return f"{model} | None"
    plain = {"list": f"list[{model}]", "dict": f"dict[str, {model}]"}.get(
        reading.form, f"{reading.form.capitalize()}[{model}]"
    )
    return f'Annotated[{plain}, From("{reading.maker}")]'


@dataclass
class Oracle:
    """What a run must come to, computed from the structure alone."""

    rooms: tuple[Room, ...]
    values: dict[str, dict[str, int | None]] = field(default_factory=dict)
    """Stage -> path of the output -> value; None: skipped."""
    steps: dict[str, list[str]] = field(default_factory=dict)
    """Stage -> paths of its steps."""

    def run(self, seed: int) -> dict[tuple[str, str], int]:
        """Compute every live output."""
        for room in self.rooms:
            self.values[room.name] = {}
            self.steps[room.name] = list(self.values[room.axis[-1]]) if room.axis else [""]
            for path in self.steps[room.name]:
                self._step(room, path, seed)
        return {
            (name, path): value
            for name, made in self.values.items()
            for path, value in made.items()
            if value is not None
        }

    def _step(self, room: Room, path: str, seed: int) -> None:
        made = self.values[room.name]
        if any(self._one(reading, path) is None for reading in room.reads if reading.form == "one"):
            if not room.streams:
                made[path] = None
            return
        parts = [self.values[room.axis[-1]][path] if room.axis else seed]
        parts += [self._part(reading, path) for reading in room.reads]
        value = mixed(room.name, path, *parts)
        if room.streams:
            for number in range(value % 4):
                made[f"{path}/k{number}" if path else f"k{number}"] = mixed(value, number)
        else:
            made[path] = None if room.skips and value % 4 == 0 else value

    def _one(self, reading: Reading, path: str) -> int | None:
        maker = next(room for room in self.rooms if room.name == reading.maker)
        return self.values[maker.name][above(path, len(maker.item_axis))]

    def _part(self, reading: Reading, path: str) -> Any:
        made = self.values[reading.maker]
        if reading.form in {"one", "maybe"}:
            return self._one(reading, path)
        if reading.form == "dict":
            return [(key, value) for key, value in made.items() if value is not None]
        below = [value for key, value in made.items() if value is not None and key.startswith(f"{path}/")]
        return below if reading.form == "children" else [value for value in made.values() if value is not None]


def above(path: str, depth: int) -> str:
    """Give the path of the outer item at a depth."""
    return "/".join(path.split("/")[:depth]) if depth else ""


def hooked(graph: Graph, hook: Callable[[str, str], None]) -> None:
    """Be told of every call of a stage's function."""
    for spec in graph.stages.values():
        spec.function.__globals__["HOOK"] = hook


async def outputs(ledger: Ledger, run: int) -> dict[tuple[str, str], int]:
    """Read a run's live outputs."""
    return {
        (one.stage, one.item): orjson.loads(await ledger.output_data(one.id))["value"]
        for one in await ledger.outputs(run)
    }


def graph_of(rooms: tuple[Room, ...], folder: str) -> Graph:
    """Load a pipeline from the file that it is written to."""
    path = Path(folder) / "house.py"
    path.write_text(source(rooms))
    return load(str(path)).check()


SLOW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.timeout(300)
@given(houses(), st.integers(0, 10**6), st.integers(1, 5))
@SLOW
def test_every_parameter_of_a_random_pipeline_gets_what_it_names(
    rooms: tuple[Room, ...], seed: int, concurrency: int
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            graph = graph_of(rooms, folder)
            async with await Ledger.open(":memory:") as ledger:
                site = Site(ledger, {})
                start = Start(graph, "here", graph.input(value=seed), Settings(concurrency=concurrency))
                new = await begin(start, site)
                ended = await carry_on(new, graph, site)
                assert ended.finished
                assert not ended.failed
                assert await outputs(ledger, new.id) == Oracle(rooms).run(seed)

    asyncio.run(run())


@pytest.mark.timeout(300)
@given(houses(), st.integers(0, 10**6), st.integers(1, 5), st.lists(st.integers(1, 6), max_size=4), st.booleans())
@SLOW
def test_a_random_pipeline_that_is_stopped_again_and_again_comes_to_the_same_and_does_nothing_twice(
    rooms: tuple[Room, ...],
    seed: int,
    concurrency: int,
    stops: list[int],
    at_once: bool,  # noqa: FBT001  drawn
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            graph = graph_of(rooms, folder)
            async with await Ledger.open(":memory:") as ledger:
                site = Site(ledger, {})
                start = Start(graph, "here", graph.input(value=seed), Settings(concurrency=concurrency))
                new = await begin(start, site)
                loop = asyncio.get_running_loop()
                for calls in [*stops, None]:
                    stop, begun = Stop(), list[tuple[str, str]]()
                    completed = {
                        (step.stage, step.item)
                        for step in await ledger.steps(new.id)
                        if step.status is StepStatus.COMPLETED
                    }

                    def hook(
                        stage: str, path: str, stop: Stop = stop, begun: list[Any] = begun, calls: Any = calls
                    ) -> None:
                        begun.append((stage, path))
                        if len(begun) == calls:
                            loop.call_soon_threadsafe(stop.now if at_once else stop.finish, "drawn")

                    hooked(graph, hook)
                    ended = await carry_on(await ledger.run(new.run_id), graph, site, stop=stop)
                    assert completed.isdisjoint(begun)
                    assert len(begun) == len(set(begun))
                assert ended.finished
                assert not ended.failed
                oracle = Oracle(rooms)
                assert await outputs(ledger, new.id) == oracle.run(seed)
                steps = {(step.stage, step.item) for step in await ledger.steps(new.id)}
                assert steps == {(name, path) for name, paths in oracle.steps.items() for path in paths}

    asyncio.run(run())
