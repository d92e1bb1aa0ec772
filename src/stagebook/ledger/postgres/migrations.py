"""Versions of the tables in PostgreSQL, counted as SQLite's are. Views hold nothing, so they are made anew."""

# ruff: noqa: S608  the schema's name is letters, digits and underscores
from collections.abc import Callable, Mapping
from typing import Final

from stagebook.ledger.postgres.address import Address
from stagebook.ledger.postgres.connection import Raw
from stagebook.ledger.postgres.locking import EVERYTHING, key
from stagebook.ledger.postgres.schema import tables
from stagebook.ledger.postgres.views import VIEWS
from stagebook.model.errors import LedgerError, LedgerTooNew, NoLedger

Migration = Callable[[Raw], None]


def _first(connection: Raw) -> None:
    for statement in tables():
        connection.execute(statement)
    connection.execute("INSERT INTO ledger VALUES (0)")


MIGRATIONS: Final[Mapping[int, Migration]] = {1: _first}
"""By the version that each makes. One that has been released is never changed; a new one is added."""
VERSION: Final = max(MIGRATIONS)
"""The version that this Stagebook writes."""


def migrate(connection: Raw, address: Address) -> None:
    """Bring a ledger to the newest version, or make it, in one transaction.

    Args:
        connection: Without a transaction.
        address: The ledger's.

    Raises:
        LedgerError: What is in the schema is no ledger.
        LedgerTooNew: A newer Stagebook wrote it.
        psycopg.Error: Nothing was changed.
    """
    newest = max(MIGRATIONS)
    if version_of(connection, address) == newest:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock($1)", (key(address.schema, EVERYTHING),))
        before = version_of(connection, address)  # another process may have been faster
        if before is None:
            _check_encoding(connection, address)
            if not _has_schema(connection, address):
                connection.execute(f"CREATE SCHEMA {address.schema}")
        connection.execute("SELECT set_config('search_path', $1, true)", (address.schema,))
        for version in range((before or 0) + 1, newest + 1):
            MIGRATIONS[version](connection)
        for name, view in VIEWS.items():
            connection.execute(f"DROP VIEW IF EXISTS {name}")
            connection.execute(view)
        connection.execute("UPDATE ledger SET version = $1", (newest,))


def check_version(connection: Raw, address: Address) -> None:
    """See that a ledger is there and can be read as it is.

    Raises:
        LedgerError: There is none, or it is older, or what is there is none.
        LedgerTooNew: A newer Stagebook wrote it.
    """
    version = version_of(connection, address)
    if version is None:
        raise NoLedger(
            f"no ledger is at {address.shown}: nothing has been run here yet, or name the right one with --ledger"
        )
    if version < max(MIGRATIONS):
        raise LedgerError(
            f"the ledger {address.shown} is of version {version}, and this Stagebook reads {max(MIGRATIONS)}: open it "
            "once for writing (any command that runs something) to bring it up to date"
        )


def version_of(connection: Raw, address: Address) -> int | None:
    """Read a ledger's version; None where there is no ledger.

    Raises:
        LedgerError: The schema holds what others made.
        LedgerTooNew: A newer Stagebook wrote it.
    """
    found = connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relkind IN ('r', 'v', 'm', 'p', 'f')",
        (address.schema,),
    ).fetchall()
    names = {name for (name,) in found}
    if not names:
        return None
    if not {"ledger", "runs", "steps", "exchanges"} <= names:
        raise LedgerError(
            f"{address.shown}: the schema {address.schema} holds tables of another program ({min(names)}), and no "
            "ledger; give the ledger another one with ?schema=NAME in its address (nothing was changed)"
        )
    row = connection.execute(f"SELECT version FROM {address.schema}.ledger").fetchone()
    version = int(row[0]) if row is not None else 0
    if version > max(MIGRATIONS):
        raise LedgerTooNew(
            f"the ledger {address.shown} was written by a newer Stagebook (its schema is of version {version}, "
            f"this one knows {max(MIGRATIONS)}): update stagebook, or name another ledger with --ledger"
        )
    return version


def _has_schema(connection: Raw, address: Address) -> bool:
    row = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = $1", (address.schema,)).fetchone()
    return row is not None


def _check_encoding(connection: Raw, address: Address) -> None:
    row = connection.execute("SELECT current_setting('server_encoding')").fetchone()
    if row is not None and row[0] != "UTF8":
        raise LedgerError(
            f"the database of {address.shown} holds text as {row[0]}, and a ledger needs UTF8: "
            "make another (createdb --encoding=UTF8 --template=template0) and name it with --ledger"
        )
