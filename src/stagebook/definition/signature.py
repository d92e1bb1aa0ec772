"""What a stage's function says about itself: each parameter, and what it returns."""

import inspect
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from stagebook.definition.declaration import Declared
from stagebook.definition.markers import ChildrenMark, From, Item, Rows, Skip
from stagebook.definition.place import Place, problem
from stagebook.model.ports import Door, Llm, Warn

STREAMS = (
    abc.Iterator,
    abc.Iterable,
    abc.Generator,
    abc.AsyncIterator,
    abc.AsyncIterable,
    abc.AsyncGenerator,
    abc.Sequence,
    list,
)
"""What a function that yields items is annotated with."""


class Shape(Enum):
    """How a parameter takes what it reads."""

    ONE = "T"
    LIST = "list[T]"
    DICT = "dict[str, T]"
    ROWS = "Rows[T]"
    CHILDREN = "Children[T]"
    DOOR = "Door"
    LLM = "Llm"
    WARN = "Warn"


ENGINES: tuple[tuple[object, Shape], ...] = ((Door, Shape.DOOR), (Llm, Shape.LLM), (Warn, Shape.WARN))
"""Types of parameters that the engine itself gives."""
GIVEN = frozenset(shape for _, shape in ENGINES)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, read from its annotation."""

    name: str
    shape: Shape
    type: type[BaseModel]
    """The model of one value; for what the engine gives it says nothing."""
    optional: bool = False
    source: From | None = None
    item: str | None = None

    def hint(self) -> Any:
        """Give the type as an annotation, the marks left away."""
        made: dict[Shape, type] = {Shape.LIST: list, Shape.CHILDREN: list, Shape.ROWS: Rows}
        if self.shape is Shape.DICT:
            return types.GenericAlias(dict, (str, self.type))
        return types.GenericAlias(made[self.shape], (self.type,)) if self.shape in made else self.type

    def written(self) -> str:
        """Write the type as a user does."""
        return self.shape.value.replace("T", self.type.__name__) if self.shape is not Shape.ONE else self.type.__name__


@dataclass(frozen=True, slots=True)
class Returned:
    """What a function returns."""

    type: type[BaseModel] | None
    """The output or item; None for a prompt."""
    streams: bool = False
    skips: bool = False
    bare: bool = False
    """A prompt whose body says nothing."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function, as its annotations tell."""

    parameters: tuple[Parameter, ...]
    returned: Returned


def read_signature(declared: Declared) -> Signature:
    """Read a stage's function.

    Raises:
        DefinitionError: An annotation is missing or means nothing here.
    """
    hints = hints_of(declared, declared.function)
    parameters = []
    for parameter in inspect.signature(declared.function).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise _wrong(
                declared,
                f"parameter {str(parameter)!r} cannot be bound by name",
                "write one named parameter for everything that is read",
            )
        if parameter.name not in hints:
            raise _wrong(
                declared,
                f"parameter {parameter.name!r} has no annotation, so it cannot be told what it reads",
                f"annotate it with the model that it reads, such as {parameter.name}: {_guess(parameter.name)}",
            )
        read = _parameter(declared, parameter.name, hints[parameter.name])
        if read is None:
            if parameter.default is not parameter.empty:
                continue  # a constant of the function: nobody but its default gives it
            raise _wrong(
                declared,
                f"parameter {parameter.name!r} is {_shown(hints[parameter.name])}, which no stage can return",
                "annotate it with a pydantic model, or list[...], dict[str, ...], Rows[...] or Children[...] of one",
            )
        parameters.append(read)
    if "return" not in hints:
        raise _wrong(
            declared,
            "the function has no return annotation, so it cannot be told what it makes",
            "annotate it with -> None" if declared.options.returns else "annotate it with the model that it returns",
        )
    read_return = _prompt_return if declared.options.returns is not None else _computed_return
    return Signature(tuple(parameters), read_return(declared, hints["return"]))


def hints_of(declared: Declared, function: Callable[..., Any], place: Place | None = None) -> Mapping[str, Any]:
    """Resolve a function's annotations, those written as strings too.

    Args:
        declared: The stage that it belongs to.
        function: The stage's own, or a check's.
        place: Where a check stands; by default the stage's place.

    Raises:
        DefinitionError: A name in one is not there at run time.
    """
    at = place if place is not None else declared.place
    try:
        return typing.get_type_hints(inspect.unwrap(function), localns=dict(at.names), include_extras=True)
    except NameError as error:
        raise problem(
            at,
            declared.name,
            f"the annotation names {error.name!r}, which is not there when the pipeline is loaded",
            "import it where it is used, outside of `if TYPE_CHECKING:`",
        ) from error
    except (TypeError, SyntaxError) as error:
        raise problem(at, declared.name, f"an annotation cannot be read: {error}", "write it as a type") from error


