"""Holds a template's dotted names against the models that its stage reads: `{{ page.nmber }}` is told at load.

Types are followed through fields, lists, dicts, loops, `set` and the filters that keep elements. What cannot be known
(a value that the function's body returns, a macro's parameter) is let through.
"""

import enum
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from jinja2 import nodes
from pydantic import BaseModel

from stagebook.definition.place import nearest

LISTS = (list, tuple, set, frozenset, abc.Sequence, abc.Set, abc.Iterable)
DICTS = (dict, abc.Mapping)
SCALARS = (str, int, float, bool)
KEEPING = frozenset({"sort", "list", "reverse", "unique", "select", "reject", "selectattr", "rejectattr"})
"""Filters that give a list of the same elements."""
ONE_OF = frozenset({"first", "last", "random", "min", "max"})
"""Filters that give one element."""
BY_ATTRIBUTE = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters whose first argument names an attribute of the elements."""
LENIENT_FILTERS = frozenset({"default", "d"})
LENIENT_TESTS = frozenset({"defined", "undefined"})


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A dotted name that leads nowhere."""

    line: int
    what: str
    mend: str


class _Found(Exception):
    def __init__(self, unknown: UnknownField) -> None:
        super().__init__(unknown.what)
        self.unknown = unknown


Scope = dict[str, Any]
"""Types by variable; Any where nothing is known."""


def unknown_field(tree: nodes.Template, types: Mapping[str, Any]) -> UnknownField | None:
    """Find the first dotted name that leads nowhere.

    Args:
        tree: A template's syntax tree.
        types: Types of variables, as annotations; of others nothing is known.
    """
    try:
        _run(tree.body, dict(types))
    except _Found as found:
        return found.unknown
    return None


def _run(body: list[nodes.Node], scope: Scope) -> None:
    for node in body:
        _statement(node, scope)


def _statement(node: nodes.Node, scope: Scope) -> None:
    """Walk one statement; what it sets is known to those after it."""
    if isinstance(node, nodes.For):
        inner = {**scope, "loop": Any}
        _bind(node.target, _element(_type(node.iter, scope)), inner)
        if node.test is not None:
            _type(node.test, inner)
        _run(node.body, inner)
        _run(node.else_, dict(scope))
    elif isinstance(node, nodes.Assign):
        _set(node.target, _type(node.node, scope), scope)
    elif isinstance(node, nodes.AssignBlock):
        _run(node.body, dict(scope))
        _set(node.target, Any, scope)
    elif isinstance(node, nodes.With):
        inner = dict(scope)
        for target, value in zip(node.targets, node.values, strict=True):
            _bind(target, _type(value, scope), inner)
        _run(node.body, inner)
    elif isinstance(node, nodes.Macro | nodes.CallBlock):
        inner = {**scope, **{one.name: Any for one in node.args}, "caller": Any, "varargs": Any, "kwargs": Any}
        _run(node.body, inner)
        if isinstance(node, nodes.CallBlock):
            _type(node.call, scope)
        else:
            scope[node.name] = Any
    elif isinstance(node, nodes.Expr):
        _type(node, scope)
    else:
        for child in node.iter_child_nodes():
            _statement(child, scope)


def _bind(target: nodes.Node, value: Any, scope: Scope) -> None:
    """Give a loop's or a with's target its type."""
    if isinstance(target, nodes.Name):
        scope[target.name] = value
    elif isinstance(target, nodes.Tuple):
        parts = get_args(value) if get_origin(value) is tuple else ()
        matched = parts if len(parts) == len(target.items) else (Any,) * len(target.items)
        for item, part in zip(target.items, matched, strict=True):
            _bind(item, part, scope)


def _set(target: nodes.Node, value: Any, scope: Scope) -> None:
    """Take note of a `set`; a name that was something else before (in another branch) is unknown from here on."""
    if isinstance(target, nodes.Name):
        scope[target.name] = value if scope.get(target.name, value) == value else Any
    elif isinstance(target, nodes.Tuple):
        for item in target.items:
            _set(item, Any, scope)


def _type(node: nodes.Node, scope: Scope) -> Any:
    """Say an expression's type, and look at everything in it."""
    if isinstance(node, nodes.Name):
        return scope.get(node.name, Any)
    if isinstance(node, nodes.Getattr):
        return _attribute(node, _type(node.node, scope), node.attr)
    if isinstance(node, nodes.Getitem):
        return _item(node, _type(node.node, scope), scope)
    if isinstance(node, nodes.Filter) and node.node is not None:
        return _filtered(node, scope)
    if isinstance(node, nodes.Test) and node.name in LENIENT_TESTS:
        _leniently(node.node, scope)
        return bool
    if isinstance(node, nodes.CondExpr):
        _type(node.test, scope)
        kinds = [_type(one, scope) for one in (node.expr1, node.expr2) if one is not None]
        return kinds[0] if all(kind == kinds[0] for kind in kinds) else Any
    if isinstance(node, nodes.Call):
        return _called(node, scope)
    for child in node.iter_child_nodes():
        _type(child, scope)
    return Any


def _leniently(node: nodes.Node, scope: Scope) -> None:
    """Look at what may be undefined on purpose: only at what it is a part of."""
    _type(node.node if isinstance(node, nodes.Getattr | nodes.Getitem) else node, scope)


