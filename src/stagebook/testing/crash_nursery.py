"""A process that has everything imported and forks clients: `python -m stagebook.testing.crash_nursery`.

It reads one errand a line (JSON, with the file for the client's output), answers with the client's process id, and with
its exit code when it has ended. An ended client stays a zombie until the next errand, so that whoever kills by id never
hits another process.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from stagebook.llm.codec import Metered
from stagebook.llm.prices import PriceBook
from stagebook.model.usage import Usage
from stagebook.testing.crash_client import Errand, drive

LATE: Final = ("stagebook.definition.markers", "stagebook.model.ports")
"""Imported when a pipeline first asks for them."""
BROKEN_CLIENT: Final = 70
"""Exit code of a client that ended with an error that nobody expected."""


def told(errand: Errand, log: Path) -> bytes:
    """Write an errand as the line that the nursery reads."""
    fields = {
        "ledger": str(errand.ledger),
        "pipeline": errand.pipeline,
        "input": errand.input.decode(),
        "settings": errand.settings.decode(),
        "base_url": errand.base_url,
        "kill_at": errand.kill_at,
        "log": str(log),
    }
    return orjson.dumps(fields) + b"\n"


def main() -> None:
    """Fork a client for each line, one after the other, until there are no more."""
    for name in LATE:
        importlib.import_module(name)
    PriceBook().charge("openai", "gpt-4.1-mini", Metered(Usage(), None, None, None, None))
    for line in sys.stdin.buffer:
        errand = orjson.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_client(errand)
        _say(pid)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if ended is None:
            raise RuntimeError(f"nothing is known of the client {pid}")
        _say(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
        _bury_at_next(pid)


_zombies: list[int] = []


def _bury_at_next(pid: int) -> None:
    """Keep the last client's id taken; let go of the one before."""
    while _zombies:
        os.waitpid(_zombies.pop(), 0)
    _zombies.append(pid)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _be_client(errand: Mapping[str, Any]) -> None:
    with Path(errand["log"]).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        kill_at = errand["kill_at"]
        code = drive(
            Errand(
                errand["ledger"] if "://" in errand["ledger"] else Path(errand["ledger"]),
                errand["pipeline"],
                errand["input"].encode(),
                errand["settings"].encode(),
                errand["base_url"],
                (kill_at[0], kill_at[1]) if kill_at else None,
            )
        )
    except BaseException:  # noqa: BLE001  a traceback in its log is all that is left of it
        traceback.print_exc()
        code = BROKEN_CLIENT
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
