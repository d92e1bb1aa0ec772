"""Adds trials up, and says in a table whether the promise held."""

from dataclasses import dataclass, field

from stagebook.model.usage import dollars
from stagebook.testing.crash_trial import Case, Outcome


@dataclass(slots=True)
class Figures:
    """Sums over trials."""

    trials: int = 0
    kills: int = 0
    calls: int = 0
    """Calls that the provider charged."""
    paid_twice: int = 0
    sent_again: int = 0
    forgotten: int = 0
    begun_again: int = 0
    items: int = 0
    """Outputs that were compared."""
    items_lost: int = 0
    answers_missing: int = 0
    totals_differing: int = 0
    """Trials whose bill the ledger cannot explain to the picodollar."""
    bill: int = 0
    recorded: int = 0
    lost: int = 0
    unreadable: int = 0
    """Picodollars, these four."""
    stowaways: int = 0
    told: int = 0
    """Calls reported as possibly paid."""
    open: int = 0
    """Calls that were open at a kill by the ledger."""
    in_flight: int = 0
    """Of them, those that the provider had seen."""
    never_left: int = 0
    """Of them, those that it had not."""
    open_others: int = 0
    most_open: int = 0
    """Most calls open at one kill."""
    overdue: int = 0
    """Kills that left more calls open than can be under way at once."""
    unfinished: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What went wrong, with what is needed to see it again."""

    def add(self, outcome: Outcome, case: Case, label: str) -> None:
        """Add one trial.

        Args:
            outcome: What it showed.
            case: What was run.
            label: Names it, in what went wrong.
        """
        self.trials += 1
        self.kills += len(outcome.blows)
        for flight in outcome.flights:
            self.open += flight.open
            self.in_flight += flight.in_flight
            self.never_left += flight.never_left
            self.stowaways += flight.stowaways
            self.open_others += flight.open_others
            self.most_open = max(self.most_open, flight.open)
            self.overdue += flight.open + flight.open_others > case.most_at_once
        self.told += outcome.told
        found = outcome.audit
        if found is None:
            self.wrong.append(f"{label}: no audit")
            return
        self.calls += found.calls
        self.paid_twice += found.paid_twice
        self.sent_again += found.sent_again
        self.forgotten += found.forgotten
        self.begun_again += found.begun_again
        self.items += len(case.expected.outputs)
        self.items_lost += found.items_lost
        self.answers_missing += found.answers_missing
        self.totals_differing += found.difference != 0
        self.bill += found.bill
        self.recorded += found.recorded
        self.lost += found.lost
        self.unreadable += found.unreadable
        self.unfinished.extend(found.unfinished)
        flaws = {
            "paid twice": found.paid_twice,
            "sent again": found.sent_again,
            "forgotten": found.forgotten,
            "begun again": found.begun_again,
            "items lost": found.items_lost,
            "answers missing": found.answers_missing,
            "picodollars unexplained": found.difference,
            "sent before written": sum(flight.stowaways for flight in outcome.flights),
            "told otherwise than open": outcome.told - sum(one.open + one.open_others for one in outcome.flights),
            "unfinished": list(found.unfinished),
        }
        told = {name: flaw for name, flaw in flaws.items() if flaw}
        if told:
            self.wrong.append(f"{label}: {told}, killed {', '.join(outcome.blows)}")

    def table(self, title: str) -> str:
        """Write the figures, one a line."""
        rows: list[tuple[str, object]] = [
            ("trials (runs brought to their end)", self.trials),
            ("kills (SIGKILL)", self.kills),
            ("calls charged by the provider", self.calls),
            ("paid twice", self.paid_twice),
            ("sent again after a durable answer", self.sent_again),
            ("durable answers forgotten", self.forgotten),
            ("completed steps begun again", self.begun_again),
            ("sent before it was written", self.stowaways),
            ("outputs compared", self.items),
            ("outputs lost or different", self.items_lost),
            ("answers that were never asked for", self.answers_missing),
            ("totals differing", self.totals_differing),
            ("  the bill, USD", dollars(self.bill)),
            ("  recorded with answers, USD", dollars(self.recorded)),
            ("  lost with the process or the connection, USD", dollars(self.lost)),
            ("  recorded, answer unreadable, USD", dollars(self.unreadable)),
            ("possibly paid, reported by resumes", self.told),
            ("  in flight at the kill, by the bill", self.in_flight),
            ("  never left: killed before the wire", self.never_left),
            ("  pages and others, not on the bill", self.open_others),
            ("most open at one kill", self.most_open),
            ("left untidy", len(self.unfinished)),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value:>14}" for name, value in rows]
        return "\n".join([title, *lines, *self.wrong[:20]])
