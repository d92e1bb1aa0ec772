"""Holds a ledger against the provider's bill: pure. What one kill left open, and what a finished run was paid for."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stagebook.model.status import ExchangeState, StepStatus
from stagebook.testing.crash_look import Call, Look
from stagebook.testing.provider_bill import BillEntry

MODEL = "model"
"""The kind of exchange that is on the bill."""


@dataclass(frozen=True, slots=True)
class Flight:
    """What one drive had in the air when it ended; every count is of calls to a model."""

    open: int
    """In the ledger as sent, without an answer: what a resume must report as possibly paid."""
    in_flight: int
    """Of these: at the provider, and either not fully answered or answered without the answer being durable."""
    stowaways: int
    """At the provider, and not in the ledger: sent before that was durable. Must be none."""
    open_others: int
    """Exchanges of other kinds that were open (pages, webhooks)."""

    @property
    def never_left(self) -> int:
        """Durable as sent, and killed before the wire; nobody but the bill can know, so they are reported too."""
        return self.open - self.in_flight


def flight(before: Look, after: Look, arrived: Iterable[BillEntry]) -> Flight:
    """Count what was open when a drive ended.

    Args:
        before: The ledger when the drive began.
        after: The ledger when it had ended.
        arrived: What the provider saw in between.
    """
    old = {call.id for call in before.calls}
    fresh = [call for call in after.calls if call.id not in old]
    calls = [call for call in fresh if call.kind == MODEL]
    open_ = Counter(call.sha256 for call in calls if call.state is ExchangeState.SENT)
    closed = Counter(call.sha256 for call in calls if call.state not in {ExchangeState.SENT, ExchangeState.UNSENT})
    arrivals = Counter(entry.sha256 for entry in arrived)
    unaccounted = {body: max(0, count - closed[body]) for body, count in arrivals.items()}
    return Flight(
        open=open_.total(),
        in_flight=sum(min(count, open_[body]) for body, count in unaccounted.items()),
        stowaways=sum(max(0, count - open_[body]) for body, count in unaccounted.items()),
        open_others=sum(call.state is ExchangeState.SENT for call in fresh if call.kind != MODEL),
    )


@dataclass(frozen=True, slots=True)
class Audit:
    """A completed run, held against the bill and against the same run undisturbed."""

    calls: int
    """On the bill, charged."""
    paid_twice: int
    """Charged beyond one answer for each sample and the calls that the ledger reports as lost, body by body."""
    sent_again: int
    """Exchanges of a step that had a durable answer to this very request and occurrence already."""
    forgotten: int
    """Answers that were durable at a kill and are not in the ledger any more, or are others now."""
    begun_again: int
    """Steps that were completed at a kill and were begun again after it."""
    items_lost: int
    """Outputs (stage and item) that are missing, are too many, or differ from those of the undisturbed run."""
    answers_missing: int
    """Answers that the undisturbed run asked for and this one did not: a sample taken for another, a call left out."""
    bill: int
    """Picodollars that the provider charged."""
    recorded: int
    """Picodollars that the ledger says its answers cost."""
    lost: int
    """Picodollars charged for calls whose answer never came whole: the ledger holds each as lost."""
    unreadable: int
    """Picodollars charged for answers that the ledger holds, but whose body does not say what they cost."""
    unfinished: tuple[str, ...]
    """What a completed run must not leave: steps that are not done, attempts that are open, damage."""

    @property
    def difference(self) -> int:
        """Picodollars on the bill that the ledger cannot explain; 0 when the totals agree."""
        return self.bill - self.recorded - self.lost - self.unreadable


def audit(bill: Sequence[BillEntry], looks: Sequence[Look], expected: Look) -> Audit:
    """Hold a completed run against the bill.

    Args:
        bill: Everything that arrived at the provider for this run.
        looks: The ledger after every drive; the last is the completed run.
        expected: The ledger of the same run undisturbed.
    """
    last = looks[-1]
    calls = [call for call in last.calls if call.kind == MODEL]
    charged: dict[str, list[BillEntry]] = defaultdict(list)
    for entry in bill:
        if entry.charged:
            charged[entry.sha256].append(entry)
    places = {call.place for call in calls if call.answered}
    answered = Counter(sha256 for _, _, sha256, _ in places)
    lost = Counter(call.sha256 for call in calls if call.state is ExchangeState.LOST)
    paid_twice = sum(max(0, len(found) - answered[body] - lost[body]) for body, found in charged.items())
    price = {body: found[0].cost for body, found in charged.items()}
    lost_cost = sum(
        price[body] * min(lost[body], max(0, len(found) - answered[body])) for body, found in charged.items()
    )
    return Audit(
        calls=sum(len(found) for found in charged.values()),
        paid_twice=paid_twice,
        sent_again=_sent_again(last.calls),
        forgotten=sum(_forgotten(look, last) for look in looks[:-1]),
        begun_again=sum(_begun_again(look, last) for look in looks[:-1]),
        items_lost=sum(
            last.outputs.get(key) != expected.outputs.get(key) for key in {*last.outputs, *expected.outputs}
        ),
        answers_missing=len({call.place for call in expected.calls if call.answered and call.kind == MODEL} - places),
        bill=sum(entry.cost for found in charged.values() for entry in found),
        recorded=sum(call.cost or 0 for call in calls),
        lost=lost_cost,
        unreadable=sum(price.get(call.sha256, 0) for call in calls if call.answered and call.cost is None),
        unfinished=_unfinished(last),
    )


def _sent_again(calls: Iterable[Call]) -> int:
    """Count the exchanges that followed a durable answer to the same request and occurrence of the same step."""
    answered: set[tuple[str, str, str, int]] = set()
    again = 0
    for call in calls:
        again += call.place in answered
        if call.answered:
            answered.add(call.place)
    return again


def _forgotten(earlier: Look, last: Look) -> int:
    kept = {(call.id, call.response, call.cost) for call in last.calls if call.answered}
    return sum((call.id, call.response, call.cost) not in kept for call in earlier.calls if call.answered)


def _begun_again(earlier: Look, last: Look) -> int:
    done = (key for key, status in earlier.steps.items() if status == StepStatus.COMPLETED)
    return sum(last.attempts.get(key) != earlier.attempts.get(key) for key in done)


def _unfinished(look: Look) -> tuple[str, ...]:
    done = {StepStatus.COMPLETED, StepStatus.SKIPPED}
    steps = [f"{stage}[{item}] is {status}" for (stage, item), status in look.steps.items() if status not in done]
    calls = [f"exchange {call.id} is still sent" for call in look.calls if call.state is ExchangeState.SENT]
    return (*look.untidy, *steps, *calls)
