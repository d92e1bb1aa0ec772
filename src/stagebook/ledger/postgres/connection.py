"""Connections to PostgreSQL, dressed as the shared SQL wants them; between transactions a session holds nothing."""

import logging
from collections.abc import Iterable, Iterator
from itertools import count
from math import isinf
from time import monotonic, sleep
from typing import Any, Final

import psycopg
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format, TransactionStatus

from stagebook.ledger.postgres.address import Address, unreadable
from stagebook.ledger.postgres.errors import explain
from stagebook.ledger.postgres.translation import translated
from stagebook.ledger.sql.connection import Values
from stagebook.model.errors import LedgerError

CONNECT_SECONDS: Final = 10
"""How long one host may take to answer."""
OLDEST: Final = 150000
"""Server version: 15, the oldest that its makers still mend."""
ROWS_AT_A_TIME: Final = 500
"""Rows of a stream that are held in memory."""
SILENT_SECONDS: Final = (2.0, 15.0)
"""Least and most that a network may be silent while an answer is due, until its connection is given up."""
DIGITS_MOST: Final = 4300
"""Python reads no more (`sys.int_info.default_max_str_digits`)."""
RESTART_SECONDS: Final = 4.0
"""How long a server that refuses connections may take to be started again."""
_PAUSE: Final = 0.1
_STARTING: Final = "the database system is"
"""Starting up, shutting down, in recovery mode: what a server says before a login, in words alone."""
_AWAY: Final = ("Connection refused", "Connection reset", "server closed the connection", "terminating connection")
"""What is heard of one that is being stopped or was killed."""
logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it warns of, we raise
Raw = psycopg.Connection[tuple[Any, ...]]  # Any: one type per column


class _Number(Loader):
    """`numeric`, which sums of bigint are: whole ones as int, others as float; as text what is too large for those."""

    def load(self, data: Buffer) -> int | float | str:
        text = bytes(data).decode()
        if text.lstrip("-").isdigit():
            return int(text) if len(text) <= DIGITS_MOST else text
        number = float(text)
        return text if isinf(number) and not text.endswith("Infinity") else number


class _Truth(Loader):
    """`boolean` as SQLite has it."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data) == b"t")


class _Text(Loader):
    """Documents and times as they are written."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


class Blobs(list[bytes | None]):
    """A list that is bound as `bytea[]`, in binary."""


class _BlobsDumper(Dumper):
    """The binary form of an array: dimensions, whether it has nulls, type of its elements, length, lower bound."""

    format = Format.BINARY
    oid = 1001

    def dump(self, obj: Blobs) -> bytes:
        parts = [b"".join(n.to_bytes(4, "big") for n in (1, 1, 17, len(obj), 1))]
        for one in obj:
            if one is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                parts += (len(one).to_bytes(4, "big"), one)
        return b"".join(parts)


def connect(address: Address, busy_seconds: float) -> Raw:
    """Connect, without a transaction.

    Args:
        address: The ledger's.
        busy_seconds: How long a server that is away is waited for: a silent network is given up in half of that, so
            that there is time for another try.

    Raises:
        LedgerError: The address cannot be read.
        psycopg.Error: The server cannot be reached, or does not let us in.
    """
    try:
        psycopg.conninfo.conninfo_to_dict(address.conninfo)
    except psycopg.ProgrammingError:  # what it says may hold the password
        raise unreadable() from None
    connection: Raw = psycopg.connect(
        address.conninfo,
        autocommit=True,
        prepare_threshold=None,
        cursor_factory=psycopg.RawCursor,
        **_defaults(address.conninfo, busy_seconds),
    )
    adapters = connection.adapters
    adapters.register_loader("numeric", _Number)
    adapters.register_loader("bool", _Truth)
    for name in ("json", "jsonb", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "uuid"):
        adapters.register_loader(name, _Text)
    adapters.register_dumper(Blobs, _BlobsDumper)
    return connection


def connect_explained(address: Address, busy_seconds: float) -> Raw:
    """Connect for the first time: whatever keeps us out is told in a sentence.

    Args:
        address: The ledger's.
        busy_seconds: How long a server that says that it is starting is waited for.

    Raises:
        LedgerError: We cannot get in, or the server is too old.
    """
    began = monotonic()
    while True:
        try:
            connection = connect(address, busy_seconds)
            break
        except psycopg.Error as error:
            said = str(error)
            patience = busy_seconds if _STARTING in said else min(busy_seconds, RESTART_SECONDS)
            if not any(one in said for one in (_STARTING, *_AWAY)) or monotonic() - began > patience:
                raise explain(error, address) from None
        sleep(_PAUSE)
    if connection.info.server_version < OLDEST:
        version = connection.info.server_version // 10000
        connection.close()
        raise LedgerError(
            f"the ledger {address.shown}: its server is PostgreSQL {version}, and Stagebook needs 15 or newer: "
            "update the server, or name another with --ledger"
        )
    return connection


def _defaults(conninfo: str, busy_seconds: float) -> dict[str, Any]:
    """What we ask for where the address does not: an end to waiting, and a name for `pg_stat_activity`."""
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    least, most = SILENT_SECONDS
    silent = min(max(busy_seconds / 2, least), most)
    wanted = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "stagebook",
        "client_encoding": "UTF8",
        "tcp_user_timeout": round(silent * 1000),  # for what was sent and not acknowledged
        "keepalives_idle": max(round(silent / 3), 1),  # for an answer that does not come
        "keepalives_interval": max(round(silent / 6), 1),
        "keepalives_count": 4,
    }
    return {name: value for name, value in wanted.items() if name not in given}


class PostgresConnection:
    """A connection as `sql/connection.py` describes it.

    Args:
        raw: psycopg's.
        schema: The ledger's.
    """

    Error = psycopg.Error
    IntegrityError = psycopg.IntegrityError
    __slots__ = ("_numbers", "raw", "schema")

    def __init__(self, raw: Raw, schema: str) -> None:
        self.raw = raw
        self.schema = schema
        self._numbers = count(1)

    def execute(self, sql: str, parameters: Values = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        """Execute one of the ledger's statements."""
        return self.raw.execute(translated(sql, self.schema), parameters or None)

    def executemany(self, sql: str, rows: Iterable[Values], /) -> psycopg.Cursor[tuple[Any, ...]]:
        """Execute one of the ledger's statements for each row; several travel together."""
        cursor = self.raw.cursor()
        cursor.executemany(translated(sql, self.schema), rows)
        return cursor

    def stream(self, sql: str, parameters: Values = (), /) -> Iterator[tuple[Any, ...]]:  # Any: one type per column
        """Execute one of the ledger's statements within a transaction, and fetch its rows some at a time."""
        with psycopg.RawServerCursor(self.raw, f"rows_{next(self._numbers)}") as cursor:
            cursor.itersize = ROWS_AT_A_TIME
            cursor.execute(translated(sql, self.schema), parameters or None)
            yield from cursor

    @property
    def usable(self) -> bool:
        """Whether it is connected and in no transaction."""
        return not self.raw.closed and self.raw.info.transaction_status == TransactionStatus.IDLE

    def close(self) -> None:
        """Let it go; doing it again does nothing."""
        self.raw.close()
