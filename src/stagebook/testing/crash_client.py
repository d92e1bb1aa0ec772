"""The process that is killed: opens the ledger, begins the run or finds it, and drives it, as the command does."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from stagebook.definition.loading import load
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.entry import Entry
from stagebook.ledger.store import Ledger
from stagebook.ledger.writer import Session
from stagebook.model.errors import StagebookError
from stagebook.testing.crash_places import Place

Side = Literal["before", "after"]
"""Of a commit: everything is written but the word COMMIT; or it is durable and nobody was told."""

UNFINISHED: Final = 4
"""Exit code of a drive that came to its end with the run unfinished."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a client is to do."""

    ledger: Place
    """The ledger's file or address, made if it is not there."""
    pipeline: str
    """The pipeline, as `stagebook run` takes it."""
    input: bytes
    """The run's input, JSON; used if the ledger holds no run yet."""
    settings: bytes
    """As `Settings.dump` writes them."""
    base_url: str
    """Where the fake provider listens, as `OPENAI_BASE_URL`."""
    kill_at: tuple[int, Side] | None = None
    """Number of the commit, from 1, beside which it kills itself."""


def drive(errand: Errand, ledgers: type[Ledger] = Ledger) -> int:
    """Begin or resume the one run of a ledger.

    Args:
        errand: What to do.
        ledgers: What opens the ledger; another class is a broken one, to see that it is noticed.

    Returns:
        Exit code: 0 if the run is completed.
    """
    try:
        return asyncio.run(_drive(errand, ledgers))
    except StagebookError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code


async def _drive(errand: Errand, ledgers: type[Ledger]) -> int:
    graph = load(errand.pipeline).check()
    async with await ledgers.open(errand.ledger) as ledger:
        if errand.kill_at is not None:
            writer = ledger._writer  # noqa: SLF001  the harness stands between the writer and its session
            if writer is not None:
                writer._session = Struck(writer._session, *errand.kill_at)  # noqa: SLF001  as above
        site = Site(ledger, environment(errand.base_url), public_only=False)
        runs, claim = await ledger.runs(), None
        if runs:
            run = await ledger.run(runs[0].run_id)
        else:
            given = graph.input.model_validate_json(errand.input)
            start = Start(graph, errand.pipeline, given, Settings.load(errand.settings))
            run, claim = await begin_driven(start, site)
        ended = await carry_on(run, graph, site, claim=claim)
        if ended.finished and not ended.failed:
            return 0
        for step in await ledger.steps(run.id):
            sys.stderr.write(f"{step.stage}[{step.item}] is {step.status}: {step.reason or 'no reason given'}\n")
    return UNFINISHED


def environment(base_url: str) -> dict[str, str]:
    """What a client sees of the provider."""
    return {
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "not-a-secret",
        "ANTHROPIC_BASE_URL": base_url.removesuffix("/v1"),
        "ANTHROPIC_API_KEY": "not-a-secret",
    }


class Struck:
    """A writer's session that kills its own process beside one of its commits.

    Args:
        session: The one that commits.
        number: Which commit, from 1.
        side: Before or after it.
    """

    def __init__(self, session: Session, number: int, side: Side) -> None:
        self._session = session
        self._left = number
        self._side = side

    def commit(self, entries: Sequence[Entry]) -> None:
        """Commit, unless it is the one."""
        self._left -= 1
        if self._left == 0 and self._side == "before":
            _die_at_commit(self._session._connection)  # type: ignore[attr-defined]  # noqa: SLF001  as above
        self._session.commit(entries)
        if self._left == 0:
            die()

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()


def _die_at_commit(connection: Any) -> None:  # Any: of either database
    """Kill this process when it is about to commit."""
    if isinstance(connection, sqlite3.Connection):
        connection.set_trace_callback(lambda statement: die() if statement == "COMMIT" else None)
        return
    execute = connection.raw.execute

    def executed(sql: Any, *values: Any) -> Any:
        if sql == b"COMMIT":
            die()
        return execute(sql, *values)

    connection.raw.execute = executed


def die() -> None:
    """End this process as `kill -9` does: no handler, no flush, no last word."""
    os.kill(os.getpid(), signal.SIGKILL)


def settings_for_trials(concurrency: int, request_timeout: float) -> bytes:
    """Settings with retries that lose no time."""
    retry = {"tries": 8, "base": 0.01, "cap": 0.02, "longest_asked": 300.0}
    return orjson.dumps({"concurrency": concurrency, "request_timeout": request_timeout, "retry": retry})
