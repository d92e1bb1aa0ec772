"""What the ledger asks of its own database besides writing facts: each is one unit with an answer."""

from dataclasses import dataclass

from stagebook.model.records import NewRun


@dataclass(frozen=True, slots=True)
class ReserveWriter:
    """Take a number for this process, the upper bits of the ids that it gives out; answers with it."""

    pid: int
    host: str
    at: int


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Write a new run, with its definition if that is new, under the next free readable id; answers with that id."""

    id: int
    run: NewRun
    at: int
    driver: tuple[int, str] | None = None
    """Process id and host of the one that drives it from its first moment, with fence 1; None if nobody does yet."""


@dataclass(frozen=True, slots=True)
class BeginDrive:
    """Count a run's fence up and record who drives it now; answers with the fence."""

    run: int
    pid: int
    host: str
    at: int


@dataclass(frozen=True, slots=True)
class EndDrive:
    """Record that a drive ended by itself; answers None."""

    run: int
    fence: int
    at: int


@dataclass(frozen=True, slots=True)
class LoseUnanswered:
    """Declare lost what earlier drivers sent and nobody can answer any more; answers with how many are possibly paid.

    Those are all but the calls of a stage's own tools. The same commit tells of them (an event `possibly_paid`), and
    declares interrupted the attempts that they left running.
    """

    run: int
    fence: int
    at: int


Command = ReserveWriter | CreateRun | BeginDrive | EndDrive | LoseUnanswered
