"""Tells an answer's model what is known of the call that brought it."""

from datetime import UTC, datetime
from typing import Final

from pydantic import BaseModel

from stagebook.door.journal import Journal
from stagebook.ledger.store import Ledger
from stagebook.model.told import Call
from stagebook.model.usage import dollars

_LAST: Final = """
SELECT coalesce(model_returned, model, ''), input_tokens, output_tokens, cost, sent_at, received_at, finish_reason
FROM exchanges
WHERE run = (SELECT run FROM steps WHERE id = ?) AND step = ? AND kind IN ('model', 'poll') AND received_at IS NOT NULL
    AND state IN ('received', 'parsed') AND http_status BETWEEN 200 AND 299
ORDER BY received_at DESC, id DESC LIMIT 1
"""


async def with_call(value: BaseModel, field: str, asked: str, how: str, journal: Journal, ledger: Ledger) -> BaseModel:
    """Fill in the field that tells of the call.

    What was asked in this attempt is known; what a resumed step was given again is read from the ledger.
    """
    last = journal.last
    if last is None:
        call = await recorded_call(asked, journal.step or 0, ledger)
    else:
        charge = last.charge
        call = _call(
            asked,
            last.model if charge is None or charge.model_returned is None else charge.model_returned,
            charge.usage.input_tokens if charge is not None else None,
            charge.usage.output_tokens if charge is not None else None,
            charge.cost if charge is not None else None,
            last.sent_at,
            last.received_at,
            charge.finish_reason if charge is not None else None,
        )
    if how:
        call = call.model_copy(update={"asked_how": how})
    value.__dict__[field] = call  # it was made this moment and is nobody else's; a copy costs as much as validating
    return value


async def recorded_call(asked: str, step: int, ledger: Ledger) -> Call:
    """Read what the ledger knows of the call that brought a step's answer.

    Args:
        asked: The model that the stage asks.
        step: Id of the step.
        ledger: Where it is.
    """
    await ledger.write()
    table = await ledger.query(_LAST, (step, step))
    return _of_row(asked, *table.rows[0]) if table.rows else Call(asked=asked)


def _of_row(
    asked: str, model: object, read: object, wrote: object, cost: object, sent: object, received: object, reason: object
) -> Call:
    return _call(
        asked,
        str(model),
        None if read is None else int(str(read)),
        None if wrote is None else int(str(wrote)),
        None if cost is None else int(str(cost)),
        int(str(sent)),
        int(str(received)),
        None if reason is None else str(reason),
    )


def _call(
    asked: str,
    model: str,
    read: int | None,
    wrote: int | None,
    cost: int | None,
    sent: int,
    received: int,
    reason: str | None,
) -> Call:
    return Call(  # pydantic takes three times as long to construct it without validation
        model=model,
        asked=asked,
        input_tokens=read,
        output_tokens=wrote,
        cost_usd=None if cost is None else dollars(cost),
        duration_ms=max(0, (received - sent) // 1000),
        finished_at=datetime.fromtimestamp(received / 1_000_000, UTC),
        finish_reason=reason,
    )
