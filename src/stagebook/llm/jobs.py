"""Answers that take long: a job's handle is durable before it is first asked for, and then it is polled to its end."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus

from stagebook.door.door import Meter, OutwardDoor
from stagebook.door.journal import Journal
from stagebook.llm.codec import Codec, JobFailed, Unreadable
from stagebook.model.errors import RequestRefused
from stagebook.model.exchange import Request, Response

FIRST_WAIT = 0.5
GROWTH = 1.5
LONGEST_WAIT = 10.0
"""Seconds between polls: half a second at first, half as long again each time, never more than ten."""


async def finished(
    created: Request,
    handle: str,
    codec: Codec,
    door: OutwardDoor,
    journal: Journal,
    meter: Meter,
) -> Response:
    """Wait for the answer of a job.

    The creation was recorded when it was answered, so a resumed step is given the same handle and polls on. Polls are
    never given again, but for the one that brought the answer: its cost is counted once.

    Args:
        created: The request that made the job.
        handle: The job, as the provider calls it.
        codec: The format of both.
        door: The way out.
        journal: The step that asks.
        meter: Reads what the answer cost.

    Raises:
        ProviderError: A poll got no answer after every retry.
        JobFailed: The provider does not know the job any more.
    """
    poll = Request("GET", f"{created.url}/{handle}", (), created.headers, "poll", created.provider, created.model)
    for wait in _waits():
        try:
            sent = await door.send(
                poll,
                journal,
                meter=meter,
                explain=codec.explain,
                settles=lambda answer: _job(answer, codec) is None,
            )
        except RequestRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise JobFailed(f"the provider does not know the job {handle} any more") from error
            raise
        if _job(sent.response, codec) is None:
            return sent.response
        await asyncio.sleep(wait)
    raise AssertionError("the waits have no end")


def _job(response: Response, codec: Codec) -> str | None:
    try:
        return codec.decode(response.body).job
    except Unreadable:
        return None


def _waits() -> Iterator[float]:
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(wait * GROWTH, LONGEST_WAIT)
