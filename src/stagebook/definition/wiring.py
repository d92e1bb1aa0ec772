"""From what the functions say to what each parameter reads.

A parameter is bound by its type to the stage that returns exactly that type; where several return it, by its name to
the stage so named; where neither settles it, that is an error. Where `From` or `reads=` says the stage, its output may
also be of a class made from the parameter's type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from stagebook.definition.declaration import Declared, Source
from stagebook.definition.graph import Read, ReadKind
from stagebook.definition.markers import From
from stagebook.definition.place import nearest, problem
from stagebook.definition.signature import GIVEN, Parameter, Shape, Signature
from stagebook.model.errors import DefinitionError
from stagebook.model.told import Outcome

GATHERED = {Shape.LIST: ReadKind.LIST, Shape.ROWS: ReadKind.ROWS}


@dataclass(frozen=True, slots=True)
class Maker:
    """A stage, as far as others read it."""

    declared: Declared
    signature: Signature
    output: type[BaseModel]
    """What it returns, or yields."""
    axis: tuple[str, ...]
    """The streaming stages whose items it runs for, outermost first."""

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.declared.name

    @property
    def streams(self) -> bool:
        """Whether it yields items."""
        return self.signature.returned.streams

    @property
    def item_axis(self) -> tuple[str, ...]:
        """The axis of its outputs."""
        return (*self.axis, self.name) if self.streams else self.axis

    def runs(self) -> str:
        """Say for what it runs."""
        return f"runs for each item of {self.axis[-1]}" if self.axis else "runs once"


class Wiring:
    """Binds parameters.

    Args:
        makers: All stages, in order of declaration.
        run_input: The input's model.
        phases: Names of the phases.
    """

    def __init__(self, makers: Mapping[str, Maker], run_input: type[BaseModel], phases: Sequence[str]) -> None:
        self._makers = makers
        self._input = run_input
        self._phases = phases
        self._of_type: dict[type[BaseModel], list[Maker]] = {}
        for maker in makers.values():
            self._of_type.setdefault(maker.output, []).append(maker)

    def bind(self, reader: Maker) -> tuple[Read, ...]:
        """Bind all parameters of a stage.

        Raises:
            DefinitionError: One cannot be bound.
        """
        said = dict(reader.declared.options.reads or {})
        names = [parameter.name for parameter in reader.signature.parameters]
        for name in said:
            if name not in names:
                raise self._wrong(
                    reader,
                    f"reads= names {name!r}, which is no parameter of the function",
                    f"name one of its parameters: {nearest(name, names)}",
                )
        return tuple(
            self._bind(reader, parameter, said.get(parameter.name)) for parameter in reader.signature.parameters
        )

    def _bind(self, reader: Maker, parameter: Parameter, said: Source | None) -> Read:
        if parameter.shape in GIVEN:
            return Read(parameter.name, ReadKind(parameter.shape.name.lower()))
        source = _as_from(said) if said is not None else parameter.source
        if parameter.type is Outcome:
            return self._outcomes(reader, parameter, source)
        if source is not None:
            makers = self._said(reader, parameter, source)
        elif parameter.type is self._input:
            return self._input_read(reader, parameter)
        else:
            makers = self._settled(reader, parameter)
        kind = self._kind(reader, parameter, makers)
        names = tuple(one.name for one in makers)
        read_as = makers[0].output if len(makers) == 1 else parameter.type
        return Read(parameter.name, kind, names, parameter.optional, parameter.item, read_as)

    def _input_read(self, reader: Maker, parameter: Parameter) -> Read:
        others = self._others(reader, parameter)
        if others:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r}: {parameter.type.__name__} is the run's input, and {_listed(others)} "
                "returns it too",
                f"give that stage's output a model of its own, or read it as Annotated[{parameter.written()}, "
                f"From({others[0].name!r})]",
            )
        if parameter.shape is not Shape.ONE or parameter.item is not None:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r} is {parameter.written()}, and there is one input",
                f"annotate it with {parameter.type.__name__}",
            )
        return Read(parameter.name, ReadKind.INPUT, (), parameter.optional, None, parameter.type)

    def _outcomes(self, reader: Maker, parameter: Parameter, source: From | None) -> Read:
        """Bind a parameter that reads what became of steps; any stage has some, whatever it makes."""
        if parameter.shape is not Shape.LIST or source is None:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r} is {parameter.written()}, and it is not said of which stages",
                "annotate it with Annotated[list[Outcome], From('stage', ...)]",
            )
        anything = replace(parameter, type=BaseModel)
        names = tuple(one.name for one in self._said(reader, anything, source))
        return Read(parameter.name, ReadKind.OUTCOMES, names, type=Outcome)

    def _said(self, reader: Maker, parameter: Parameter, source: From) -> list[Maker]:
        """Find the stages that `From` or `reads=` names."""
        makers: list[Maker] = []
        if source.phase is not None:
            if source.phase not in self._phases:
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r} reads the phase {source.phase!r}, which is not there",
                    f"name a phase: {nearest(source.phase, self._phases)}",
                )
            makers = [
                one
                for one in self._makers.values()
                if one.declared.phase == source.phase
                and one.name != reader.name
                and issubclass(one.output, parameter.type)
            ]
            if not makers:
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r}: no stage of the phase {source.phase!r} returns "
                    f"{parameter.type.__name__}",
                    "name a phase that has one, or the stages themselves",
                )
        for name in source.stages:
            maker = self._makers.get(name)
            if maker is None:
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r} reads the stage {name!r}, which is not there",
                    f"name a stage: {nearest(name, self._makers)}",
                )
            if maker.name == reader.name:
                raise self._wrong(
                    reader, f"parameter {parameter.name!r} reads the stage itself", "read a stage that runs before it"
                )
            if not issubclass(maker.output, parameter.type):
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r} is {parameter.written()}, and {name} makes {maker.output.__name__}",
                    f"annotate it with {maker.output.__name__}, or read another stage",
                )
            if maker not in makers:
                makers.append(maker)
        if not makers:
            raise self._wrong(reader, f"parameter {parameter.name!r} reads no stage at all", "name one: From('stage')")
        return makers

    def _others(self, reader: Maker, parameter: Parameter) -> list[Maker]:
        """List the stages that return a parameter's type; a stage never reads itself."""
        return [one for one in self._of_type.get(parameter.type, []) if one.name != reader.name]

    def _settled(self, reader: Maker, parameter: Parameter) -> list[Maker]:
        """Find the stages by type, then by name."""
        candidates = self._others(reader, parameter)
        if len(candidates) == 1:
            return candidates
        model = parameter.type.__name__
        if parameter.type is BaseModel:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r} takes any model, and no stage is said",
                f"annotate it with Annotated[{parameter.written()}, From('stage', ...)]",
            )
        if not candidates:
            returned = {one.output.__name__ for one in self._makers.values()} | {self._input.__name__}
            same_name = [one for one in self._makers.values() if one.output.__name__ == model]
            if same_name:
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r} is a {model} of {parameter.type.__module__}, and "
                    f"{same_name[0].name} returns the {model} of {same_name[0].output.__module__}",
                    "import the same one in both places",
                )
            raise self._wrong(
                reader,
                f"nobody makes {model}, which parameter {parameter.name!r} reads",
                f"declare a stage that returns {model}, or read what is made: {nearest(model, returned)}",
            )
        named = [one for one in candidates if one.name == parameter.name.replace("_", "-")]
        if named:
            return named
        if parameter.shape is Shape.DICT and not any(one.item_axis for one in candidates):
            return candidates
        first = candidates[0].name
        names = ", ".join(repr(one.name) for one in candidates)
        mends = (
            f"call the parameter {first.replace('-', '_')!r}"
            if parameter.shape is Shape.ONE
            else f"annotate it with Annotated[{parameter.written()}, From({names})]"
        )
        raise self._wrong(
            reader,
            f"parameter {parameter.name!r}: {model} is made by {_listed(candidates)}, and the name is none of them",
            f"{mends}, or say reads={{{parameter.name!r}: {first!r}}}",
        )

    def _kind(self, reader: Maker, parameter: Parameter, makers: list[Maker]) -> ReadKind:
        """Say how the parameter reads its makers, given what each of them runs for."""
        if parameter.shape in GATHERED:
            only = makers[0]
            if (
                len(makers) == 1
                and not only.item_axis
                and parameter.source is None
                and not self._is_said(reader, parameter)
            ):
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r} is {parameter.written()}, and {only.name} runs once and makes one",
                    f"annotate it with {only.output.__name__}",
                )
            return GATHERED[parameter.shape]
        if parameter.shape is Shape.DICT:
            return self._dict_kind(reader, parameter, makers)
        if len(makers) > 1:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r} is one {parameter.type.__name__}, and reads {_listed(makers)}",
                f"annotate it with list[{parameter.type.__name__}] or dict[str, {parameter.type.__name__}]",
            )
        maker = makers[0]
        if parameter.shape is Shape.CHILDREN:
            return self._children_kind(reader, parameter, maker)
        return self._one_kind(reader, parameter, maker)

    def _dict_kind(self, reader: Maker, parameter: Parameter, makers: list[Maker]) -> ReadKind:
        mapped = [one for one in makers if one.item_axis]
        if not mapped:
            return ReadKind.BY_STAGE
        if len(makers) == 1:
            return ReadKind.BY_ITEM
        raise self._wrong(
            reader,
            f"parameter {parameter.name!r} is {parameter.written()} by stage, and {mapped[0].name} has many items",
            "read the mapped stage in a parameter of its own",
        )

    def _children_kind(self, reader: Maker, parameter: Parameter, maker: Maker) -> ReadKind:
        below = maker.item_axis
        if not reader.axis:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r} is {parameter.written()}, and the stage runs once, so it has no item",
                f"annotate it with list[{parameter.type.__name__}]",
            )
        if len(below) <= len(reader.axis) or below[: len(reader.axis)] != reader.axis:
            raise self._wrong(
                reader,
                f"parameter {parameter.name!r} is {parameter.written()}, and what {maker.name} makes does not stand "
                f"below the items of {reader.axis[-1]} ({maker.name} {maker.runs()})",
                f"annotate it with {parameter.type.__name__} or list[{parameter.type.__name__}]",
            )
        return ReadKind.CHILDREN

    def _one_kind(self, reader: Maker, parameter: Parameter, maker: Maker) -> ReadKind:
        model, axis = parameter.type.__name__, maker.item_axis
        if parameter.item is not None:
            if not axis:
                raise self._wrong(
                    reader,
                    f"parameter {parameter.name!r} picks the item {parameter.item!r}, and {maker.name} runs once",
                    "leave Item(...) away",
                )
            return ReadKind.PICK
        if reader.axis[: len(axis)] == axis:
            return ReadKind.ITEM if maker.streams else ReadKind.OUTPUT
        many = f"{maker.name} yields many" if maker.streams else f"{maker.name} runs for each item of {maker.axis[-1]}"
        each = self._makers[axis[-1]].output.__name__
        if axis[: len(reader.axis)] == reader.axis and reader.axis:
            mend = f"annotate it with Children[{model}] (those of this item) or list[{model}] (all)"
        else:
            mend = f"annotate it with list[{model}] for all of them, or declare the stage with each={each}"
        raise self._wrong(
            reader,
            f"parameter {parameter.name!r} is one {model}, and {many}, while {reader.name} {reader.runs()}",
            mend,
        )

    def _is_said(self, reader: Maker, parameter: Parameter) -> bool:
        return parameter.name in (reader.declared.options.reads or {})

    def _wrong(self, reader: Maker, what: str, mend: str) -> DefinitionError:
        return problem(reader.declared.place, reader.name, what, mend)


def _as_from(said: Source) -> From:
    """Turn what `reads=` says into `From`."""
    if isinstance(said, From):
        return said
    if isinstance(said, Sequence) and not isinstance(said, str):
        return From(*(one if isinstance(one, str) else one.name for one in said))
    return From(said if isinstance(said, str) else said.name)


def _listed(makers: Sequence[Maker]) -> str:
    return " and ".join(one.name for one in makers)
