"""What can run now: pure, no clock, no ledger, no loop.

`Frontier` is told what happens and says what becomes ready, each step once, in time proportional to what changed.
`plan` computes the same from scratch; a property test holds the two against each other.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stagebook.definition.graph import Graph, Read, ReadKind, StageSpec
from stagebook.model.records import WHOLE
from stagebook.model.status import StepStatus

GATHERS = frozenset({ReadKind.LIST, ReadKind.BY_STAGE, ReadKind.BY_ITEM, ReadKind.ROWS, ReadKind.OUTCOMES})
SINGLES = frozenset({ReadKind.OUTPUT, ReadKind.ITEM})
UNUSABLE = frozenset({StepStatus.SKIPPED, StepStatus.FAILED})


class StepKey(NamedTuple):
    """Which step: a stage and an item of its axis."""

    stage: str
    item: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A step that can be decided now."""

    key: StepKey
    skip: str | None = None
    """Why it is not to run: something that it must have was skipped or failed. None: run it."""


class State:
    """What has happened in a run, as far as order depends on it."""

    def __init__(self) -> None:
        self.ended: dict[str, dict[str, StepStatus]] = defaultdict(dict)
        """Stage -> item -> completed, skipped or failed."""
        self.yielded: dict[str, dict[str, str]] = defaultdict(dict)
        """Streaming stage -> key of each item that it yielded -> item of the step that yielded it; in order."""
        self._children: dict[str, dict[str, dict[str, None]]] = defaultdict(dict)
        """Streaming stage -> item of a step that yielded -> what it yielded; a stage's only step yielded everything."""
        self._ended_below: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add_item(self, stage: str, parent: str, key: str) -> bool:
        """Take note of an item; False if it was known."""
        known = self.yielded[stage]
        if key in known:
            return False
        known[key] = parent
        if parent != WHOLE:
            self._children[stage].setdefault(parent, {})[key] = None
        return True

    def drop_item(self, stage: str, key: str, mapped: Iterable[str]) -> None:
        """Forget an item, and what the stages mapped over it did for it."""
        parent = self.yielded[stage].pop(key, None)
        if parent is None:
            return
        if parent != WHOLE:
            del self._children[stage][parent][key]
        for name in mapped:
            if self.ended[name].pop(key, None) is not None:
                self._ended_below[name][parent] -= 1

    def end(self, spec: StageSpec, item: str, status: StepStatus) -> None:
        """Take note that a step ended."""
        if item not in self.ended[spec.name] and spec.axis:
            self._ended_below[spec.name][self.yielded[spec.axis[-1]][item]] += 1
        self.ended[spec.name][item] = status

    def children(self, streaming: str, parent: str) -> Collection[str]:
        """List what one step of a streaming stage yielded, in order."""
        if parent == WHOLE:
            return self.yielded[streaming].keys()
        return self._children[streaming].get(parent, {}).keys()

    def below(self, item: str, streaming: Iterable[str]) -> list[str]:
        """List the items that stand below one.

        Args:
            item: The outer item.
            streaming: The streaming stages that lie between, outermost first.
        """
        found = [item]
        for stage in streaming:
            found = [child for parent in found for child in self.children(stage, parent)]
        return found

    def all_ended_below(self, stage: str, streaming: str, parent: str) -> bool:
        """Whether a stage has ended for every item that one step of a streaming stage yielded."""
        return self._ended_below[stage][parent] == len(self.children(streaming, parent))


def scope(graph: Graph, until: str | None) -> frozenset[str]:
    """Name the stages that a run needs: all, or one and everything above it."""
    if until is None:
        return frozenset(graph.stages)
    found: set[str] = set()
    open_ = [until]
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_.extend(graph.upstream[name])
    return frozenset(found)


