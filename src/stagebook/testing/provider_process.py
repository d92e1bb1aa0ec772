"""The fake provider as a process of its own, which a killed client does not take along."""

import http.client
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import orjson

from stagebook.testing.provider_bill import Bill
from stagebook.testing.provider_script import Script

_STOP_SECONDS: Final = 10.0


class ProviderProcess:
    """Starts `python -m stagebook.testing.provider` and asks it for its bill; use it as a context manager.

    It stops when the block ends, and also when the process that started it dies, as its standard input closes then.
    """

    def __init__(self, script: Script | Path | None = None, *, options: tuple[str, ...] = ()) -> None:
        """Describe the process; it starts when the block is entered.

        Args:
            script: What the provider answers and does wrong, or the JSON file that says so; functions cannot be sent.
            options: Further options of the command, such as `("--latency", "0.02", "--seed", "7")`.
        """
        self._script = script
        self._options = options
        self.url = ""
        """Where it listens, without a path."""

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` is set to: `url` with `/v1`."""
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def bill(self) -> Bill:
        """Every request that arrived, what it cost and how it ended."""
        return Bill.from_json(self._ask("GET", "/bill"))

    def summary(self, at: float | None = None) -> dict[str, Any]:
        """Counts and sums of the bill, as `Bill.summary` gives them."""
        summary: dict[str, Any] = orjson.loads(self._ask("GET", "/bill/summary" + ("" if at is None else f"?at={at}")))
        return summary

    def reset(self) -> None:
        """Forget the bill so far."""
        self._ask("POST", "/bill/reset")

    def use(self, script: Script) -> None:
        """Go on by another script; its counts start anew."""
        self._ask("POST", "/script", script.model_dump_json().encode())

    def __enter__(self) -> Self:
        options = (*self._options, *(("--script", str(self._script)) if isinstance(self._script, Path) else ()))
        self._process = subprocess.Popen(  # noqa: S603  our own module, with the options that a test gives
            [sys.executable, "-m", "stagebook.testing.provider", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise RuntimeError(f"the fake provider ended with {self.stop()}; what it wrote to stderr says why")
        self.url = orjson.loads(line)["url"]
        try:
            if isinstance(self._script, Script):
                self.use(self._script)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Close its standard input and wait for it; returns its exit code."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(f"{method} {path} of the fake provider answered {response.status}: {data.decode()}")
        return data
