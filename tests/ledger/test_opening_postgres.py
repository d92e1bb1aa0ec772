"""Opening a ledger in PostgreSQL: what keeps it from being opened is one clear sentence, without the password."""

import sys

import psycopg
import pytest

from stagebook.ledger.location import locate
from stagebook.ledger.postgres import connection, migrations
from stagebook.ledger.postgres.address import SCHEMA, read_address
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError, NoLedger
from stagebook.testing.postgres_process import PostgresProcess


async def test_a_server_that_is_too_old_is_told(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OLDEST", 10**9)
    with pytest.raises(LedgerError, match="its server is PostgreSQL 18, and Stagebook needs 15 or newer"):
        await Ledger.open(postgres)


async def test_a_missing_driver_is_told_with_what_to_type(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stagebook.ledger.postgres.database")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"pip install 'stagebook\[postgres\]'"):
        await Ledger.open(postgres)


async def test_none_is_made_for_reading(postgres: str, postgres_server: PostgresProcess) -> None:
    with pytest.raises(NoLedger, match=r"no ledger is at postgresql://postgres@127\.0\.0\.1"):
        await Ledger.open(postgres, read_only=True)
    with psycopg.connect(postgres_server.address) as owner:
        schema = postgres.rpartition("=")[2]
        assert owner.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is None


async def test_an_older_ledger_is_brought_up_to_date_when_it_is_opened_for_writing(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await Ledger.open(postgres)).close()

    def second(raw: connection.Raw) -> None:
        raw.execute("ALTER TABLE marks ADD COLUMN note TEXT")

    monkeypatch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, migrations.VERSION + 1: second})
    with pytest.raises(LedgerError, match="bring it up to date"):
        await Ledger.open(postgres, read_only=True)
    async with await Ledger.open(postgres) as ledger:
        assert (await ledger.query("SELECT note FROM marks")).rows == []
        assert (await ledger.query("SELECT version FROM ledger")).rows == [(migrations.VERSION + 1,)]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:pw@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgres://u:p%40w@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require"),
        ("postgresql:///d?host=/tmp&password=pw&schema=other", "postgresql:///d?host=/tmp&schema=other"),
        ("postgresql://h1:1,h2:2/d", "postgresql://h1:1,h2:2/d"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    location = locate(url)
    assert str(location) == shown
    assert "pw" not in repr(location)
    assert location.lasts
    assert location.may_exist


def test_what_a_server_says_is_shown_without_the_password() -> None:
    address = read_address("postgresql://u:s%2Fecret@h/d")
    assert address.schema == SCHEMA
    assert address.hidden("no s/ecret, no s%2Fecret") == "no ***, no ***"
