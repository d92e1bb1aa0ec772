"""Makes a pipeline's input of what was typed: a JSON file, text files, and `--set`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError

from stagebook.cli.input_fields import Place, find, refuse_unknown, texts, wanting_text
from stagebook.cli.text_file import read_json, read_text, refuse_twice
from stagebook.model.errors import InputError

SHOWN: Final = 3
"""Problems told at once."""


def read_input(model: type[BaseModel], pipeline: str, files: Sequence[Path], settings: Sequence[str]) -> BaseModel:
    """Make the input; nothing is written.

    Args:
        model: The pipeline's input model.
        pipeline: Its name, for errors.
        files: A JSON file holds the input as an object; any other is a text, and fills the one required string, or the
            one string where none is required.
        settings: `field=value`, `field.part=value`, `field=@file`; stronger than the JSON file.

    Raises:
        InputError: Something of it cannot be used.
    """
    document = _document(pipeline, [file for file in files if file.suffix.lower() == ".json"])
    refuse_unknown(model, document, pipeline)
    for setting in settings:
        _set(document, model, pipeline, setting)
    for file in files:
        if file.suffix.lower() != ".json":
            text = read_text(file, f"the input {file}")
            document[_text_field(model, pipeline, document, file)] = text
    refuse_unknown(model, document, pipeline)
    try:
        return model.model_validate_json(orjson.dumps(document))
    except ValidationError as error:
        raise InputError(_explain(error, model, pipeline)) from None
    except orjson.JSONEncodeError:
        raise InputError(f"the input of {pipeline} holds characters that are not Unicode; write it in UTF-8") from None


def _document(pipeline: str, files: Sequence[Path]) -> dict[str, Any]:
    if len(files) > 1:
        raise InputError(
            f"two JSON inputs were given ({files[0]} and {files[1]}); give one, the other as --set FIELD=@{files[1]}"
        )
    if not files:
        return {}
    document = read_json(files[0], f"the input {files[0]}")
    if not isinstance(document, dict):
        kind = {list: "a list", str: "a string", type(None): "null", bool: "true or false"}.get(
            type(document), "a number"
        )
        raise InputError(f"the input {files[0]} is {kind}; the input of {pipeline} is an object with named fields")
    return document


def _text_field(model: type[BaseModel], pipeline: str, document: dict[str, Any], file: Path) -> str:
    """Choose the field that a text file fills."""
    wanting = texts(model)
    free = [name for name in wanting if name not in document]
    if len(free) == 1:
        return free[0]
    if not free and len(wanting) == 1:
        raise InputError(
            f"the field {wanting[0]} of the input of {pipeline} is given twice; leave {file} or the other out"
        )
    fields = ", ".join(free or model.model_fields)
    raise InputError(
        f"which field of the input of {pipeline} is {file}? Write --set FIELD=@{file}; the fields: {fields}"
    )


def _set(document: dict[str, Any], model: type[BaseModel], pipeline: str, setting: str) -> None:
    """Put one `--set` into the document."""
    name, equals, typed = setting.partition("=")
    if not equals or not name:
        raise InputError(f"--set {setting} is not of the form FIELD=VALUE")
    place = find(model, name, pipeline)
    value = _value(place, typed, setting)
    inner = document
    for key in place.keys[:-1]:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {setting}: {key} is not an object in the JSON given, so it has no part to set")
    inner[place.keys[-1]] = value


def _value(place: Place, typed: str, setting: str) -> Any:
    """Read a value: `@file`, a file's name where a model is wanted, JSON, `a,b` for a list, or text as it stands."""
    if typed.startswith("@@"):  # for text that begins with @, such as @someone
        typed = typed[1:]
    elif typed.startswith("@"):
        return _from_file(place, Path(typed[1:]), setting)
    named = not place.takes_list or typed.lower().endswith(".json")  # a list may be of words that files are called, too
    if place.takes_document and not place.takes_text and named and _is_file(typed):
        return _from_file(place, Path(typed), setting)
    if place.takes_text:
        return typed
    try:
        found = orjson.loads(typed)
    except orjson.JSONDecodeError:
        if place.takes_list and not typed.lstrip().startswith("["):
            return _parts(typed)
        if place.takes_document:
            raise InputError(f"--set {setting}: there is no file {typed!r}, and it is not JSON either") from None
        return typed
    if place.takes_list and isinstance(found, int | float):
        return _parts(typed)
    refuse_twice(typed, f"--set {place.keys[-1]}")
    return found


def _parts(typed: str) -> list[str]:
    """Read `a,b` as a list; the model makes numbers of texts where it wants them."""
    return [part for one in typed.split(",") if (part := one.strip())]


def _from_file(place: Place, file: Path, setting: str) -> Any:
    what = f"the file of --set {setting}"
    return read_text(file, what) if place.takes_text else read_json(file, what)


def _is_file(typed: str) -> bool:
    try:
        return Path(typed).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL: so it is none
        return False


def _explain(error: ValidationError, model: type[BaseModel], pipeline: str) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = [_problem(one["type"], one["loc"], one["msg"], model) for one in found[:SHOWN]]
    if len(found) > SHOWN:
        told.append(f"and {len(found) - SHOWN} more")
    return f"the input of {pipeline} cannot be used: {'; '.join(told)}"


def _problem(kind: str, loc: tuple[int | str, ...], message: str, model: type[BaseModel]) -> str:
    field = ".".join(map(str, loc))
    if kind == "missing":
        mend = f"give a text file, or --set {field}=@FILE" if field in wanting_text(model) else f"--set {field}=VALUE"
        return f"{field} is missing ({mend})"
    message = message.removeprefix("Value error, ")
    return f"{field}: {message[:1].lower()}{message[1:]}" if field else message
