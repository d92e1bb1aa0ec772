"""From an answer's text to a validated model, and to the JSON that is kept."""

import math
import re
from functools import cache
from typing import Any

import json_repair
import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, SchemaValidator

from stagebook.model.errors import Complaint

MOST_PROBLEMS = 8
"""Problems told to the model at once: more does not help it."""

MOST_BLANKS = 50
"""Rounds of filling in what a lenient answer lacks."""

BLANKS = {
    "list_type": "[]",
    "tuple_type": "[]",
    "set_type": "[]",
    "dict_type": "{}",
    "model_type": "{}",
    "model_attributes_type": "{}",
    "int_parsing": "0",
    "float_parsing": "0",
    "bool_parsing": "false",
    "none_required": "null",
}
"""What pydantic complains about when an empty string stands there -> the blank that is right instead."""

CONSTRAINTS = frozenset(
    {"min_length", "max_length", "ge", "gt", "le", "lt", "multiple_of", "pattern", "max_digits", "decimal_places"}
)
"""What lenient validation lets go: sizes and ranges, not types or names."""

FENCED = re.compile(r"\A\s*```[a-zA-Z]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


def unfenced(text: str) -> str:
    """Take an answer out of the one code fence that surrounds all of it."""
    match = FENCED.match(text)
    return match[1] if match else text


def read_json(model: type[BaseModel], text: str) -> BaseModel:
    """Validate an answer that is to be JSON; repairs what is no JSON (a fence, a missing bracket) before it complains.

    Raises:
        Complaint: It is not valid; the text lists the problems for the model.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error
    if all(problem["type"] == "json_invalid" for problem in first.errors(include_url=False, include_input=False)):
        document = repaired(text)
        if document is None:
            raise Complaint("The answer is not JSON. Answer with the JSON object only.") from first
        try:
            return model.model_validate_json(orjson.dumps(document))
        except ValidationError as error:
            first = error
    raise Complaint(problems(first)) from first


def repaired(text: str) -> dict[str, Any] | None:
    """Mend broken JSON; None where there is no object in it."""
    document = json_repair.loads(unfenced(text))
    return document if isinstance(document, dict) and document else None


def read_text(model: type[BaseModel], field: str, text: str) -> BaseModel:
    """Put a plain answer into the one field that the model writes.

    Raises:
        Complaint: It is empty, or the model refuses it.
    """
    body = unfenced(text).strip()
    if not body:
        raise Complaint("The answer is empty.")
    try:
        return model.model_validate({field: body})
    except ValidationError as error:
        raise Complaint(problems(error)) from error


def problems(error: ValidationError) -> str:
    """Say what is wrong with an answer, for the model that wrote it."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"- {'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in found[:MOST_PROBLEMS]]
    if len(found) > MOST_PROBLEMS:
        lines.append(f"- and {len(found) - MOST_PROBLEMS} more")
    return "\n".join(lines)


def kept(value: BaseModel) -> bytes:
    """Write a model as the JSON that is kept, computed fields included.

    Raises:
        Complaint: It holds NaN or an infinite number, which JSON has not.
    """
    if _holds_floats(type(value)) and not _finite(value.model_dump()):
        raise Complaint("A number is NaN or infinite; use null or a finite number.")
    return value.__pydantic_serializer__.to_json(value)


@cache
def _holds_floats(model: type[BaseModel]) -> bool:
    """Whether NaN can stand anywhere in a model: where its schema names a float, or leaves the type open."""
    named = re.compile(r"'type': '(float|any|function-plain|custom-error|is-instance|call)'")
    return bool(named.search(repr(model.__pydantic_core_schema__)))


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_finite, value))
    return True


def relaxed(model: type[BaseModel]) -> SchemaValidator:
    """Make a validator of the same model that lets sizes and ranges go; it makes instances of that very class."""
    # without `_use_prebuilt=False` the classes' own validators, constraints and all, would be put in again
    return SchemaValidator(_without_constraints(model.__pydantic_core_schema__), _use_prebuilt=False)


def relaxed_value(model: type[BaseModel], text_field: str | None, text: str) -> BaseModel:
    """Read an answer with fewer demands: JSON is repaired, sizes and ranges are let go, what is missing is left blank.

    Raises:
        Complaint: Even so it is not of that shape.
    """
    document: dict[str, Any] | None = {text_field: unfenced(text).strip()} if text_field else repaired(text)
    if document is None or (text_field and not document[text_field]):
        raise Complaint("there is nothing in the answer that could be kept")
    validator = relaxed(model)
    for _ in range(MOST_BLANKS):
        try:
            value: BaseModel = validator.validate_json(orjson.dumps(document))
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)
            if not any(_blanked(document, problem) for problem in wrong):
                raise Complaint(problems(error)) from error
        else:
            return value
    raise Complaint("too much of the answer is missing")


def _blanked(document: Any, problem: ErrorDetails) -> bool:
    """Put a blank where something is missing; what kind of blank shows when the next validation complains about it.

    Returns:
        Whether the document was changed.
    """
    *path, last = problem["loc"] or ("",)
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return False
    if problem["type"] == "missing" and isinstance(document, dict):
        document[last] = ""
        return True
    blank = BLANKS.get(problem["type"])
    if blank is None or not isinstance(document, dict) or document.get(last) != "":
        return False
    document[last] = orjson.loads(blank)
    return True


def _without_constraints(node: Any) -> Any:
    if isinstance(node, dict):
        if node.get("type") == "function-after":
            return _without_constraints(node["schema"])
        return {
            key: value if key in {"cls", "metadata", "serialization", "function"} else _without_constraints(value)
            for key, value in node.items()
            if not (key in CONSTRAINTS and not isinstance(value, dict))
        }
    if isinstance(node, list):
        return [_without_constraints(part) for part in node]
    return node


def read_kept(model: type[BaseModel], data: bytes) -> BaseModel:
    """Read back an output: strictly, or without sizes and ranges for one that was accepted leniently.

    Raises:
        ValidationError: The data is not of that model's shape.
    """
    try:
        return read_whole(model, data)
    except ValidationError as error:
        try:
            value: BaseModel = relaxed(model).validate_json(data, extra="ignore")
        except ValidationError:
            raise error from None
        return value


def read_whole(model: type[BaseModel], data: bytes) -> BaseModel:
    """Read back an output, strictly.

    Computed fields are kept, too, and a model that forbids what it does not name would refuse its own.

    Raises:
        ValidationError: The data is not what the model demands.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        try:
            return model.model_validate_json(data, extra="ignore")
        except ValidationError:
            raise error from None
