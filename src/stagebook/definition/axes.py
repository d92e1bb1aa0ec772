"""For which items each stage runs, and in which order stages stand."""

import heapq
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from pydantic import BaseModel

from stagebook.definition.declaration import Declared
from stagebook.definition.place import nearest, problem
from stagebook.definition.signature import Returned


class Axes:
    """Resolves `each=`.

    Args:
        stages: All declared stages with what they return (a prompt's `returns=` filled in), in order of declaration.
    """

    def __init__(self, stages: Mapping[str, tuple[Declared, Returned]]) -> None:
        self._stages = stages

    def each(self, name: str) -> str | None:
        """Name the stage whose items another stage is mapped over.

        Raises:
            DefinitionError: `each=` names nothing that yields items.
        """
        declared, _ = self._stages[name]
        wanted = declared.options.each
        if wanted is None:
            return None
        if isinstance(wanted, type):
            return self._yielding(declared, wanted)
        named = wanted if isinstance(wanted, str) else wanted.name
        found = self._stages.get(named)
        if found is None:
            raise problem(
                declared.place,
                name,
                f"each= names the stage {named!r}, which is not there",
                f"name a stage that yields items: {nearest(named, self._streaming())}",
            )
        if not found[1].streams:
            raise problem(declared.place, name, f"each= names {named}, which yields no items", self._mend(named))
        return named

    def axis(self, name: str, below: tuple[str, ...] = ()) -> tuple[str, ...]:
        """List the streaming stages for whose items a stage runs, outermost first.

        Raises:
            DefinitionError: A stage is mapped over its own items in the end.
        """
        if name in below:
            declared = self._stages[name][0]
            drawn = " -> ".join([name, *reversed(below[below.index(name) :])])
            raise problem(declared.place, name, f"it is mapped over itself: {drawn}", "map it over another stage")
        each = self.each(name)
        return () if each is None else (*self.axis(each, (*below, name)), each)

    def _yielding(self, declared: Declared, model: type[BaseModel]) -> str:
        streaming = [
            name for name, (_, returned) in self._stages.items() if returned.streams and returned.type is model
        ]
        streaming = [name for name in streaming if name != declared.name]
        if len(streaming) == 1:
            return streaming[0]
        if streaming:
            raise problem(
                declared.place,
                declared.name,
                f"each={model.__name__}: {' and '.join(streaming)} yield it",
                f"name the stage: each={streaming[0]!r}",
            )
        makers = [name for name, (_, returned) in self._stages.items() if returned.type is model]
        if makers:
            raise problem(
                declared.place,
                declared.name,
                f"each={model.__name__}: {makers[0]} returns one, and yields no items",
                self._mend(makers[0]),
            )
        models = {returned.type.__name__ for _, returned in self._stages.values() if returned.streams and returned.type}
        raise problem(
            declared.place,
            declared.name,
            f"each={getattr(model, '__name__', model)}: nobody yields it",
            f"declare a stage that returns Iterator[{getattr(model, '__name__', model)}], or name what is yielded: "
            f"{nearest(getattr(model, '__name__', str(model)), models)}",
        )

    def _mend(self, maker: str) -> str:
        """Say what `each=` should name instead of a stage that yields nothing."""
        over = self._stages[maker][0].options.each
        if over is None:
            return f"let {maker} return Iterator[...] of a model with a Key, or leave each= away"
        axis = self.each(maker)
        model = self._stages[str(axis)][1].type
        return f"{maker} runs for each item of {axis}: say each={model.__name__ if model else axis}"

    def _streaming(self) -> list[str]:
        return [name for name, (_, returned) in self._stages.items() if returned.streams]


def in_order(upstream: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Put every stage after those that it reads; of several that could come next, the one declared first.

    Args:
        upstream: What each stage reads directly, in order of declaration; without cycles.
    """
    position = {name: number for number, name in enumerate(upstream)}
    waiting = {name: len(makers) for name, makers in upstream.items()}
    readers: dict[str, list[str]] = {name: [] for name in upstream}
    for name, makers in upstream.items():
        for maker in makers:
            readers[maker].append(name)
    ready = [position[name] for name, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    names = list(upstream)
    ordered: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        ordered.append(name)
        for reader in readers[name]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, position[reader])
    return ordered


def find_cycle(upstream: Mapping[str, AbstractSet[str]]) -> Sequence[str] | None:
    """Find stages that read each other in a circle, in the direction in which values would flow; None: there is none.

    Args:
        upstream: What each stage reads directly, in order of declaration.
    """
    done: set[str] = set()
    for start in upstream:
        path: list[str] = []
        open_ = [(start, iter(sorted(upstream[start])))] if start not in done else []
        path.extend(name for name, _ in open_)
        while open_:
            name, makers = open_[-1]
            maker = next(makers, None)
            if maker is None:
                open_.pop()
                path.pop()
                done.add(name)
            elif maker in path:
                circle = path[path.index(maker) :]
                return [circle[0], *reversed(circle)]
            elif maker not in done:
                path.append(maker)
                open_.append((maker, iter(sorted(upstream[maker]))))
    return None