def peeled(hint: Any) -> Any:
    """Take `Annotated` and `| None` off a type."""
    return _peel(hint)[1]


def _parameter(declared: Declared, name: str, hint: Any) -> Parameter | None:
    """Read one annotation; None where it is nothing that a stage could return."""
    marks, hint, optional = _peel(hint)
    source = next((mark for mark in marks if isinstance(mark, From)), None)
    item = next((mark.key for mark in marks if isinstance(mark, Item)), None)
    for mark in marks:
        if mark in (From, Item):
            raise _wrong(
                declared, f"parameter {name!r} has a bare {mark.__name__}", f"say which: {mark.__name__}('...')"
            )
    given = next((shape for kind, shape in ENGINES if hint is kind), None)
    if given is not None:
        return Parameter(name, given, BaseModel)
    shape, inner = _shape(marks, hint)
    if shape is None:
        return None
    model = _peel(inner)[1]
    if not _is_model(model):
        return None
    if optional and shape is not Shape.ONE:
        raise _wrong(
            declared,
            f"parameter {name!r} is {shape.value} | None, and a collection is never None",
            "leave `| None` away: what was skipped is not in it",
        )
    if item is not None and shape is not Shape.ONE:
        raise _wrong(
            declared, f"parameter {name!r} picks one item into {shape.value}", "annotate it with the model itself"
        )
    return Parameter(name, shape, model, optional, source, item)


def _shape(marks: list[Any], hint: Any) -> tuple[Shape | None, Any]:
    """Say how an annotation takes what it reads, and the type inside."""
    origin, arguments = get_origin(hint), get_args(hint)
    if any(isinstance(mark, ChildrenMark) for mark in marks):
        return Shape.CHILDREN, arguments[0]
    if origin is None:
        return Shape.ONE, hint
    if origin is list:
        return Shape.LIST, arguments[0]
    if origin is Rows:
        return Shape.ROWS, arguments[0]
    if origin in {dict, abc.Mapping} and arguments[0] is str:
        return Shape.DICT, arguments[1]
    return None, hint


def _computed_return(declared: Declared, hint: Any) -> Returned:
    """Read what a computing stage returns."""
    _, hint, optional = _peel(hint)
    if hint is type(None) or optional:
        raise _wrong(
            declared,
            "the function may return None, and a stage always leaves something",
            "return a model, or Skip('why') and annotate `Model | Skip`",
        )
    members = list(get_args(hint)) if get_origin(hint) in {Union, types.UnionType} else [hint]
    skips = Skip in members
    made = [member for member in members if member is not Skip]
    if len(made) == 1:
        member = _peel(made[0])[1]
        if _is_model(member) and member is not BaseModel:
            return Returned(member, skips=skips)
        if get_origin(member) in STREAMS:
            item = _peel(get_args(member)[0])[1]
            if _is_model(item) and item is not BaseModel:
                return Returned(item, streams=True, skips=skips)
    raise _wrong(
        declared,
        f"the function returns {_shown(hint)}",
        "return one pydantic model, `Model | Skip`, or items: Iterator[Model], AsyncIterator[Model] or list[Model]",
    )


def _prompt_return(declared: Declared, hint: Any) -> Returned:
    """Read what a prompt's function returns: nothing, further values for the template, or Skip."""
    members = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    for member in members:
        if member in {type(None), Skip} or (get_origin(member) or member) in {dict, abc.Mapping}:
            continue
        raise _wrong(
            declared,
            f"the function of a prompt returns {_shown(hint)}, but what the model answers is said by returns=",
            "annotate it with -> None, or -> dict[str, object] where it gives its template more",
        )
    return Returned(None, skips=Skip in members, bare=members == (type(None),))


def _peel(hint: Any) -> tuple[list[Any], Any, bool]:
    """Take `Annotated` and `| None` off a type; gives the metadata, what is left, and whether None is allowed."""
    marks: list[Any] = []
    optional = False
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *more = get_args(hint)
            marks.extend(more)
        elif origin in {Union, types.UnionType} and type(None) in get_args(hint):
            left = [member for member in get_args(hint) if member is not type(None)]
            optional = True
            hint = Union[tuple(left)]  # noqa: UP007  made of a list at run time
        else:
            return marks, hint, optional


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _shown(hint: Any) -> str:
    """Write a type for people."""
    if hint is type(None):
        return "None"
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint).replace("typing.", "")


def _guess(parameter: str) -> str:
    return "".join(part.capitalize() for part in parameter.split("_"))


def _wrong(declared: Declared, what: str, mend: str) -> Exception:
    return problem(declared.place, declared.name, what, mend)
