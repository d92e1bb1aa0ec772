"""What a model says about itself to the house: its key, its text, and what a language model writes of it."""

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from stagebook.definition.markers import Key, TextMark
from stagebook.model.told import Call


def key_fields(model: type[BaseModel]) -> list[str]:
    """Name the fields that are marked as keys, computed ones too."""
    plain = [name for name, field in model.model_fields.items() if any(_is_key(mark) for mark in field.metadata)]
    computed = [
        name
        for name, field in model.model_computed_fields.items()
        if any(_is_key(mark) for mark in _marks(field.return_type))
    ]
    return plain + computed


def key_type(model: type[BaseModel], field: str) -> Any:
    """Give the type of a key field."""
    if field in model.model_fields:
        return model.model_fields[field].annotation
    hint = model.model_computed_fields[field].return_type
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def text_fields(model: type[BaseModel]) -> list[str]:
    """Name the fields of type `Text` (or `Text | None`)."""
    plain = [
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, TextMark) for mark in (*field.metadata, *_marks(field.annotation)))
    ]
    computed = [
        name
        for name, field in model.model_computed_fields.items()
        if any(isinstance(mark, TextMark) for mark in _marks(field.return_type))
    ]
    return plain + computed


def written_fields(model: type[BaseModel]) -> list[str]:
    """Name the fields that a language model is to write: all that are not computed or filled in."""
    return [name for name, field in model.model_fields.items() if field.annotation is not Call]


def call_field(model: type[BaseModel]) -> str | None:
    """Name the field that tells of the call.

    Raises:
        ValueError: There are several, or it has no default.
    """
    found = [name for name, field in model.model_fields.items() if field.annotation is Call]
    if len(found) > 1:
        raise ValueError(f"{model.__name__} has several fields of type Call: {', '.join(found)}")
    if found and model.model_fields[found[0]].is_required():
        raise ValueError(f"{model.__name__}.{found[0]} is a Call without a default, and no model writes it")
    return found[0] if found else None


def _marks(hint: Any) -> list[Any]:
    """Collect the metadata of `Annotated`, through `| None`."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *marks = get_args(hint)
        return marks + _marks(inner)
    if origin in {Union, UnionType}:
        return [mark for member in get_args(hint) for mark in _marks(member)]
    return []


def _is_key(mark: Any) -> bool:
    return mark is Key or isinstance(mark, Key)
