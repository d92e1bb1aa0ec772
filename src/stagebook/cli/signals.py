"""What Ctrl-C and SIGTERM do to a run: first it ends in order, then at once."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn

from stagebook.engine.drive import Stop

if TYPE_CHECKING:
    from types import FrameType

GRACE_SECONDS: Final = 20.0
"""What is in flight has so long after SIGTERM; supervisors kill after 30 (Kubernetes) to 90 (systemd)."""
LEAVE_SECONDS: Final = 5.0
"""Time for the drive to end after what is in flight was cancelled."""
SHOW_CURSOR: Final = "\x1b[?25h"
REASON: Final = "interrupted"

FIRST: Final = "stopping: finishing what is in flight, since it is paid for; press Ctrl-C again to stop now"
SECOND: Final = "stopping now; a third Ctrl-C leaves at once"
TERMINATED: Final = f"stopping: what is in flight has {GRACE_SECONDS:.0f} seconds to finish"


class Interruptions:
    """Passes signals on to a drive.

    Args:
        stop: How the drive is told.
        say: Tells the person what happens now.
        resume: The command that goes on with the run.
    """

    def __init__(self, stop: Stop, say: Callable[[str], None], resume: str) -> None:
        self._stop = stop
        self._resume = resume
        self._say = say
        self._count = 0
        self.cut = False
        """Whether what was in flight was cancelled; a stage's own function may then still be busy in its thread."""

    def interrupted(self) -> None:
        """Ctrl-C was pressed."""
        self._count += 1
        if self._count == 1:
            self._stop.finish(REASON)
            self._say(FIRST)
        elif self._count == 2:  # noqa: PLR2004  the second time
            self._now()
            self._say(SECOND)
        else:
            leave(128 + signal.SIGINT, f"left; go on with: {self._resume}")

    def terminated(self) -> None:
        """The system, or a closed terminal, wants us gone."""
        self._stop.finish(REASON)
        self._say(TERMINATED)
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._now)

    def _now(self) -> None:
        self.cut = True
        self._stop.now(REASON)
        asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._leave)

    def _leave(self) -> None:
        leave(
            128 + signal.SIGINT,
            f"a stage's own function does not stop, so it is left behind; go on with: {self._resume}",
        )


@contextmanager
def heeded(interruptions: Interruptions) -> Iterator[None]:
    """Heed signals while the block runs; must be entered inside the running loop."""
    loop = asyncio.get_running_loop()
    handlers = {
        signal.SIGINT: interruptions.interrupted,
        signal.SIGTERM: interruptions.terminated,
        signal.SIGHUP: interruptions.terminated,
    }
    before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
    for number, handler in handlers.items():
        before[number] = signal.getsignal(number)
        if before[number] is not signal.SIG_IGN:  # nohup stays nohup
            loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            if handler_before is not signal.SIG_IGN:
                loop.remove_signal_handler(number)
                signal.signal(number, handler_before)


def leave(code: int, words: str = "") -> NoReturn:
    """End the process without waiting for threads: one that computes cannot be stopped; what counts is on disk."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        if sys.stderr.isatty():
            sys.stderr.write(f"{SHOW_CURSOR}\n")  # the progress that hid it is not taken down any more
        sys.stderr.write(f"{words}\n" if words else "")
        sys.stderr.flush()
    os._exit(code)
