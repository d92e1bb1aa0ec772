"""What goes into prompt-batch and what each of its stages writes."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from stagebook import Call, Text
from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile
from stagebook_pipelines.prompt_batch.evaluation.measures import Measures
from stagebook_pipelines.prompt_batch.evaluation.models import Experiment
from stagebook_pipelines.prompt_batch.storing.address import TABLE, refuse_password
from stagebook_pipelines.prompt_batch.webhook import refuse_address
from stagebook_pipelines.prompt_batch.whole_text import whole

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")


def _listed(value: Any) -> Any:
    """Read `a, b` as a list of two."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    """Take a path where text is wanted."""
    return str(value) if isinstance(value, Path) else value


def _absolute(value: str) -> str:
    """Write a file's name so that it is found again from another folder; what is no file stays as it is."""
    return value if not value or "://" in value or value.startswith("env:") else str(Path(value).absolute())


Place = Annotated[str, BeforeValidator(_as_text)]
"""A file, a folder, or an address."""
Names = Annotated[list[str], BeforeValidator(_listed)]
"""A list, which may be typed as `a,b`."""


class Batch(Measures):
    """Where prompts come from, and where their answers go; further fields say what they are measured by."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address that is refused may hold a password

    source: Place | None = None
    """Where the archives are: a folder, a file, or `s3://bucket/prefix`."""
    prompts: list[str] | None = None
    """The prompts themselves, instead of archives."""
    prompts_file: Place | None = None
    """A file of prompts as the operations of the library lay them down: JSON lines, each an extracted prompt."""
    pattern: str = "*"
    """Which files of the source, as a shell pattern such as `*.json`."""
    column: str | None = None
    """The field or column that holds the prompt, where it is none that is known."""
    max_prompts: int | None = Field(default=None, ge=1)
    """How many prompts at most; files beyond them are not opened."""
    unique: bool = False
    """Leave out prompts whose text stood before, in whatever file."""
    export: Literal["jsonl", "txt"] | None = None
    """Write the prompts to a file as well, in this form."""
    export_path: Place | None = None
    """That file; without it `prompts.jsonl` or `prompts.txt` in the current folder."""
    system: str | None = None
    """What the model is told before every prompt."""
    store: Place | None = None
    """Where results go: `env:NAME` for a variable with the address, `postgresql://...`, or a file that ends in .db,
    .jsonl or .parquet. Without it they stay in the ledger."""
    table: str = TABLE
    """The table in that database, `table` or `schema.table`; it is made where there is none."""
    experiment_name: str | None = None
    """The experiment that the results belong to."""
    tags: Names = Field(default_factory=list)
    """Labels of the results."""
    references: Place | None = None
    """A file of right answers, JSON lines with `prompt` and `reference`; those that archives hold count as well."""
    metrics: Annotated[list[str] | None, BeforeValidator(_listed)] = None
    """Names of metrics, such as `exact_match,numeric`; by default all that what is there allows."""
    webhook: str | None = None
    """Address that is told when all is done, by a signed POST of the summary; may be `env:NAME`."""
    webhook_secret: str | None = None
    """`env:NAME` of the secret that signs it (Standard Webhooks: `whsec_` and base64, or any text)."""

    @field_validator("prompts")
    @classmethod
    def _whole_characters(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else [whole(text) for text in value]

    @field_validator("source", "prompts_file", "references", "store", "export_path")
    @classmethod
    def _found_from_anywhere(cls, value: str | None) -> str | None:
        return None if value is None else _absolute(value)

    @field_validator("store")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        if value is not None:
            refuse_password(value)
        return value

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            refuse_address(value)
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _is_reference(cls, value: str | None) -> str | None:
        if value is not None and not _REFERENCE.fullmatch(value):
            raise ValueError("is no reference; put the secret into an environment variable and write env:NAME")
        return value

    @model_validator(mode="after")
    def _can_begin(self) -> Self:
        if [self.source, self.prompts, self.prompts_file].count(None) != 2:  # noqa: PLR2004  one of the three
            raise ValueError("name the archives (source=FOLDER), or give prompts; one of the two")
        if self.webhook is not None and self.webhook_secret is None:
            raise ValueError("a webhook is signed; name its secret: webhook_secret=env:NAME")
        return self


class Preparation(BaseModel):
    """What was seen to before anything is paid for: places can be written to, files can be read, names are known."""

    system: str = ""
    """What the model is told before every prompt; empty for nothing."""


class BatchFile(ArchiveFile):
    """A file of the source, and which of its prompts are wanted."""

    take: int | None = None
    """Its first prompts, so many; null for all."""
    repeats: list[int] = Field(default_factory=list)
    """Places of prompts that are left out, from 0: their text stood before."""


class Answer(BaseModel):
    """What the model answered to one prompt."""

    text: Text
    """The answer."""
    call: Call = Call()
    """How it was asked for, and what it took."""


class Exported(BaseModel):
    """A file of prompts that was written."""

    path: str
    """The file."""
    prompts: int
    """How many prompts it holds."""


class Summary(BaseModel):
    """Everything, in one."""

    total: int
    """Prompts."""
    successful: int
    """Prompts with an answer."""
    failed: int
    """Prompts without one."""
    files_processed: int
    """Files that were read."""
    total_duration_ms: int
    """Milliseconds from the first request to the last answer, of those answers that are there."""
    input_tokens: int
    """Tokens read, as far as providers told."""
    output_tokens: int
    """Tokens written, as far as providers told."""
    cost_usd: str | None
    """What the answers cost, an exact decimal number of US dollars; null where no price is known."""
    stored: int | None = None
    """Results that were stored; null where they go nowhere."""
    already_stored: int | None = None
    """Results that had a row with an answer before: the same was asked of the same model for the same experiment."""
    evaluation: Experiment | None = None
    """What the answers are worth; null where nothing was measured."""
    errors: list[str] = []
    """What went wrong, with file, prompt or chunk; at most 1,000, and then how many more."""
    finished_at: datetime
    """When all of it was done, UTC."""


class Notified(BaseModel):
    """What the webhook's receiver said."""

    id: str
    """The message's id; a receiver that was told twice sees the same."""
    status: int
    """HTTP status."""
