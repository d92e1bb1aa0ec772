"""Addresses of ledgers in PostgreSQL: what is passed on, and that no password is shown."""

import pytest

from stagebook.ledger.postgres.address import read_address
from stagebook.model.errors import LedgerError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:ca?nary@h/db",
        "postgresql://u:ca?nary=1@h:1/db?schema=s",
        "postgresql://u:ca@nary@h/db",
        "postgresql://u:ca/nary@h/db",
        "postgresql://u:ca%nary@h/db",
        "postgresql://u:canary",
        "postgresql://h:canary/db",
        "postgresql://h/db?user=u@canary",
    ],
    ids=["question-mark", "option", "at", "slash", "percent", "no-host", "port", "at-in-option"],
)
def test_an_address_that_may_be_read_in_two_ways_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(LedgerError, match="cannot be read; write postgresql://USER:PASSWORD@HOST") as refused:
        read_address(url)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "option",
    ["password=", "pass%77ord=", "sslpassword=", "oauth_client_secret=", "options=", "pasword="],
    ids=["password", "quoted", "key", "oauth", "options", "misspelt"],
)
def test_no_option_that_may_be_a_secret_is_shown(option: str) -> None:
    address = read_address(f"postgresql://u@h/db?sslmode=require&{option}can%41ry&schema=s")
    assert address.shown == "postgresql://u@h/db?sslmode=require&schema=s"
    assert address.hidden(f"it said {option}can%41ry, that is canAry").count("***") == 2
    assert "%77" not in address.conninfo
    assert address.conninfo.endswith("can%41ry")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h1:1,h2:2/db?target_session_attrs=read-write",
        "postgresql://[::1]:5432/db",
        "postgresql://%2Ftmp:5432/db",
        "postgresql:///db?host=/tmp",
        "postgresql://u@/db",
        "postgresql://postgres.project:p%40%3F%2Fw@aws.pooler.example:6543/postgres",
    ],
    ids=["two", "ipv6", "socket", "socket-as-option", "no-host", "pooler"],
)
def test_what_libpq_reads_is_passed_on_as_it_is(url: str) -> None:
    address = read_address(url)
    assert (address.conninfo, address.schema) == (url, "stagebook")
    assert address.shown == url.replace(":p%40%3F%2Fw", "")
