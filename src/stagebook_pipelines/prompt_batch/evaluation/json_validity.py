"""Whether an answer is JSON that a schema allows."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from stagebook_pipelines.prompt_batch.evaluation.metric import Sample, Scored

_FENCE = re.compile(r"```[ \t]*+(?:json[c5]?[ \t]*+)?+\n", re.IGNORECASE)
_MOST_SAID: Final = 200
"""Characters of a reason that are kept: an answer stands in it, and may be long."""


def json_schema(schema: Mapping[str, Any] | bool) -> Callable[[Sample], Scored]:  # noqa: FBT001  `true` is a schema
    """Make a scorer: 1 for an answer that is JSON and valid by a schema (draft 2020-12), 0 with the reason for another.

    The answer may stand in a fence (three backticks, with or without `json`); text around one is passed over. Formats
    are not checked, as the draft leaves them; nothing is fetched for a `$ref`.

    Args:
        schema: The schema.

    Raises:
        ValueError: It is none.
    """
    import jsonschema_rs  # noqa: PLC0415  an extra; 0.1 s to import

    try:
        validator = jsonschema_rs.Draft202012Validator(
            schema if isinstance(schema, bool) else dict(schema), offline=True, validate_formats=False
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
        raise ValueError(f"the JSON schema of the metric json_schema is none: {_first_line(error)}") from error

    def score(sample: Sample) -> Scored:
        try:
            found = _read(sample.answer)
        except orjson.JSONDecodeError as error:
            return Scored(0.0, f"no JSON: {error}"[:_MOST_SAID])
        wrong = next(validator.iter_errors(found), None)
        if wrong is None:
            return Scored(1.0)
        place = "/".join(str(part) for part in wrong.instance_path)
        return Scored(0.0, f"{place or 'the whole'}: {wrong.message}"[:_MOST_SAID])

    return score


def unfenced(answer: str) -> str:
    """Take the text out of the first fence, where there is one."""
    opened = _FENCE.search(answer)
    if opened is None:
        return answer
    end = answer.find("```", opened.end())
    return answer[opened.end() : end if end >= 0 else len(answer)]


def _read(answer: str) -> Any:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError:
        return orjson.loads(unfenced(answer))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:_MOST_SAID]
