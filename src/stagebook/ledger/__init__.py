"""The store of all that was asked, answered, made and paid: one writer per process, plain SQL, two small dialects."""

from stagebook.ledger.claim import Claim
from stagebook.ledger.store import Ledger

__all__ = ["Claim", "Ledger"]
