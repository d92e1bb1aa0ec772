"""What the fake provider can be told to do wrong, and when.

Faults are pydantic models, so that a script can be written in Python or read from JSON (`{"kind": "cut", "times": 2}`).
A `Delay` is added to whatever else happens; of the others at most one strikes a request.
"""

import hashlib
from email.utils import formatdate
from math import ceil
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Counted = Literal["rule", "conversation", "body"]
"""What is counted together: all requests of a rule, the turns about one prompt, or requests of the same bytes."""


def fraction(*parts: object) -> float:
    """Draw a number in [0, 1) that depends on nothing but the parts, so that order and timing change no outcome."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class Fault(BaseModel):
    """When a fault strikes; all the conditions given must hold.

    A fault stands in a rule and sees the requests that the rule matches, or in the script and sees all requests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: int | None = Field(default=None, ge=1)
    """Most strikes; then requests pass. None: no end."""
    nth: tuple[int, ...] | None = None
    """Only these requests, counted from 1 among those it sees."""
    probability: float = Field(default=1.0, ge=0, le=1)
    """Share of the requests that it strikes. Which ones depends on the seed, the body and how often that body came,
    not on the order of arrival."""
    counted: Counted = "rule"
    """What `times` and `nth` count: with `body`, `times=1` fails every distinct request once."""


class Delay(Fault):
    """Hold the answer back. It is charged on arrival, so that a client which stops waiting has paid for nothing.

    A job is at work for so long.
    """

    kind: Literal["delay"] = "delay"
    """Names the fault in JSON and in the bill."""
    seconds: float = Field(ge=0)
    """How long."""
    up_to: float | None = None
    """If given, the time is drawn evenly between `seconds` and this."""


class ErrorStatus(Fault):
    """Answer with an HTTP error; nothing is charged."""

    kind: Literal["status"] = "status"
    """Names the fault in JSON and in the bill."""
    status: int = Field(ge=400, le=599)
    """HTTP status; 400, 401, 404, 413, 429 and the 5xx have the texts that OpenAI gives them."""
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds after which the client may come back; None: the answer does not say."""
    retry_after_form: Literal["seconds", "date", "milliseconds"] = "seconds"
    """`Retry-After` in seconds, `Retry-After` as an HTTP date (whole seconds, rounded up), or `retry-after-ms`."""
    message: str | None = None
    """The text of the error, in place of the usual one."""
    code: str | None = None
    """The code of the error, in place of the usual one (`context_length_exceeded`, `insufficient_quota`, ...)."""
    echo_headers: bool = False
    """Repeat the request's headers, `Authorization` too, in the text of the error: a canary for leaked secrets."""

    def headers(self, now: float) -> dict[str, str]:
        """The header that tells when to come back, at a moment in Unix seconds."""
        if self.retry_after is None:
            return {}
        if self.retry_after_form == "date":
            return {"Retry-After": formatdate(ceil(now + self.retry_after), usegmt=True)}
        if self.retry_after_form == "milliseconds":
            return {"retry-after-ms": str(ceil(self.retry_after * 1000))}
        return {"Retry-After": f"{self.retry_after:g}"}


class Cut(Fault):
    """Close the connection before a byte of the answer is written."""

    kind: Literal["cut"] = "cut"
    """Names the fault in JSON and in the bill."""
    charged: bool = False
    """Whether the answer had been made, and is charged."""


class HalfBody(Fault):
    """Send the headers and half of the body that they promise, then close the connection; charged."""

    kind: Literal["half_body"] = "half_body"
    """Names the fault in JSON and in the bill."""


class MalformedJson(Fault):
    """Answer 200 with a body that ends in the middle of its JSON, and a Content-Length that fits it; charged."""

    kind: Literal["malformed_json"] = "malformed_json"
    """Names the fault in JSON and in the bill."""


class WrongSchema(Fault):
    """Answer with valid JSON of another shape than asked for; charged."""

    kind: Literal["wrong_schema"] = "wrong_schema"
    """Names the fault in JSON and in the bill."""


class Refusal(Fault):
    """Answer with `message.refusal` and no content; charged."""

    kind: Literal["refusal"] = "refusal"
    """Names the fault in JSON and in the bill."""
    text: str = "I'm sorry, I can't help with that."
    """What the model says."""


class EmptyChoices(Fault):
    """Answer 200 with an empty list of choices; the input is charged."""

    kind: Literal["empty_choices"] = "empty_choices"
    """Names the fault in JSON and in the bill."""


class Truncated(Fault):
    """Answer with half of the content and the finish reason `length`; charged."""

    kind: Literal["length"] = "length"
    """Names the fault in JSON and in the bill."""


class JobFails(Fault):
    """End with the status `failed` instead of an answer, a job too; nothing is charged. Only responses have it."""

    kind: Literal["job_fails"] = "job_fails"
    """Names the fault in JSON and in the bill."""


class Drip(Fault):
    """Send the body slowly, a piece at a time; charged."""

    kind: Literal["drip"] = "drip"
    """Names the fault in JSON and in the bill."""
    seconds: float = Field(ge=0)
    """Time from the first piece to the last."""
    pieces: int = Field(default=20, ge=2)
    """How many pieces."""


class BatchFaults(BaseModel):
    """How batches go; numbers count from 1, over all batches. A fault of a request strikes it within a batch as well.

    An `ErrorStatus` becomes an errored line, and a `Cut` a line that is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=0.0, ge=0)
    """How long a batch takes; its requests are answered, and charged, evenly over this time."""
    expire: tuple[int, ...] = ()
    """Batches that expire before they came to all of their requests."""
    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the requests that those come to."""
    cut_creations: tuple[int, ...] = ()
    """Batches that are made, and whose creation is not answered: the connection is cut."""
    late_by: float = Field(default=0.0, ge=0)
    """Seconds after which those are made, and listed: what was sent had not arrived yet."""
    busy_creations: tuple[int, ...] = ()
    """Creations that are answered 429; nothing is made."""
    busy_uploads: tuple[int, ...] = ()
    """Uploads, counted for themselves, that are answered 429."""
    full: tuple[int, ...] = ()
    """Batches that fail since too many tokens are waiting (OpenAI's `token_limit_exceeded`)."""


AnyFault = Annotated[
    Delay
    | ErrorStatus
    | Cut
    | HalfBody
    | MalformedJson
    | WrongSchema
    | Refusal
    | EmptyChoices
    | Truncated
    | JobFails
    | Drip,
    Field(discriminator="kind"),
]
"""Any of the faults, told apart by `kind`."""
