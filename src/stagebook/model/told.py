"""What a run tells its own stages: what a call used, and what became of steps."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from stagebook.model.status import StepStatus


class Call(BaseModel):
    """The model call that an answer came from.

    A prompt's output may have one field of this type, `call: Call = Call()`: nobody asks the model for it, and it is
    filled in from what was recorded. An answer that took several turns tells of its last one.
    """

    model_config = ConfigDict(frozen=True)

    model: str = ""
    """The model that answered, as its provider names it; else as it was asked for."""
    asked: str = ""
    """The model that the stage asks, `provider:name`, as it was chosen for the run; the same for all of its steps."""
    asked_how: str = ""
    """Where an endpoint of one's own is asked: a hash of its address, method, headers, body and place of the answer, as
    they are declared, so that two endpoints of one name are told apart. Empty for a provider."""
    input_tokens: int | None = None
    """Tokens read, cached ones included; None where the provider did not tell."""
    output_tokens: int | None = None
    """Tokens written, reasoning included; None where the provider did not tell."""
    cost_usd: str | None = None
    """What the answer cost, an exact decimal number of US dollars; None where no price is known."""
    duration_ms: int | None = None
    """Milliseconds from sending to the whole answer, waits for a turn not included."""
    finished_at: datetime | None = None
    """When the answer had come, UTC."""
    finish_reason: str | None = None
    """Why the model stopped, in the provider's word."""
    reused: bool = False
    """Whether the answer was taken over from another run, and nobody was asked in this one."""


class Outcome(BaseModel):
    """What became of a step that did not simply complete: it failed, was skipped, or completed with warnings.

    Read as `Annotated[list[Outcome], From("stage", ...)]`.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    """Name of its stage."""
    item: str
    """Its item; empty for a stage's only step."""
    status: StepStatus
    """`completed`, `failed` or `skipped`."""
    reason: str | None = None
    """Why it failed or was skipped."""
    warnings: tuple[str, ...] = ()
    """What its checks, or its function, warned of."""
    asked: str | None = None
    """The model that its stage asks, as in `Call`; None where it asks none."""
    asked_how: str = ""
    """How it is asked, as in `Call`."""
    ended_at: datetime | None = None
    """When it ended, UTC."""
    duration_ms: int | None = None
    """Milliseconds of its last attempt, waits for a turn included; None where it was not begun."""
