"""A response as every operation gives and takes it, and what became of storing them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _whole(value: Any) -> Any:
    """Round a number of milliseconds or tokens; what is no number is left to the validation."""
    return round(value) if isinstance(value, float) and abs(value) < float("inf") else value


Count = Annotated[int | None, BeforeValidator(_whole)]
"""A whole number; 0 is 0, and None is not known."""


class ResponseMetadata(BaseModel):
    """How long an answer took and what it took, and whatever else is known of it."""

    model_config = ConfigDict(extra="allow")

    duration_ms: Count = None
    """Milliseconds from sending to the whole answer."""
    tokens_used: Count = None
    """Tokens read and written."""


class Response(BaseModel):
    """What became of one prompt: its answer, or why there is none."""

    prompt: str
    """What was asked."""
    response: str | None = None
    """The answer's text; None where there is none."""
    model: str | None = None
    """Who answered, `provider:name`."""
    timestamp: datetime | None = None
    """When the answer was there."""
    success: bool = True
    """Whether there is an answer."""
    error: str | None = None
    """Why there is none."""
    metadata: ResponseMetadata = ResponseMetadata()
    """How long it took, how many tokens, and whatever else is known."""


class Stored(BaseModel):
    """What became of storing results."""

    stored: int = 0
    """Rows that were written, or mended: a row that said that its prompt failed has its answer now."""
    already_stored: int = 0
    """Results that an earlier run or drive had stored, so they were not stored again."""
    failed: int = 0
    """Results that could not be stored; `errors` says why."""
    errors: list[str] = []
    """One sentence each, with chunk, row and prompt."""
    warnings: list[str] = []
    """What had to be changed to be stored, such as characters that no database takes."""
    inserted_ids: list[int | str] = []
    """Ids of the written rows: the table's own, or the record keys where it has none."""


class BatchResult(BaseModel):
    """What became of a batch of prompts."""

    responses: list[Response]
    """One for every prompt, in the order of the prompts."""
    total: int
    """How many there are."""
    successful: int
    """How many have an answer."""
    failed: int
    """How many have none."""
    total_duration_ms: int
    """Milliseconds that all of it took."""
    errors: list[str] = []
    """Why prompts have no answer, and what was replaced in some: with file, index of the prompt in it (from 0, as in
    the metadata), and number of the batch (from 1)."""
    run_id: str
    """The run that it was, for `stagebook show` and `resume`."""
