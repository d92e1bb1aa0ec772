"""Where a ledger in PostgreSQL is: an address as libpq reads it, and the schema that the ledger has for itself."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from stagebook.model.errors import LedgerError

SCHEMES: Final = ("postgresql://", "postgres://")
SCHEMA: Final = "stagebook"
"""The ledger's own schema: apart from a database's other tables, and from what Supabase shows in its API."""
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,40}")
_HOSTS: Final = re.compile(r"(?:\[[^\[\]]*\]|[^\[\]:,/]*)(?::\d*)?")
_OPEN: Final = frozenset(
    {
        "schema",
        "host",
        "hostaddr",
        "port",
        "user",
        "application_name",
        "client_encoding",
        "connect_timeout",
        "target_session_attrs",
        "load_balance_hosts",
        "tcp_user_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "gssencmode",
        "channel_binding",
        "require_auth",
        "passfile",
        "service",
        "sslmode",
        "sslnegotiation",
        "sslcert",
        "sslkey",
        "sslrootcert",
        "sslcrl",
        "sslsni",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
    }
)
"""Options that hold no secret; whatever else stands in an address is taken for one."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address."""

    conninfo: str = field(repr=False)
    """For libpq, with the password if one was written."""
    schema: str
    shown: str
    """For people, without any password."""
    secrets: tuple[str, ...] = field(repr=False)
    """What must not be shown."""

    def hidden(self, text: str) -> str:
        """Take the password out of a text, such as what libpq says."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def unreadable() -> LedgerError:
    """Say what is wrong with an address without showing it: a part of it may be the password."""
    return LedgerError(
        "the address of the ledger cannot be read; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in the "
        "password @ as %40, / as %2F, : as %3A and % as %25"
    )


def read_address(url: str) -> Address:
    """Read `postgresql://user:password@host:port/database?schema=name&sslmode=require`.

    What libpq knows may stand in it, or in its environment (`PGPASSWORD`, `PGSSLMODE`) and files (`~/.pgpass`). Only
    `schema` is ours: several ledgers may be in one database.

    Raises:
        LedgerError: It cannot be read, or the schema's name is none.
    """
    scheme, _, rest = url.partition("://")
    login, at, rest = rest.rpartition("@")
    where, _, query = rest.partition("?")
    if any(one in login for one in "/?@") or "%" in unquote(login.replace("%25", "")):
        raise unreadable()
    if not all(_HOSTS.fullmatch(host) for host in where.partition("/")[0].split(",")):
        raise unreadable()
    options = [(unquote(name), value) for name, _, value in (part.partition("=") for part in query.split("&") if part)]
    schema = next((value for name, value in options if name == "schema"), SCHEMA)
    if _NAME.fullmatch(schema) is None or schema.startswith("pg_"):
        raise LedgerError(
            f"{schema!r} cannot be the schema of a ledger; write small letters, digits and underscores: {SCHEMA}"
        )
    user, _, password = login.partition(":")
    passed = "&".join(f"{quote(name)}={value}" for name, value in options if name != "schema")
    told = "&".join(f"{name}={value}" for name, value in options if name in _OPEN)
    written = [password, *(value for name, value in options if name not in _OPEN)]
    return Address(
        conninfo=f"{scheme}://{login}{at}{where}{'?' if passed else ''}{passed}",
        schema=schema,
        shown=f"postgresql://{user}{at}{where}{'?' if told else ''}{told}",
        secrets=tuple(sorted({one for part in written for one in (part, unquote(part)) if one}, key=len, reverse=True)),
    )
