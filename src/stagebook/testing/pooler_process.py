"""A pgbouncer in transaction mode before a PostgreSQL server: what Supabase and others put there."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

import psycopg

from stagebook.testing.postgres_process import PostgresProcess, as_nobody, free_port

START_SECONDS: Final = 20.0
POOL: Final = 5
"""Connections to the server, shared by all clients: fewer than one ledger with its questions has."""
_SETTINGS: Final = """
[databases]
postgres = host=127.0.0.1 port={server} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 500
logfile = {folder}/pgbouncer.log
"""


def program() -> str | None:
    """Find pgbouncer, a Debian package of that name; None where it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class PoolerProcess:
    """A pooler.

    Args:
        folder: For its settings and log; where we are root, everybody must be able to reach it.
        server: What is behind it.
    """

    def __init__(self, folder: Path, server: PostgresProcess) -> None:
        self.port = free_port()
        found = program()
        if found is None:
            raise FileNotFoundError("pgbouncer is not installed: apt-get install pgbouncer")
        folder.chmod(0o777)
        settings = folder / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(server=server.port, port=self.port, pool=POOL, folder=folder))
        settings.chmod(0o644)
        self._process = subprocess.Popen(  # noqa: S603  a program of the system
            [found, "--quiet", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_nobody()
        )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.address).close()
            except psycopg.OperationalError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
            else:
                return
            time.sleep(0.05)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
