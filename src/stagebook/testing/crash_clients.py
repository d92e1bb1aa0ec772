"""Starts the processes that are killed: forked from a warm parent (many), or the real command (slower, and real)."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import orjson

from stagebook.testing.crash_client import Errand, environment
from stagebook.testing.crash_nursery import told

LONGEST_DRIVE: Final = 120.0
"""Seconds after which a client counts as stuck."""
KILLED: Final = -signal.SIGKILL
"""Exit code of a process that was killed, as Python tells it."""


class Started(Protocol):
    """A client at work."""

    def kill(self) -> None:
        """End it and all that it started by SIGKILL; nothing happens if it ended already."""
        ...

    def wait(self, seconds: float = LONGEST_DRIVE) -> int | None:
        """Wait for its end.

        Returns:
            Its exit code, KILLED if it was killed, or None if it is still at work.
        """
        ...


class Nursery:
    """Starts clients in processes forked from a warm one, one at a time; use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stagebook.testing.crash_nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def start(self, errand: Errand, log: Path) -> "Forked":
        """Start a client; the one before must have ended.

        Args:
            errand: What it is to do.
            log: Where its output goes.
        """
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the nursery has no standard input; use it inside `with Nursery() as nursery`")
        stdin.write(told(errand, log))
        stdin.flush()
        return Forked(int(self.line()), self)

    def line(self, seconds: float | None = None) -> bytes:
        """Read what it says next; empty if it says nothing for so long."""
        stdout = self._process.stdout
        if stdout is None or not select.select([stdout], [], [], seconds)[0]:
            return b""
        return stdout.readline()


class Forked:
    """A client of a nursery."""

    def __init__(self, pid: int, nursery: Nursery) -> None:
        self._pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def kill(self) -> None:
        """Kill its process; it has started no other."""
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)

    def wait(self, seconds: float = LONGEST_DRIVE) -> int | None:
        """Wait for its end."""
        if self._code is None and (line := self._nursery.line(seconds)):
            self._code = int(line)
        return self._code


class Spawned:
    """A client that is started as a command, in a process group of its own."""

    def __init__(self, words: Sequence[str], base_url: str, log: Path) -> None:
        """Start it.

        Args:
            words: The command.
            base_url: Where the fake provider listens, as `OPENAI_BASE_URL`.
            log: Where its output goes; it works in the folder of it.
        """
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603  what a test gives
                words,
                env={**os.environ, **environment(base_url)},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill its whole process group."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, seconds: float = LONGEST_DRIVE) -> int | None:
        """Wait for its end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def stagebook(errand: Errand, log: Path, run_id: str | None) -> Spawned:
    """Start the `stagebook` command.

    Args:
        errand: What it is to do; of its settings the command can be given the concurrency alone.
        log: Where its output goes.
        run_id: The run to resume; None begins one.
    """
    if run_id is not None:
        words = ["resume", run_id]
    else:
        given = log.with_name("input.json")
        given.write_bytes(errand.input)
        words = ["run", errand.pipeline, str(given), "--concurrency", str(orjson.loads(errand.settings)["concurrency"])]
    command = [sys.executable, "-m", "stagebook.cli.entry", *words, "--ledger", str(errand.ledger)]
    return Spawned(command, errand.base_url, log)
