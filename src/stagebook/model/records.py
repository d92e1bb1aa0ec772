"""What the ledger gives back: rows as they are stored, before anything is computed from them."""

from dataclasses import dataclass

from stagebook.model.status import ExchangeState, StepStatus, Wish

WHOLE = ""
"""The item of a step that is not mapped, and of an output that is not one of many."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be written."""

    pipeline: str
    """Name of the pipeline."""
    definition: bytes
    """The declaration as canonical JSON: stages, reads, schemas; stored once by its hash."""
    source: str
    """Where the pipeline was found, for resume: `file.py:name`, `package.module:name` or an entry point's name."""
    input: bytes
    """The input, canonical JSON."""
    settings: bytes
    """What was typed that changes how the run goes (models, until, lenient, concurrency, budget), JSON object."""
    tags: tuple[str, ...] = ()
    """Labels to find it by."""
    parent: int | None = None
    """Id of the run that it was forked from."""
    forked_at: str | None = None
    """Stage from which the fork runs anew."""
    created_via: str = "api"
    """`cli`, `api` or `http`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as stored."""

    id: int
    run_id: str
    """Readable and unique: `RUN_20260115_181206`, with `_2` and so on for others of the same second."""
    pipeline: str
    definition_hash: bytes
    source: str
    input: bytes
    """JSON."""
    settings: bytes
    """JSON object."""
    tags: tuple[str, ...]
    wish: Wish
    fence: int
    """How many drivers have claimed the run so far; a writer with a lower number is refused."""
    parent: int | None
    forked_at: str | None
    created_at: int
    """Microseconds since 1970, UTC, as all times here."""
    created_via: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step, as stored."""

    id: int
    run: int
    stage: str
    item: str
    """The item's key, or WHOLE."""
    status: StepStatus
    attempts: int
    """How many attempts were begun."""
    failed_attempt: int
    """Number of the last attempt that ended as failed, or 0: answers recorded up to it use up no tries again."""
    fingerprint: bytes | None
    reason: str | None
    """Why it was skipped or failed, one line."""
    warnings: tuple[str, ...]
    reused_from: int | None
    """Step of another run whose output this one took over."""
    started_at: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class OutputRef:
    """A live output (the newest version that was not removed), without its data."""

    id: int
    stage: str
    item: str
    """WHOLE for a stage's one output; for a stage of items, and for a mapped stage, the item's key."""
    step: int
    """Id of the step that wrote its first version; for a yielded item, the step of the streaming stage."""
    version: int
    content_hash: bytes
    size: int
    """Bytes of its JSON."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a step made, as another run may take it over."""

    data: bytes
    """JSON."""
    made_by: str
    """`stage`, `reuse`, `hand` or an author's name."""
    warnings: tuple[str, ...]
    """The step's."""
    origin: int
    """The step whose answer it is: the step itself, or the one that it was taken over from, which may be deleted."""


@dataclass(frozen=True, slots=True)
class RecordedExchange:
    """An exchange of a step, as needed to answer from the ledger."""

    id: int
    request_hash: bytes
    attempt: int
    """The step's attempt that sent it, from 1."""
    occurrence: int
    """The how-manieth sending of this very request within the step, from 0."""
    state: ExchangeState
    http_status: int | None
    response_hash: bytes | None
    """Payload of the response body."""
    response_headers: bytes | None
    """JSON object."""
