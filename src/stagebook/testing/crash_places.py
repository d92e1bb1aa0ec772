"""Where a trial's ledger is: a file in the trial's folder, or a schema of a PostgreSQL server."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import psycopg

from stagebook.ledger.locks import FolderLocks
from stagebook.ledger.postgres.address import read_address
from stagebook.ledger.postgres.connection import PostgresConnection, connect
from stagebook.ledger.postgres.leases import SILENT_SECONDS, began_at
from stagebook.ledger.store import BUSY_SECONDS

T = TypeVar("T")
Place: TypeAlias = Path | str
"""A file, or an address."""
PATIENCE: Final = 30.0
"""Seconds that a server which is being restarted is waited for."""
_PAUSE: Final = 0.02


def place_in(folder: Path, server: str | None) -> Place:
    """Give the place of the ledger of a trial.

    Args:
        folder: The trial's.
        server: Address of a PostgreSQL server; None for a file.
    """
    if server is None:
        return folder / "ledger.db"
    schema = f"t{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    return f"{server}?schema={schema}&application_name={schema}"


def is_driven(place: Place) -> bool:
    """Whether a living process drives a run of a ledger."""
    if isinstance(place, str):
        return patiently(lambda: _is_driven(place))
    folder = place.parent / "locks"
    locks = FolderLocks(folder)
    return folder.exists() and any(locks.is_held(path.name) for path in folder.iterdir())


def drop(place: Place) -> None:
    """Remove a ledger in a server; the files of others go with their folder."""
    if isinstance(place, str):
        patiently(lambda: _drop(place))


def patiently(work: Callable[[], T]) -> T:
    """Do something that a server is needed for, again while it is being restarted."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
        time.sleep(_PAUSE)


@contextmanager
def settled_ledger(place: str) -> Iterator[PostgresConnection | None]:
    """Open a ledger in a server for reading, at one moment, once nobody is working for the dead any more.

    Gives None where there is no ledger.
    """
    with _asking(place) as (connection, schema):
        others = "SELECT 1 FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()"
        while connection.execute(others, (schema,)).fetchone() is not None:
            time.sleep(_PAUSE)
        if not _has(connection, schema, "exchanges"):
            yield None
            return
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield PostgresConnection(connection, schema)


def _is_driven(place: str) -> bool:
    with _asking(place) as (connection, schema):
        if not _has(connection, schema, "leases"):
            return False
        held = connection.execute(
            f"SELECT pid, began FROM {schema}.leases "  # noqa: S608  a name made here
            f"WHERE renewed_at > now() - interval '{SILENT_SECONDS} s'"
        ).fetchall()
    return any(began_at(pid) == began for pid, began in held)


def _drop(place: str) -> None:
    with _asking(place) as (connection, schema):
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


@contextmanager
def _asking(place: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    address = read_address(place)
    connection = connect(address, BUSY_SECONDS)
    try:
        yield connection, address.schema
    finally:
        connection.close()


def _has(connection: psycopg.Connection[Any], schema: str, table: str) -> bool:
    row = connection.execute("SELECT to_regclass($1) IS NOT NULL", (f"{schema}.{table}",)).fetchone()
    return row is not None and bool(row[0])
