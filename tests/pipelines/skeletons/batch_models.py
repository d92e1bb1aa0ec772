"""What goes into prompt-batch and what each of its stages writes."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

from stagebook import Key, Text


class RequestOptions(BaseModel):
    """How an endpoint that is no known provider is asked."""

    method: Literal["POST", "PUT"] = "POST"
    headers: dict[str, str] = {}
    body: dict[str, JsonValue] = {}
    timeout: float = Field(default=60, gt=0)


class Batch(BaseModel):
    """Where prompts come from, who is asked, and where answers go."""

    directory: str | None = None
    bucket: str | None = None
    prefix: str = ""
    pattern: str = "*"
    max_prompts: int | None = Field(default=None, ge=1)
    export: Literal["jsonl", "txt"] | None = None
    endpoint: str | None = None
    request: RequestOptions = RequestOptions()
    batch_size: int = Field(default=100, ge=1)
    max_concurrency: int = Field(default=16, ge=1)
    table: str | None = None
    """Address of a database and a table in it."""
    experiment_name: str | None = None
    tags: list[str] = []
    references: dict[str, str] = {}
    """Right answers, by prompt."""
    webhook: str | None = None


class ArchiveFile(BaseModel):
    """A file with conversations."""

    path: Annotated[str, Key]
    size: int


class ExtractedPrompt(BaseModel):
    """A prompt that somebody once wrote."""

    digest: Annotated[str, Key]
    """Hash of the text."""
    text: Text
    position: int
    """Its place in the file."""


class FileReport(BaseModel):
    """What one file gave."""

    path: str
    prompts: int
    successful: int
    errors: list[str] = []


class Extraction(BaseModel):
    """What all files gave."""

    total: int
    files_processed: int
    errors: list[str] = []


class ResponseMetadata(BaseModel):
    """How long and how much."""

    duration_ms: int
    tokens_used: int | None = None


class Response(BaseModel):
    """An answer to a prompt."""

    prompt: str
    response: str | None
    model: str
    timestamp: str
    success: bool
    error: str | None = None
    metadata: ResponseMetadata


class Stored(BaseModel):
    """What was written into somebody's table."""

    stored: int
    failed: int
    errors: list[str] = []
    inserted_ids: list[str] = []


class Evaluation(BaseModel):
    """Metrics of the experiment."""

    metrics: dict[str, float]
    count: int


class Summary(BaseModel):
    """Everything, in one."""

    total: int
    successful: int
    failed: int
    total_duration_ms: int
    errors: list[str] = []


class Notified(BaseModel):
    """The webhook's answer."""

    status: int
