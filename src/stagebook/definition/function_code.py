"""What a function does, apart from how it is written: its syntax tree, and a hash of it.

Formatting, comments, docstrings, annotations and decorators do not count. Functions that it calls are not followed:
`version=` says that they changed.
"""

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from types import CodeType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from stagebook.definition.markers import Skip
from stagebook.model.exchange import DIGEST_SIZE, content_hash

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
UNSAID = frozenset({"decorator_list", "returns", "annotation", "type_comment", "type_params", "ctx", "kind"})
"""Fields of a syntax tree that do not change what the function does (or say it twice)."""


class Sources:
    """Parses each file once, and finds functions and classes in it."""

    def __init__(self) -> None:
        self._trees: dict[str, ast.Module | None] = {}
        self._functions: dict[str, dict[tuple[str, int], FunctionNode]] = {}

    def tree(self, file: str) -> ast.Module | None:
        """Parse a file; None where there is no source (a notebook's cell is in `linecache`, a typed line is not)."""
        if file not in self._trees:
            linecache.checkcache(file)
            text = "".join(linecache.getlines(file))
            try:
                self._trees[file] = ast.parse(text) if text else None
            except (SyntaxError, ValueError):  # the file was changed after it was loaded
                self._trees[file] = None
        return self._trees[file]

    def function(self, function: Callable[..., Any]) -> FunctionNode | None:
        """Find the syntax tree of a function; None where its source is not there."""
        code = inspect.unwrap(function).__code__
        tree = self.tree(code.co_filename)
        if tree is None:
            return None
        if code.co_filename not in self._functions:
            self._functions[code.co_filename] = {
                (node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])): node
                for node in ast.walk(tree)
                if isinstance(node, FunctionNode)
            }
        return self._functions[code.co_filename].get((code.co_name, code.co_firstlineno))

    def class_(self, cls: type, file: str) -> ast.ClassDef | None:
        """Find the syntax tree of a class by its qualified name; None where its source is not there."""
        node: ast.AST | None = self.tree(file)
        for part in cls.__qualname__.split("."):
            if node is None:
                return None
            if part == "<locals>":
                continue
            wanted = ast.ClassDef | FunctionNode
            node = next((one for one in _within(node) if isinstance(one, wanted) and one.name == part), None)
        return node if isinstance(node, ast.ClassDef) else None

    def code_hash(self, function: Callable[..., Any], version: str | None = None) -> bytes:
        """Hash what a function does, or its version where one is given."""
        if version is not None:
            return content_hash(b"version\0" + version.encode())
        node = self.function(function)
        if node is None:
            return content_hash(b"code\0" + _code_said(inspect.unwrap(function).__code__))
        hasher = blake2b(b"tree\0", digest_size=DIGEST_SIZE)
        for part in _said(node, outermost=True):
            hasher.update(part.encode("utf-8", "surrogatepass"))
            hasher.update(b"\0")
        return hasher.digest()


def returned_keys(node: FunctionNode, names: Mapping[str, Any]) -> frozenset[str] | None:
    """Read which keys a function's dict literals give; None where a return cannot be read from its text alone.

    Args:
        node: The function.
        names: What its names mean, to look through calls that give nothing but Skip or None.
    """
    keys: set[str] = set()
    for one in _own(node):
        if isinstance(one, ast.Return) and one.value is not None:
            found = _keys(one.value, names)
            if found is None:
                return None
            keys |= found
    return frozenset(keys)


def _keys(value: ast.expr, names: Mapping[str, Any]) -> set[str] | None:
    """Read the keys of one returned expression."""
    if isinstance(value, ast.BoolOp | ast.IfExp):
        parts = value.values if isinstance(value, ast.BoolOp) else [value.body, value.orelse]
        found = [_keys(part, names) for part in parts]
        return set().union(*(one for one in found if one is not None)) if None not in found else None
    if _is_none(value) or (isinstance(value, ast.Call) and _gives_no_keys(value, names)):
        return set()
    if not isinstance(value, ast.Dict):
        return None
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return set(keys) if len(keys) == len(value.keys) else None


def _gives_no_keys(call: ast.Call, names: Mapping[str, Any]) -> bool:
    """Whether a call gives Skip, or is of a function annotated with nothing but Skip and None."""
    called = names.get(call.func.id) if isinstance(call.func, ast.Name) else None
    if called is Skip:
        return True
    hint = getattr(called, "__annotations__", {}).get("return", Any)
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return all(member in {None, NoneType, Skip} for member in members)


def texts_in(node: FunctionNode) -> frozenset[str]:
    """Collect every piece of text written in a function's body: all that could be a key of what it returns."""
    constants = (one.value for part in node.body for one in ast.walk(part) if isinstance(one, ast.Constant))
    return frozenset(value for value in constants if isinstance(value, str))


def names_used(node: FunctionNode) -> frozenset[str]:
    """Name every variable that a function's body reads."""
    return frozenset(one.id for part in node.body for one in ast.walk(part) if isinstance(one, ast.Name))


def is_empty(node: FunctionNode) -> bool:
    """Whether a function's body does nothing: a docstring, `...`, `pass`, `return None`."""
    return all(
        isinstance(one, ast.Pass)
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        or (isinstance(one, ast.Return) and (one.value is None or _is_none(one.value)))
        for one in node.body
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a body, but not into functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.ClassDef | FunctionNode):
            yield from _within(child)


def _own(node: FunctionNode) -> Iterator[ast.AST]:
    """Walk a function's body, but not functions inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FunctionNode | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_below(child)


def _own_below(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FunctionNode | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_below(child)


def _said(node: Any, *, outermost: bool = False) -> Iterator[str]:
    """Write a syntax tree as a flat list of words, the same in every version of Python.

    `ast.dump` is not used: it shows empty fields in some versions and not in others.
    """
    if isinstance(node, list):
        yield "["
        for one in node:
            yield from _said(one)
        yield "]"
    elif isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name in UNSAID or value is None or value == [] or (outermost and name == "name"):
                continue
            yield name
            yield from _said(_without_docstring(value) if name == "body" else value)
        yield "."
    else:
        yield f"{type(node).__name__}:{node!r}"


def _without_docstring(body: Any) -> Any:
    """Drop what a body says without doing anything: a docstring, or a string or `...` standing alone."""
    if not isinstance(body, list):
        return body
    return [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]


def _code_said(code: CodeType) -> bytes:
    """Write a code object's bytes and constants, those of functions in it too, without file names and lines."""
    said = [code.co_code, repr(code.co_names).encode(), repr(code.co_varnames).encode()]
    said.extend(
        _code_said(constant) if isinstance(constant, CodeType) else repr(constant).encode()
        for constant in code.co_consts
    )
    return b"\0".join(said)
