"""The language of templates: Jinja that can read values and decide, but not call, import, include or change anything.

Imported where a template is first parsed, since Jinja costs 40 ms.
"""

import enum
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from os import urandom
from types import BuiltinMethodType, MethodType
from typing import Any, Self
from weakref import WeakKeyDictionary

from jinja2 import StrictUndefined, nodes
from jinja2.runtime import AsyncLoopContext, BlockReference, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from pydantic import BaseModel
from pydantic_core import to_json

from stagebook.model.image import IN_TEXT, Image

PLAIN = (str, int, float, bytes, list, tuple, dict, set, frozenset, date, time, timedelta, Decimal)
"""Types whose methods only compute."""
OF_JINJA = (Macro, LoopContext, AsyncLoopContext, BlockReference, Cycler, Joiner)
LOST = f"<{urandom(8).hex()}>"
"""Stands where a picture was, in text that Jinja has copied."""
MOST_REPEATED = 1_000_000
"""Longest text or list that `*` may make."""
MOST_POWER = 1000
"""Greatest exponent."""


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, narrower: methods of models are out of reach, since templates may come over HTTP.

    (Pydantic's `parse_raw` unpickles, a `Path` in a model reads files.)
    """

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, finalize=said
        )
        self._fields: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()
        kept = ("range", "dict", "cycler", "joiner", "namespace")
        self.globals = {name: self.globals[name] for name in kept}
        self.filters["tojson"] = as_json

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Follow a dot; a model's own field at once, since rendering does little else."""
        kind = type(obj)
        fields = self._fields.get(kind)
        if fields is None:
            fields = self._fields[kind] = field_names(kind)
        return getattr(obj, attribute) if attribute in fields else super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow fields and properties of models, and what the sandbox allows of everything else."""
        if isinstance(obj, BaseModel) and hasattr(BaseModel, attr):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow Jinja's own functions and the methods of plain values."""
        if isinstance(obj, OF_JINJA) or any(obj is one for one in self.globals.values()):
            return True
        if isinstance(obj, MethodType | BuiltinMethodType):
            return isinstance(obj.__self__, (*PLAIN, *OF_JINJA)) and super().is_safe_callable(obj)
        return getattr(obj, "__qualname__", "") in {"str.format", "str.format_map"} and hasattr(obj, "__wrapped__")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse multiplications that would fill the memory."""
        if operator == "**" and isinstance(right, int | float) and abs(right) > MOST_POWER:
            raise OverflowError(f"the exponent {right} is too large for a template")
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if hasattr(one, "__len__") and isinstance(times, int) and len(one) * times > MOST_REPEATED:
                    raise OverflowError(f"a template may repeat something to {MOST_REPEATED} at most")
        return super().call_binop(context, operator, left, right)


def field_names(kind: type) -> frozenset[str]:
    """Name a model's fields, computed ones too; none of what is no model."""
    return frozenset((*kind.model_fields, *kind.model_computed_fields)) if issubclass(kind, BaseModel) else frozenset()


class Shown(str):
    """Pictures on their way through Jinja, which knows text only: they reach the message where they are written.

    The text itself is a mark that nobody can guess. Where it is found, Jinja has made plain text of it (in a macro, a
    filter, a `set` block), and the picture is lost.
    """

    __slots__ = ("images",)
    images: tuple[Image, ...]

    def __new__(cls, images: Iterable[Image]) -> Self:
        """Wrap pictures."""
        made = super().__new__(cls, LOST)
        made.images = tuple(images)
        return made

    def __str__(self) -> str:
        return self


def said(value: Any) -> Any:
    """Turn what stands between `{{` and `}}` into text: models and collections as JSON, None as nothing."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, Image):
        return Shown((value,))
    if isinstance(value, BaseModel | Mapping | list | tuple | set | frozenset) and not isinstance(value, Namespace):
        if isinstance(value, list | tuple) and value and all(isinstance(one, Image) for one in value):
            return Shown(value)
        return as_json(value)
    if isinstance(value, enum.Enum):
        return value.value
    return value


def as_json(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON, without the escapes for HTML that Jinja's own filter makes.

    Args:
        value: Models, dataclasses, dates and collections of them too.
        indent: Spaces a level; None writes one line.
    """
    return to_json(value, indent=indent, context=IN_TEXT).decode()


def forbidden(tree: nodes.Template) -> nodes.Node | None:
    """Find the first tag that would read another template while rendering."""
    kinds = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
    return next((node for kind in kinds for node in tree.find_all(kind)), None)
