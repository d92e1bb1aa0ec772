"""One trial: a run is killed, resumed and killed again until it is completed, and held against the provider's bill."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from stagebook.testing.crash_audit import Audit, Flight, audit, flight
from stagebook.testing.crash_client import Errand, Side
from stagebook.testing.crash_clients import KILLED, Nursery, Started, stagebook
from stagebook.testing.crash_look import Look, look
from stagebook.testing.crash_places import Place, is_driven, place_in
from stagebook.testing.provider_bill import Bill
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Script

MOST_DRIVES: Final = 60
"""A trial that is not completed by then never will be."""
_SETTLING: Final = 0.002
_GLANCE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Blow:
    """When a drive is killed."""

    after: float | None = None
    """Seconds, from outside: after the client's start, or after it took the run."""
    driving: bool = False
    """Whether `after` counts from the moment in which the run is taken: what comes before is the same for every run."""
    commit: tuple[int, Side] | None = None
    """Beside one of its commits, by its own hand."""

    def __str__(self) -> str:
        if self.commit is not None:
            return f"{self.commit[1]} commit {self.commit[0]}"
        moment = f"{self.after or 0:.4f} s after {'it took the run' if self.driving else 'its start'}"
        return "never" if self.after is None else moment


UNHURT: Final = Blow()
"""Left to end by itself."""


class TrialFailed(Exception):
    """A trial could not be brought to its end: a client failed, was refused, or is stuck."""


@dataclass(slots=True)
class Outcome:
    """What a trial showed."""

    blows: list[str] = field(default_factory=list)
    """When it was killed, in order; those that came too late are left out."""
    flights: list[Flight] = field(default_factory=list)
    """What each kill left open."""
    told: int = 0
    """Calls that its resumes reported as possibly paid."""
    audit: Audit | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What is run in every trial."""

    errand: Errand
    """Its ledger and address are put in for each trial."""
    script: Script
    """What the provider answers and does wrong; its counts start anew with each trial."""
    expected: Look = field(default_factory=Look)
    """The ledger of the undisturbed run."""
    most_at_once: int = 16
    """Calls that can be under way at the same time."""
    server: str | None = None
    """Address of the PostgreSQL server that holds the ledgers of the trials; None for files."""


Begin = Callable[[Errand, Path, Look], Started]
"""Starts a client, given where its output goes and what its ledger holds."""
Beginner = Callable[[], AbstractContextManager[Begin]]
"""Makes what starts the clients of one worker, one after the other."""


@contextmanager
def forked() -> Iterator[Begin]:
    """Start clients in forked processes: quick, so that there can be many."""
    with Nursery() as nursery:
        yield lambda errand, log, _: nursery.start(errand, log)


@contextmanager
def commanded() -> Iterator[Begin]:
    """Start the real command: `run` if the ledger holds no run yet, else `resume`."""
    yield lambda errand, log, held: stagebook(errand, log, held.run_id)


def try_out(case: Case, provider: ProviderProcess, folder: Path, blows: Iterable[Blow], begin: Begin) -> Outcome:
    """Run a case, killing each drive as told, and resume it until it is completed.

    Args:
        case: What is run.
        provider: Serves this trial alone.
        folder: Empty; holds the ledger and what the clients wrote.
        blows: When each drive is killed; once they are used up, drives are left to end.
        begin: Starts each client.

    Raises:
        TrialFailed: A drive ended otherwise than by its kill or as completed.
    """
    provider.use(case.script)
    provider.reset()
    errand = replace(case.errand, ledger=place_in(folder, case.server), base_url=provider.base_url)
    errand = replace(errand, input=errand.input.replace(b"SERVER", provider.url.encode()))
    log = folder / "client.log"
    outcome, looks, seen = Outcome(), [Look()], 0
    known: dict[bytes, str] = {}
    coming = iter(blows)
    for _ in range(MOST_DRIVES):
        blow = next(coming, UNHURT)
        client = begin(replace(errand, kill_at=blow.commit), log, looks[-1])
        code = strike(client, blow, errand.ledger)
        bill = settled(provider)
        if code not in {KILLED, 0}:
            state = "is stuck" if code is None else f"ended with {code}"
            client.kill()
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise TrialFailed(f"a client that was to be killed {blow} {state}, after {outcome.blows}: {said}")
        looks.append(look(errand.ledger, None if code == 0 else known))
        if code == KILLED:
            outcome.blows.append(str(blow))
            outcome.flights.append(flight(looks[-2], looks[-1], bill.entries[seen:]))
            seen = len(bill.entries)
            continue
        outcome.told = looks[-1].told
        outcome.audit = audit(bill.entries, looks[1:], case.expected)
        return outcome
    raise TrialFailed(f"not completed after {MOST_DRIVES} drives: {outcome.blows}")


def strike(client: Started, blow: Blow, ledger: Place) -> int | None:
    """Wait for a client's end, and see to it.

    Args:
        client: Just started.
        blow: When it is to be killed.
        ledger: Its ledger.

    Returns:
        Its exit code; None if it is stuck.
    """
    if blow.after is not None:
        while blow.driving and not is_driven(ledger):
            if (code := client.wait(_GLANCE)) is not None:
                return code
        if (code := client.wait(blow.after)) is not None:
            return code
        client.kill()
    return client.wait()


def settled(provider: ProviderProcess) -> Bill:
    """Read the bill once the provider has noticed everything that the dead client sent it."""
    last = -1
    while True:
        bill = provider.bill()
        if not bill.in_flight() and len(bill.entries) == last:
            return bill
        last = len(bill.entries)
        time.sleep(_SETTLING)


def reference(case: Case, provider: ProviderProcess, folder: Path, beginner: Beginner = forked) -> tuple[Case, float]:
    """Run a case undisturbed: no faults, no kills.

    Returns:
        The case with what to expect, and how many seconds it is driven with its faults.
    """
    calm = case.script.model_copy(
        update={"faults": (), "rules": tuple(rule.model_copy(update={"faults": ()}) for rule in case.script.rules)}
    )
    undisturbed, again = folder / "undisturbed", folder / "with-faults"
    with beginner() as begin:
        undisturbed.mkdir()
        try_out(replace(case, script=calm), provider, undisturbed, (), begin)
        case = replace(case, expected=look(place_in(undisturbed, case.server)))
        again.mkdir()
        outcome = try_out(case, provider, again, (), begin)
        seconds = look(place_in(again, case.server)).driven
    if outcome.audit is None or outcome.audit.items_lost:
        raise TrialFailed("two undisturbed runs of the case differ: its outputs do not follow from its requests alone")
    return case, seconds


def random_blows(draw: random.Random, seconds: float, *, again: float, starting: float) -> Iterable[Blow]:
    """Kill the first drive at a random moment, and each resume with a probability.

    Args:
        draw: Where chance comes from.
        seconds: A drive takes about so long; moments are drawn evenly over it.
        again: Probability that a resume is killed too.
        starting: Share of the moments that count from the process's start, so that some fall before the run is taken.
    """
    while True:
        yield Blow(after=draw.uniform(0.0, seconds), driving=draw.random() >= starting)
        if draw.random() >= again:
            return
