"""What a driver that died left open is closed by the next one, in the same transaction that tells of it."""

from typing import Any

from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request

BODY = Request("POST", "https://api.example/v1/chat/completions", (b'{"messages":[]}',), kind="model")
ATTEMPTS = "SELECT number, status, ended_at IS NULL FROM attempts ORDER BY number"
TOLD = "SELECT data FROM events WHERE kind = 'possibly_paid'"


async def test_an_attempt_that_a_dead_driver_left_running_is_interrupted(ledger: Ledger, begin: Any) -> None:
    drive, other = await begin(ledger), await begin(ledger)
    await ledger.write(drive.started("label"), other.started("label"))
    await drive.claim.release()
    drive.claim = await ledger.claim(drive.run.run_id)
    await ledger.lose_unanswered(drive.run.id, drive.claim.fence, drive.now())
    await ledger.write(drive.started("label", attempt=2), drive.ended("label", attempt=2))
    rows = (await ledger.query(f"{ATTEMPTS}, step")).rows
    assert rows == [(1, "interrupted", 0), (1, "running", 1), (2, "completed", 0)]


async def test_calls_possibly_paid_are_told_in_the_commit_that_declares_them_lost(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger)
    await ledger.write(drive.started("label"))
    await ledger.write(drive.sent(BODY, drive.steps["label", ""]))
    await drive.claim.release()
    drive.claim = await ledger.claim(drive.run.run_id)
    for _ in range(2):
        await ledger.lose_unanswered(drive.run.id, drive.claim.fence, drive.now())
    assert (await ledger.query(TOLD)).rows == [('{"count":1}',)]
