"""What can be written: each class is one fact; a tuple of facts is one unit, durable as a whole or not at all."""

from typing import NamedTuple

from stagebook.model.status import StepStatus, Wish
from stagebook.model.usage import Charge


class StepStarted(NamedTuple):
    """A step is begun (or begun again): upserts the step by (run, stage, item) as running and adds an attempt row."""

    step: int
    """Id from `new_id()`; for a step that exists already, its id."""
    run: int
    stage: str
    item: str
    fence: int
    """The driver's claim; refused (StaleWriter) if the run was claimed anew since."""
    attempt: int
    """From 1."""
    fingerprint: bytes | None
    reads: bytes
    """JSON object: parameter -> output id, "input" for the run's input, null, a list of ids, or {"stage", "count"}
    for more than 1000."""
    at: int


class StepEnded(NamedTuple):
    """A step's attempt ended; fenced.

    With `final=False` the attempt failed and the step stays running (it is tried again).
    """

    step: int
    run: int
    fence: int
    attempt: int
    status: StepStatus
    at: int
    reason: str | None = None
    error_type: str | None = None
    warnings: tuple[str, ...] = ()
    final: bool = True
    reused_from: int | None = None
    """Step of another run whose output this one took over."""


class StepSkipped(NamedTuple):
    """A step was decided without being begun (what it reads was skipped or failed); upserts, fenced."""

    step: int
    run: int
    stage: str
    item: str
    fence: int
    reason: str
    at: int


class OutputMade(NamedTuple):
    """A stage wrote an output: a new version.

    Unless the live one has the same content hash: then nothing is written, and `id` means nothing.
    """

    id: int
    """From `new_id()`."""
    run: int
    step: int
    stage: str
    item: str
    data: bytes
    """JSON of the validated model; stored uncompressed, NUL replaced by U+FFFD and flagged."""
    content_hash: bytes
    made_by: str
    """`stage`, `reuse`, `hand` or an author's name."""
    at: int
    fence: int | None = None
    """The driver's claim, checked as a step's; None for a hand edit, which needs no claim."""


class OutputRemoved(NamedTuple):
    """An output is no longer live: a version without data, so that history is kept."""

    id: int
    run: int
    step: int
    stage: str
    item: str
    made_by: str
    at: int
    fence: int | None = None
    """As in OutputMade."""


class ExchangeSent(NamedTuple):
    """A request is about to leave; durable before the wire."""

    id: int
    run: int
    step: int | None
    attempt: int
    occurrence: int
    try_number: int
    """From 1; a retry of the same occurrence counts up."""
    kind: str
    provider: str | None
    model: str | None
    method: str
    url: str
    headers: bytes
    """JSON object, secrets as references."""
    request_hash: bytes
    segments: tuple[bytes, ...]
    """The body, cut: parts of 512 bytes or more become payloads of their own, smaller ones stay together in one."""
    prepared_at: int
    sent_at: int


class ExchangeReceived(NamedTuple):
    """The whole answer is here; durable before anyone reads it, with what it cost."""

    id: int
    http_status: int
    headers: bytes
    """JSON object of the answer's headers that matter."""
    body: bytes
    """Exact bytes as they came."""
    charge: Charge | None
    at: int


class ExchangeParsed(NamedTuple):
    """The answer was read: accepted, or complained about."""

    id: int
    complaint: str | None
    at: int


class ExchangeLost(NamedTuple):
    """No whole answer came: possibly paid, unless the connection was refused (`sent=False`)."""

    id: int
    error: str
    sent: bool
    at: int


class PromptSeen(NamedTuple):
    """A template's text, kept by the hash of its content (its version)."""

    content_hash: bytes
    name: str
    text: str
    at: int


class WishSet(NamedTuple):
    """What the owner wants of the run."""

    run: int
    wish: Wish
    at: int


class SettingsChanged(NamedTuple):
    """A run goes on otherwise than it was begun."""

    run: int
    settings: bytes
    """All of them, JSON object."""
    at: int


class Marked(NamedTuple):
    """A mark by an outside driver, or by ours at a phase's first and last step."""

    id: int
    run: int
    name: str
    kind: str
    """`stage_start` or `stage_complete`."""
    error: str | None
    at: int


class Noted(NamedTuple):
    """Something worth telling that is not a step: calls possibly paid, a warning on the run."""

    run: int
    kind: str
    data: bytes
    """JSON object."""
    at: int


Fact = (
    StepStarted
    | StepEnded
    | StepSkipped
    | OutputMade
    | OutputRemoved
    | ExchangeSent
    | ExchangeReceived
    | ExchangeParsed
    | ExchangeLost
    | PromptSeen
    | WishSet
    | SettingsChanged
    | Marked
    | Noted
)
Unit = tuple[Fact, ...]
OF_NO_RUN = (ExchangeReceived, ExchangeParsed, ExchangeLost, PromptSeen)
"""Facts that name no run: an exchange's own was named when it was sent."""