class Rules:
    """When a step is ready, given what has happened.

    Args:
        graph: The pipeline.
        stages: Names of the stages in scope.
        state: What has happened; kept by the caller.
    """

    def __init__(self, graph: Graph, stages: Iterable[str], state: State) -> None:
        wanted = set(stages)
        self.specs: Mapping[str, StageSpec] = {name: spec for name, spec in graph.stages.items() if name in wanted}
        self.state = state

    def items(self, spec: StageSpec) -> Iterable[str]:
        """List the items that a stage is to run for, as far as they are known."""
        return self.state.yielded[spec.axis[-1]] if spec.axis else (WHOLE,)

    def expected(self, spec: StageSpec) -> int:
        """Count them."""
        return len(self.state.yielded[spec.axis[-1]]) if spec.axis else 1

    def exhausted(self, stage: str) -> bool:
        """Whether a stage has ended for every item that there will be."""
        spec = self.specs[stage]
        return len(self.state.ended[stage]) >= self.expected(spec) and (not spec.axis or self.exhausted(spec.axis[-1]))

    def above(self, spec: StageSpec, item: str, axis: tuple[str, ...]) -> str:
        """Find the item of an outer axis that an item stands below."""
        for streaming in reversed(spec.axis[len(axis) :]):
            item = self.state.yielded[streaming][item]
        return item

    def in_order(self, items: Iterable[str], axis: tuple[str, ...]) -> list[str]:
        """Put items of an axis in the order of their outer items, and within one of those as they were yielded.

        Items below items come as they happen to be ready, which differs from run to run; what a stage reads must not.

        Args:
            items: Of the innermost stage of the axis, in the order in which they became known.
            axis: The streaming stages from which on they are ordered, outermost first; above them stands one item.
        """
        outer = axis[:-1]
        if not outer:
            return list(items)
        places = {name: {key: place for place, key in enumerate(self.state.yielded[name])} for name in outer}

        def place(item: str) -> tuple[int, ...]:
            path: list[int] = []
            for name, below in zip(reversed(outer), reversed(axis), strict=False):
                item = self.state.yielded[below][item]
                path.append(places[name][item])
            return tuple(reversed(path))

        return sorted(items, key=place)

    def complete_below(self, stage: str, item: str, depth: int) -> bool:
        """Whether a stage on a deeper axis has ended for everything below an item of a given depth."""
        axis = self.specs[stage].axis
        streaming = axis[depth]
        if item not in self.state.ended[streaming]:
            return False
        if depth == len(axis) - 1:
            return self.state.all_ended_below(stage, streaming, item)
        return all(self.complete_below(stage, child, depth + 1) for child in self.state.children(streaming, item))

    def settled(self, spec: StageSpec, read: Read, item: str) -> bool:
        """Whether what one parameter reads will not change any more."""
        if read.kind in GATHERS:
            return all(self.exhausted(maker) for maker in read.stages)
        if read.kind is ReadKind.CHILDREN:
            return all(self._children_settled(spec, maker, item) for maker in read.stages)
        if read.kind is ReadKind.PICK:
            return all(read.item in self.state.ended[maker] or self.exhausted(maker) for maker in read.stages)
        if read.kind is ReadKind.OUTPUT:
            maker = self.specs[read.stages[0]]
            return self.above(spec, item, maker.axis) in self.state.ended[maker.name]
        return True

    def _children_settled(self, spec: StageSpec, maker: str, item: str) -> bool:
        made = self.specs[maker]
        if made.streams and made.axis == spec.axis:
            return item in self.state.ended[maker]
        return self.complete_below(maker, item, len(spec.axis))

    def verdict(self, spec: StageSpec, item: str) -> Ready | None:
        """Decide about a step: not yet (None), run, or skip with the reason."""
        if not all(self.settled(spec, read, item) for read in spec.reads):
            return None
        for read in spec.reads:
            if read.kind is ReadKind.OUTPUT and not read.optional:
                maker = self.specs[read.stages[0]]
                status = self.state.ended[maker.name][self.above(spec, item, maker.axis)]
                if status in UNUSABLE:
                    return Ready(StepKey(spec.name, item), f"it reads {maker.name}, which was {status}")
        return Ready(StepKey(spec.name, item))


def plan(graph: Graph, state: State, *, stages: Iterable[str] | None = None) -> set[Ready]:
    """Say what can be decided now, from scratch.

    Args:
        graph: The pipeline.
        state: What has happened.
        stages: Stages in scope; None for all.

    Returns:
        Every step that has not ended and whose reads are settled.
    """
    rules = Rules(graph, graph.stages if stages is None else stages, state)
    return {
        ready
        for spec in rules.specs.values()
        for item in list(rules.items(spec))
        if item not in state.ended[spec.name] and (ready := rules.verdict(spec, item)) is not None
    }


