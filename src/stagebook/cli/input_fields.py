"""What an input model says about its fields: which there are, which take text, which take a model."""

import difflib
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from stagebook.model.errors import InputError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value that was typed belongs."""

    keys: tuple[str, ...]
    """The way to it through the document, in the names that the document uses."""
    accepts: tuple[Any, ...]
    """The types that it may have, unions taken apart."""

    @property
    def takes_text(self) -> bool:
        """Whether a string may stand there, any or one of a few."""
        return str in self.accepts or (bool(self.accepts) and all(_words(one) for one in self.accepts))

    @property
    def takes_list(self) -> bool:
        """Whether a list of single values may stand there, and no text and no object."""
        return bool(self.accepts) and all(_simple_list(one) for one in self.accepts)

    @property
    def takes_document(self) -> bool:
        """Whether something of several parts may stand there: a model, a list, an object."""
        return any(
            one is Any or _model(one) or get_origin(one) not in {None, Literal} or one in {list, dict}
            for one in self.accepts
        )


def find(model: type[BaseModel], dotted: str, pipeline: str) -> Place:
    """Find the place of a field that was typed as `name` or `name.part`.

    Raises:
        InputError: There is no such field; the text gives the nearest names, or all.
    """
    keys: list[str] = []
    accepts: tuple[Any, ...] = (model,)
    for part in dotted.split("."):
        owner = next((one for one in accepts if _model(one)), None)
        if owner is not None:
            keys.append(_key(owner, part, ".".join([*keys, part]), pipeline))
            accepts = tuple(alternatives(_info(owner, part).annotation))
        elif any(one is Any or one is dict or get_origin(one) is dict for one in accepts):
            keys.append(part)
            values = next((get_args(one)[1] for one in accepts if get_origin(one) is dict), Any)
            accepts = tuple(alternatives(values))
        else:
            raise InputError(f"the field {'.'.join(keys)} of the input of {pipeline} has no parts, so not {dotted!r}")
    return Place(tuple(keys), accepts)


def wanting_text(model: type[BaseModel]) -> list[str]:
    """List the document's names of the required fields that take a string and nothing else."""
    return [
        _document_name(name, field)
        for name, field in model.model_fields.items()
        if field.is_required() and set(alternatives(field.annotation)) == {str}
    ]


def texts(model: type[BaseModel]) -> list[str]:
    """List the document's names of the fields that a text file may fill: the required ones, or else all of them."""
    return wanting_text(model) or [
        _document_name(name, field)
        for name, field in model.model_fields.items()
        if set(alternatives(field.annotation)) == {str}
    ]


def refuse_unknown(model: type[BaseModel], document: object, pipeline: str, path: str = "") -> None:
    """Refuse names that the model would pass over: a misspelt field is a lost setting.

    Raises:
        InputError: There is one; the text gives the nearest names.
    """
    reshapes = any(one.info.mode == "before" for one in model.__pydantic_decorators__.model_validators.values())
    if not isinstance(document, dict) or reshapes or model.model_config.get("extra") == "allow":
        return
    known = {name: field for field_name, field in model.model_fields.items() for name in _names(field_name, field)}
    for name, value in document.items():
        if name not in known:
            raise InputError(_no_field(f"{path}{name}", name, list(known), pipeline))
        for one, part in _documents(known[name].annotation, value):
            refuse_unknown(one, part, pipeline, f"{path}{name}.")


def alternatives(annotation: Any) -> Iterator[Any]:
    """Take a union apart; None is left out, and so is what only annotates."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from alternatives(part)
    elif annotation is not type(None):
        yield annotation


def _documents(annotation: Any, value: object) -> Iterator[tuple[type[BaseModel], object]]:
    """Pair what stands in a field with the one model that it must be of, if that is certain."""
    found = list(alternatives(annotation))
    if len(found) != 1:
        return
    if _model(found[0]):
        yield found[0], value
    elif get_origin(found[0]) in {list, tuple} and isinstance(value, list):
        for part in value:
            yield from _documents(get_args(found[0])[0], part)
    elif get_origin(found[0]) is dict and isinstance(value, dict):
        for part in value.values():
            yield from _documents(get_args(found[0])[1], part)


def _simple_list(annotation: Any) -> bool:
    """Whether a type is a list, a set or a tuple of texts or numbers."""
    parts = [one for part in get_args(annotation) if part is not ... for one in alternatives(part)]
    return get_origin(annotation) in {list, set, frozenset, tuple} and all(
        one in {str, int, float} or _words(one) for one in parts
    )


def _words(annotation: Any) -> bool:
    """Whether a type is one of a few words."""
    return get_origin(annotation) is Literal and all(isinstance(word, str) for word in get_args(annotation))


def _model(annotation: Any) -> bool:
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)


def _names(name: str, field: FieldInfo) -> Sequence[str]:
    """All names by which a document may call a field."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [] if alias is None else [alias]
    told = [one if isinstance(one, str) else str(one.path[0]) for one in choices]
    return [*told, name]


def _document_name(name: str, field: FieldInfo) -> str:
    return _names(name, field)[0]


def _info(model: type[BaseModel], typed: str) -> FieldInfo:
    return next(field for name, field in model.model_fields.items() if typed in _names(name, field))


def _key(model: type[BaseModel], typed: str, dotted: str, pipeline: str) -> str:
    """The document's name of a field that was typed by any of its names."""
    for name, field in model.model_fields.items():
        if typed in _names(name, field):
            return _document_name(name, field)
    raise InputError(_no_field(dotted, typed, list(model.model_fields), pipeline))


def _no_field(dotted: str, name: str, known: list[str], pipeline: str) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    mend = f"did you mean {' or '.join(near)}?" if near else f"there {_are(known)}: {', '.join(known)}"
    return f"the input of {pipeline} has no field {dotted!r}; {mend}"


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