def _filtered(node: nodes.Filter, scope: Scope) -> Any:
    for argument in (*node.args, *(one.value for one in node.kwargs)):
        _type(argument, scope)
    if node.name in LENIENT_FILTERS:
        _leniently(node.node, scope) if node.node is not None else None
        return Any
    kind = _type(node.node, scope) if node.node is not None else Any
    element = _element(kind)
    named = node.args[0] if node.args and node.name in BY_ATTRIBUTE else None
    named = next((one.value for one in node.kwargs if one.key == "attribute"), named)
    inner: Any = Any
    if isinstance(named, nodes.Const) and isinstance(named.value, str):
        inner = element
        for part in named.value.split("."):
            inner = _attribute(node, inner, part)
    if node.name == "map":
        return _list_of(inner)
    if node.name in KEEPING:
        return _list_of(element)
    return element if node.name in ONE_OF else Any


def _called(node: nodes.Call, scope: Scope) -> Any:
    for argument in (*node.args, *(one.value for one in node.kwargs)):
        _type(argument, scope)
    if not isinstance(node.node, nodes.Getattr):
        _type(node.node, scope)
        return Any
    of = _bare(_type(node.node.node, scope))
    _attribute(node.node, of, node.node.attr)
    if get_origin(of) in DICTS:
        key, value = get_args(of)
        pair = GenericAlias(tuple, (key, value))
        given = {"items": pair, "values": value, "keys": key}.get(node.node.attr, Any)
        return _list_of(given)
    return Any


def _list_of(element: Any) -> Any:
    return GenericAlias(list, (element,)) if element is not Any else Any


def _item(node: nodes.Getitem, kind: Any, scope: Scope) -> Any:
    _type(node.arg, scope)
    kind = _bare(kind)
    if get_origin(kind) in DICTS:
        return get_args(kind)[1]
    if isinstance(node.arg, nodes.Slice):
        return kind
    if get_origin(kind) in LISTS:
        return _element(kind)
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return _attribute(node, kind, node.arg.value)
    return Any


def _attribute(node: nodes.Getattr | nodes.Getitem | nodes.Filter, kind: Any, name: str) -> Any:
    """Follow one dot."""
    kind = _bare(kind)
    if get_origin(kind) in {Union, UnionType}:
        return Any
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _field(node, kind, name)
    origin = get_origin(kind) or kind
    if origin in LISTS and not hasattr(list, name):
        raise _found(node, f"{_written(node)}: it is a list, and has no {name!r}", "loop over it, or take [0]")
    if isinstance(origin, type) and issubclass(origin, SCALARS) and not issubclass(origin, enum.Enum):
        if not hasattr(origin, name):
            raise _found(node, f"{_written(node)}: {origin.__name__} has no {name!r}", "use the value itself")
        return Any
    if origin in DICTS and len(get_args(kind)) == 2 and not hasattr(dict, name):  # noqa: PLR2004  key and value
        return get_args(kind)[1]
    return Any


def _field(node: nodes.Getattr | nodes.Getitem | nodes.Filter, model: type[BaseModel], name: str) -> Any:
    if name in model.model_fields:
        return model.model_fields[name].annotation
    if name in model.model_computed_fields:
        return model.model_computed_fields[name].return_type
    if model.model_config.get("extra") == "allow":
        return Any
    known = [*model.model_fields, *model.model_computed_fields]
    found = getattr(model, name, None)
    if found is None or hasattr(BaseModel, name):
        raise _found(
            node,
            f"{_written(node)}: {model.__name__} has no field {name!r}",
            f"use one of its fields: {nearest(name, known)}",
        )
    if isinstance(found, property) and found.fget is not None:
        return get_type_hints(found.fget).get("return", Any)
    if callable(found):
        raise _found(
            node,
            f"{_written(node)} is a method of {model.__name__}, and a template cannot call it",
            "make it a property or a computed field, or call it in the function's body and return the result",
        )
    return Any


def _element(kind: Any) -> Any:
    """Say the type of what a loop over something gives."""
    kind = _bare(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is ...):  # noqa: PLR2004  tuple[T, ...]
        return Any
    if origin in LISTS or origin in DICTS:
        return arguments[0] if arguments else Any
    return Any


def _bare(kind: Any) -> Any:
    """Take `Annotated` and `| None` off."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind = get_args(kind)[0]
        elif origin in {Union, UnionType} and NoneType in get_args(kind):
            left = tuple(one for one in get_args(kind) if one is not NoneType)
            if not left:
                return Any
            kind = Union[left]  # noqa: UP007  made of a tuple at run time
        else:
            return kind


def _written(node: nodes.Node) -> str:
    """Write an expression as it stands in the template, roughly."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_written(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        return f"{_written(node.node)}[{_written(node.arg)}]"
    if isinstance(node, nodes.Filter) and node.node is not None:
        return f"{_written(node.node)} | {node.name}"
    if isinstance(node, nodes.Const):
        return repr(node.value)
    return "..."


def _found(node: nodes.Node, what: str, mend: str) -> _Found:
    return _Found(UnknownField(node.lineno, what, mend))
