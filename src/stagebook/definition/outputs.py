"""Checks what stages make: that items have a key, that a model has one text at most and can be kept as JSON."""

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from stagebook.definition.declaration import Declared
from stagebook.definition.output_model import key_fields, key_type, text_fields
from stagebook.definition.place import problem
from stagebook.definition.schema import NoSchema, Schemas
from stagebook.model.errors import DefinitionError


def key_of(declared: Declared, item: type[BaseModel]) -> str:
    """Name the field that tells items apart.

    Raises:
        DefinitionError: There is none, there are several, or it is neither text nor a whole number.
    """
    keys = key_fields(item)
    if len(keys) != 1:
        raise _wrong(
            declared,
            f"it yields {item.__name__}, which has {'no field' if not keys else 'several fields'} marked as key"
            + (f": {', '.join(keys)}" if keys else ""),
            "mark one field that tells items apart, such as number: Annotated[int, Key]",
        )
    if not _is_key_type(key_type(item, keys[0])):
        raise _wrong(
            declared,
            f"the key {item.__name__}.{keys[0]} is neither str nor int",
            "take a field of type str or int as the key",
        )
    return keys[0]


def text_of(declared: Declared, output: type[BaseModel]) -> str | None:
    """Name the field of type Text.

    Raises:
        DefinitionError: There are several.
    """
    texts = text_fields(output)
    if len(texts) > 1:
        raise _wrong(
            declared,
            f"{output.__name__} has several fields of type Text: {', '.join(texts)}",
            "keep one (the ledger shows it as output_text) and make the others str",
        )
    return texts[0] if texts else None


def schema_of(declared: Declared, output: type[BaseModel], schemas: Schemas) -> bytes:
    """Make the JSON schema of what is kept.

    Raises:
        DefinitionError: The model has no JSON form.
    """
    try:
        return schemas.kept(output)
    except NoSchema as error:
        raise _wrong(
            declared,
            f"{output.__name__} cannot be kept as JSON: {error}",
            "use types that pydantic can write as JSON for every field",
        ) from error


def _is_key_type(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return all(isinstance(value, str | int) for value in get_args(hint))
    if origin in {Union, types.UnionType}:
        return all(_is_key_type(member) for member in get_args(hint))
    if hasattr(hint, "__metadata__"):
        return _is_key_type(get_args(hint)[0])
    return isinstance(hint, type) and issubclass(hint, str | int) and not issubclass(hint, bool)


def _wrong(declared: Declared, what: str, mend: str) -> DefinitionError:
    return problem(declared.place, declared.name, what, mend)
