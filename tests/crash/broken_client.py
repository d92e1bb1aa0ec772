"""A client whose Stagebook is broken on purpose, so that the comparison can be seen to notice.

python broken_client.py HOW LEDGER PIPELINE INPUT SETTINGS BASE_URL COMMIT SIDE
"""

import sys
from pathlib import Path

from stagebook.door.journal import Journal
from stagebook.engine import steps
from stagebook.ledger.facts import ExchangeSent, Fact
from stagebook.ledger.store import Ledger
from stagebook.model.records import RecordedExchange
from stagebook.testing.crash_client import Errand, drive


class Forgetful(Journal):
    """Does not look whether it was answered before."""

    __slots__ = ()

    def answer(self, digest: bytes, occurrence: int) -> RecordedExchange | None:  # noqa: ARG002  it forgets them
        return None


class Careless(Journal):
    """Takes the answer of one sample for that of every other."""

    __slots__ = ()

    def answer(self, digest: bytes, occurrence: int) -> RecordedExchange | None:  # noqa: ARG002  any will do
        return next((kept for (asked, _), kept in self._answers.items() if asked == digest), None)


class Hasty(Ledger):
    """Lets a request leave before it is durable."""

    async def write(self, *facts: Fact) -> None:
        if any(isinstance(fact, ExchangeSent) for fact in facts):
            self.follow(*facts)
        else:
            await super().write(*facts)


if __name__ == "__main__":
    how, ledger, pipeline, given, settings, base_url, number, side = sys.argv[1:]
    journals = {"forgets-answers": Forgetful, "mixes-samples": Careless}
    if how in journals:
        steps.Journal = journals[how]
    kill_at = (int(number), "before" if side == "before" else "after") if int(number) else None
    errand = Errand(Path(ledger), pipeline, given.encode(), settings.encode(), base_url, kill_at)
    sys.exit(drive(errand, Hasty if how == "sends-unwritten" else Ledger))
