"""What a run has spent so far: told from its recorded exchanges, as nothing of it is stored a second time."""

from stagebook.door.budget import Spent, WorstCase, open_jobs
from stagebook.ledger.store import Ledger
from stagebook.model.errors import NotFound
from stagebook.model.exchange import Request

EVERY = 1_000_000_000
"""More exchanges than a run has."""
SECONDS = 600.0
"""A run of a million exchanges is added up in about a second."""

_KNOWN = "SELECT coalesce(sum(cost), 0) FROM exchanges WHERE run = ?"
_UNKNOWN = """
SELECT id, step, state, provider, model, url, request_size FROM exchanges
WHERE run = ? AND kind = 'model' AND (state IN ('sent', 'lost')
    OR http_status BETWEEN 200 AND 299 AND coalesce(input_tokens, 0) = 0)
ORDER BY id
"""
_SETTLED = "SELECT step FROM exchanges WHERE run = ? AND kind = 'poll' AND input_tokens > 0"


async def spent_so_far(ledger: Ledger, run: int, worst: WorstCase) -> Spent:
    """Add up what a run has cost, with what nobody can say at its worst case.

    Args:
        ledger: Where its exchanges are.
        run: Its id.
        worst: What a request can cost at most.

    Raises:
        UsageError: Nobody knows what one of its requests can have cost.
    """
    known = (await ledger.query(_KNOWN, (run,), timeout=SECONDS)).rows[0][0]
    guessed, jobs = 0, []
    for row in (await ledger.query(_UNKNOWN, (run,), limit=EVERY, timeout=SECONDS)).rows:
        exchange, step, state, provider, model, url, size = row
        try:
            body = await ledger.request_body(int(str(exchange)))
        except NotFound:  # purged: then it is as long as it was, and limits nothing
            body = b" " * int(str(size))
        request = Request(
            "POST",
            str(url),
            (body,),
            kind="model",
            provider=None if provider is None else str(provider),
            model=None if model is None else str(model),
        )
        cost = worst(request)
        if state in {"sent", "lost"}:
            guessed += cost
        else:
            jobs.append((None if step is None else int(str(step)), cost))
    settled = await ledger.query(_SETTLED, (run,), limit=EVERY, timeout=SECONDS)
    steps = [None if step is None else int(str(step)) for (step,) in settled.rows]
    return Spent(int(str(known)), guessed, open_jobs(jobs, steps))