class Frontier:
    """The same, told step by step: gives each step out once.

    Args:
        graph: The pipeline.
        stages: Stages in scope.
        state: What happened before (a resumed run); taken over.
    """

    def __init__(self, graph: Graph, stages: Iterable[str], state: State | None = None) -> None:
        self.state = state or State()
        self.rules = Rules(graph, stages, self.state)
        self._given: dict[str, set[str]] = defaultdict(set)
        self._readers: dict[str, list[tuple[StageSpec, Read]]] = defaultdict(list)
        self._mapped: dict[str, list[StageSpec]] = defaultdict(list)
        self._gatherers_below: dict[str, list[StageSpec]] = defaultdict(list)
        self._closed: set[str] = set()
        for spec in self.rules.specs.values():
            for read in spec.reads:
                for maker in read.stages:
                    self._readers[maker].append((spec, read))
                    if read.kind is ReadKind.CHILDREN:  # no child at all: only the streaming stage's end tells
                        for streaming in self.rules.specs[maker].axis[len(spec.axis) :]:
                            self._gatherers_below[streaming].append(spec)
            if spec.axis:
                self._mapped[spec.axis[-1]].append(spec)

    def begin(self) -> list[Ready]:
        """Give out everything that is ready at first."""
        self._closed = {name for name in self.rules.specs if self.rules.exhausted(name)}
        return [ready for spec in self.rules.specs.values() for ready in self._try(spec, list(self.rules.items(spec)))]

    def yielded(self, stage: str, parent: str, key: str) -> list[Ready]:
        """Take note of a new item; gives out the steps on it that are ready at once."""
        if not self.state.add_item(stage, parent, key):
            return []
        return [ready for spec in self._mapped[stage] for ready in self._try(spec, (key,))]

    def withdrawn(self, stage: str, key: str) -> None:
        """Take note that an item is no longer yielded; call it before `ended` of the step that no longer yields it."""
        self.state.drop_item(stage, key, [spec.name for spec in self._mapped[stage]])

    def ended(self, stage: str, item: str, status: StepStatus) -> list[Ready]:
        """Take note that a step ended; gives out what becomes ready by that."""
        ended = self.rules.specs[stage]
        self.state.end(ended, item, status)
        self._given[stage].add(item)
        found: list[Ready] = []
        axis = ended.axis
        for spec, read in self._readers[stage]:
            if read.kind is ReadKind.OUTPUT:
                found.extend(self._try(spec, (item,) if spec.axis == axis else self._below(spec, axis, item)))
            elif read.kind is ReadKind.CHILDREN:
                found.extend(self._try(spec, (self.rules.above(ended, item, spec.axis),)))
            elif read.kind is ReadKind.PICK:
                found.extend(self._try(spec, self.rules.items(spec)))
        for reader in self._gatherers_below[stage]:
            found.extend(self._try(reader, (self.rules.above(ended, item, reader.axis),)))
        found.extend(self._close(stage))
        return found

    def finished(self) -> bool:
        """Whether every stage in scope has ended for every item."""
        return all(self.rules.exhausted(name) for name in self.rules.specs)

    def _below(self, spec: StageSpec, axis: tuple[str, ...], item: str) -> list[str]:
        """List the items of a stage that stand below an item of an outer axis."""
        return self.state.below(item, spec.axis[len(axis) :])

    def _close(self, stage: str) -> list[Ready]:
        """If a stage is now exhausted, try all that waited for the whole of it, and what is mapped over it."""
        found: list[Ready] = []
        open_ = [stage]
        while open_:
            name = open_.pop()
            if name in self._closed or not self.rules.exhausted(name):
                continue
            self._closed.add(name)
            for spec, read in self._readers[name]:
                if read.kind not in SINGLES:
                    found.extend(self._try(spec, list(self.rules.items(spec))))
            open_.extend(spec.name for spec in self._mapped[name])
        return found

    def _try(self, spec: StageSpec, items: Iterable[str]) -> list[Ready]:
        given, done = self._given[spec.name], self.state.ended[spec.name]
        found = []
        for item in list(items):
            if item not in given and item not in done and (ready := self.rules.verdict(spec, item)) is not None:
                given.add(item)
                found.append(ready)
        return found
