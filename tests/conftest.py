"""What holds for every test, and the servers that they share."""

import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from stagebook.testing.pooler_process import PoolerProcess, program
from stagebook.testing.postgres_process import PostgresProcess


def pytest_configure() -> None:
    """Make Ctrl-C reach the commands that tests start, also where the tests themselves run in the background.

    A shell ignores SIGINT for what it starts with `&`, children inherit that, and the command respects it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # how long an example takes says how busy the machine is, and no test is about that
    settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("here")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresProcess]:
    """A PostgreSQL server of our own, for all tests of a worker."""
    with TemporaryDirectory(prefix="stagebook-postgres-") as folder:
        Path(folder).chmod(0o755)  # pytest's own are closed to the user that it runs as
        server = PostgresProcess(Path(folder) / "data")
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def pooler_server(postgres_server: PostgresProcess) -> Iterator[PoolerProcess]:
    """A pgbouncer in transaction mode before it."""
    if program() is None:
        pytest.skip("pgbouncer is not installed (apt-get install pgbouncer, or make test as root)")
    with TemporaryDirectory(prefix="stagebook-pooler-") as folder:
        pooler = PoolerProcess(Path(folder), postgres_server)
        try:
            yield pooler
        finally:
            pooler.stop()


@pytest.fixture
def pooled(pooler_server: PoolerProcess) -> str:
    """The address of a ledger that is not there yet, behind a pooler."""
    return f"{pooler_server.address}?schema=t{uuid4().hex[:12]}"


@pytest.fixture
def postgres(postgres_server: PostgresProcess) -> str:
    """The address of a ledger that is not there yet."""
    return f"{postgres_server.address}?schema=t{uuid4().hex[:12]}"
