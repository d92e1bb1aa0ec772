"""What an SDK's request is: told by whoever knows the providers' formats, which the door does not."""

from collections.abc import Callable
from dataclasses import dataclass

from stagebook.door.door import Meter


@dataclass(frozen=True, slots=True)
class Recognised:
    """A request that asks a model."""

    provider: str
    """Whose limits and prices count."""
    model: str | None
    """The model that it asks for."""
    meter: Meter
    """Reads what its answer cost."""


Recognise = Callable[[str, bytes], Recognised | None]
"""Looks at the address and the body of a request; None for one that asks no model."""


def unrecognised(url: str, body: bytes) -> Recognised | None:  # noqa: ARG001  a Recognise's shape
    """Take every request for one that asks no model: it is recorded, and costs nothing that is known."""
    return None
