"""Drives a run from the command line: shows how it goes, heeds signals, and tells what came of it."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.live import Live

from stagebook.cli.command_lines import command
from stagebook.cli.console import Notes, notes, print_json, results, stdout_kept_clean
from stagebook.cli.display import Display
from stagebook.cli.documents import write_documents
from stagebook.cli.plain_progress import PlainProgress
from stagebook.cli.report import print_report
from stagebook.cli.signals import Interruptions, heeded, leave
from stagebook.definition.graph import Graph
from stagebook.engine.drive import PAUSED, Ended, Stop
from stagebook.engine.progress import Progress
from stagebook.engine.session import Site, carry_on
from stagebook.engine.settings import Settings
from stagebook.insight.overview import describe
from stagebook.insight.run_document import RunDocument
from stagebook.ledger.claim import Claim
from stagebook.model.errors import RunFailed, RunInterrupted, RunIsDriven, RunPaused, StagebookError
from stagebook.model.records import Run
from stagebook.model.status import RunStatus

FRAMES_PER_SECOND: Final = 6
GARBAGE_EVERY: Final = 50_000
"""Objects made, beyond those that went, between two looks for cycles among the young ones; Python's own is 700."""
CANCELLED: Final = "cancelled"
"""Why a drive ended, where its owner cancelled the run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the command ends."""

    code: int
    cut: bool
    """Whether a stage's own function may still be busy in its thread."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How the person wants to be told."""

    as_json: bool
    ledger: str | None
    """The ledger as it was typed."""
    again: Sequence[str] = ()
    """The words of a command that runs the same on a hosted model, if that is worth proposing."""


def look_for_garbage_seldom() -> None:
    """Have Python look for cycles of objects less often, in a process that is all ours.

    A drive makes very many objects and no cycle (a call leaves none behind), and 100,000 that stay were made by
    importing: looking through them again and again takes up to a fifth of the time of a run with hundreds of calls in
    flight. Cycles that a stage's own function makes wait until some 10 MB of them are there.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_EVERY)


def finish(work: Coroutine[Any, Any, Outcome]) -> int:
    """Run a command that drives, to its exit code."""
    look_for_garbage_seldom()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        outcome = runner.run(work)
    if outcome.cut:
        leave(outcome.code)
    return outcome.code


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Say how to make the event loop: uvloop's where there is one (not on Windows), which takes a tenth off a call."""
    try:
        import uvloop  # noqa: PLC0415  only a command that drives needs it
    except ImportError:
        return None
    return uvloop.new_event_loop


async def drive(
    run: Run,
    graph: Graph,
    site: Site,
    telling: Telling,
    claim: Claim | None = None,
    *,
    settings: Settings | None = None,
) -> Outcome:
    """Drive a run, begun or resumed, and print what came of it.

    Args:
        run: The run.
        graph: Its pipeline.
        site: Where it happens.
        telling: How the person wants to be told.
        claim: The right to drive it, where this process has it already.
        settings: Instead of those that are recorded.

    Raises:
        StagebookError: It could not be driven, or not to its end.
    """
    progress, stop, console = Progress(), Stop(), notes()
    resume = command("resume", run.run_id, ledger=telling.ledger)
    with stdout_kept_clean():
        async with _shown(run, graph, progress, console) as display:
            interruptions = Interruptions(stop, display.notify, resume)
            try:
                with heeded(interruptions):
                    ended = await carry_on(
                        run, graph, site, claim=claim, settings=settings, progress=progress, stop=stop
                    )
            except RunIsDriven:
                raise
            except StagebookError:
                display.last_words.append(f"what was finished of {run.run_id} is kept; go on with: {resume}")
                raise
    document = await describe(site.ledger, run.run_id)
    code = exit_code(ended, document)
    if ended.reached is not None:
        resume = command("resume", run.run_id, "--budget", ended.reached.proposed, ledger=telling.ledger)
    await _print(document, run, graph, site, telling, resume)
    if document.status == RunStatus.FAILED:
        reason = " ".join(next(iter(document.errors), "a step failed").split())
        console.say(f"error: {run.run_id} failed: {reason}")
    left = progress.batches() if ended.stopped is not None else None
    if ended.stopped == CANCELLED:
        console.say(f"{CANCELLED}: what was finished is kept" + (f"; cancelled there, too: {left}" if left else ""))
    elif ended.reached is not None:
        console.say(f"{PAUSED}: {ended.reached}; what was finished is kept; go on with: {resume}")
    elif code not in {0, RunFailed.exit_code}:
        goes_on = f" ({left}; it goes on there)" if left else ""
        console.say(f"{ended.stopped or document.status}: what was finished is kept{goes_on}; go on with: {resume}")
    return Outcome(code, interruptions.cut)


def exit_code(ended: Ended, document: RunDocument) -> int:
    """Say how the command ends: by what its own drive did, since another may go on with the run already."""
    if document.status == RunStatus.COMPLETED:
        return 0
    if ended.stopped is not None and not ended.finished:
        return RunPaused.exit_code if ended.stopped == PAUSED else RunInterrupted.exit_code
    return RunFailed.exit_code


class _Shown:
    """Says things beside the progress."""

    def __init__(self, console: Notes, display: Display | None) -> None:
        self._console = console
        self._display = display
        self.last_words: list[str] = []
        """Printed when the progress is gone."""

    def notify(self, sentence: str) -> None:
        """Say what a signal did, at once."""
        if self._display is not None:
            self._display.notice = sentence
        else:
            self._console.say(sentence)


@contextlib.asynccontextmanager
async def _shown(run: Run, graph: Graph, progress: Progress, console: Notes) -> AsyncIterator[_Shown]:
    """Show progress while the block runs: live on a terminal, as lines elsewhere."""
    display = Display(progress, graph) if console.is_terminal and not console.is_dumb_terminal else None
    shown = _Shown(console, display)
    try:
        if display is not None:
            with Live(display, console=console, refresh_per_second=FRAMES_PER_SECOND, transient=True):
                yield shown
        else:
            console.say(f"{run.pipeline} {run.run_id}")
            plain = PlainProgress(progress, graph, console.say)
            watch = asyncio.create_task(plain.watch())
            try:
                yield shown
            finally:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch
                plain.tell()
    finally:
        for line in shown.last_words:
            console.say(line)


async def _print(document: RunDocument, run: Run, graph: Graph, site: Site, telling: Telling, resume: str) -> None:
    """Print what came of it to stdout."""
    if telling.as_json:
        print_json(document.to_json())
        return
    try:
        documents = await write_documents(run, graph, site.ledger, telling.ledger)
    except OSError as error:
        notes().say(f"the texts could not be written as files: {error}")
        documents = []
    print_report(results(), document, documents, ledger=telling.ledger, again=telling.again, resume=resume)
