"""Everything that is typed, on a ledger in PostgreSQL; and what is said where there is none to be had."""

# ruff: noqa: S608  names that the tests make
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from stagebook.testing.postgres_process import PostgresProcess
from stagebook.testing.provider_faults import Delay
from stagebook.testing.provider_script import Rule, Script

PASSWORD = "canary%2Fpass%40word"  # noqa: S105  planted to be looked for
PLAIN = "canary/pass@word"
SLOW = Script(rules=(Rule(contains="Quote:", faults=(Delay(seconds=20),)),))


@pytest.fixture
def typed(shell: Any, postgres: str, monkeypatch: pytest.MonkeyPatch, here: Any) -> Any:
    """A shell, and commands in this process, whose ledger is in PostgreSQL."""
    shell.env["STAGEBOOK_LEDGER"] = postgres
    monkeypatch.setenv("STAGEBOOK_LEDGER", postgres)
    return here


@pytest.fixture
def role(postgres_server: PostgresProcess, postgres: str) -> Iterator[str]:
    """The address of a ledger for a user of its own, who has a password."""
    name = f"u{postgres[-12:]}"
    with psycopg.connect(postgres_server.address, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PLAIN}'")
        owner.execute(f"GRANT CREATE ON DATABASE postgres TO {name}")
    yield postgres.replace("postgres@", f"{name}:{PASSWORD}@", 1)
    with psycopg.connect(postgres_server.address, autocommit=True) as owner:
        owner.execute(f"DROP OWNED BY {name} CASCADE")
        owner.execute(f"DROP ROLE {name}")


def test_a_run_is_made_looked_at_counted_and_removed(shell: Any, typed: Any) -> None:
    done = shell("run", "talk.py", "talk.txt", "--tag", "t", "--json")
    assert done.code == 0, done.err
    run_id = done.json()["run_id"]
    assert ".stagebook" not in shell.files() or not (shell.folder / ".stagebook" / "ledger.db").exists()
    [listed] = typed("runs", "--json", "--tag", "t").json()["runs"]
    assert (listed["run_id"], listed["status"]) == (run_id, "completed")
    assert typed("show", "last", "--stage", "quotes", "--item", "1").code == 0
    assert "a quote" not in typed("show", "last", "--json").err
    for by in ("model", "provider", "stage", "day", "week", "month", "pipeline", "run"):
        costs = typed("costs", "--by", by, "--json").json()
        assert sum(row["calls"] for row in costs["rows"]) == costs["total"]["calls"] == 4, by
    asked = typed("sql", "SELECT _item, quotes FROM talk__quotes ORDER BY _item", "--json").json()
    assert (asked["columns"], len(asked["rows"])) == (["_item", "quotes"], 3)
    answers = typed(
        "sql", "SELECT payload_text(response) AS answer FROM exchanges ORDER BY id LIMIT 1", "--json"
    ).json()
    assert "choices" in orjson.loads(answers["rows"][0][0])
    assert "talk__quotes" in typed("sql", "--views").out
    assert typed("sql", "--install-views").code == 0
    assert typed("check").out.startswith("the ledger is sound: 9 payloads, 4 requests, 8 outputs")
    assert typed("run", "talk.py", "talk.txt", "--estimate").code == 0
    assert "PostgreSQL 18" in typed("doctor").out
    assert typed("purge", "--bodies", "--older-than", "0s", "--yes").code in {0, 2}
    assert typed("delete", run_id, "--yes").code == 0
    assert typed("runs", "--json").json() == {"runs": []}
    assert typed("check").code == 0


def test_a_killed_run_goes_on_and_pays_nothing_twice(shell: Any, typed: Any) -> None:
    shell.provider.use(Script(rules=(Rule(contains="Quote:", faults=(Delay(seconds=20, nth=(2, 3)),)),)))
    process = shell.start("run", "talk.py", "talk.txt")
    shell.wait_for_requests(1)
    process.kill()
    process.communicate()
    [listed] = typed("runs", "--json").json()["runs"]
    assert listed["status"] == "interrupted"
    shell.provider.use(Script())
    resumed = shell("resume", "last", "--json")
    assert (resumed.code, resumed.json()["status"]) == (0, "completed"), resumed.err
    paid = len(shell.provider.bill().entries)
    again = shell("resume", "last", "--json")
    assert (again.code, len(shell.provider.bill().entries)) == (0, paid)
    assert paid - resumed.json()["possibly_paid"] == 4


def test_a_run_moves_from_sqlite_to_postgresql_and_back(shell: Any, typed: Any) -> None:
    assert shell("run", "talk.py", "talk.txt", "--ledger", "file.db").code == 0
    assert typed("export", "last", "--to", "one.json", "--ledger", "file.db").code == 0
    assert "imported" in typed("import", "one.json").out
    assert "is here already" in typed("import", "one.json").out
    assert typed("export", "last", "--to", "two.json").code == 0
    assert "imported" in typed("import", "two.json", "--ledger", "back.db").out
    assert typed("export", "last", "--to", "three.json", "--ledger", "back.db").code == 0
    one, two, three = (Path(shell.folder, f"{name}.json").read_bytes() for name in ("one", "two", "three"))
    assert one == two == three


def test_a_run_is_paused_and_cancelled_by_another_process(shell: Any, typed: Any) -> None:
    shell.provider.use(SLOW)
    process = shell.start("run", "talk.py", "talk.txt", "--json")
    shell.wait_for_requests(1)
    assert typed("pause", "last").code == 0
    paused = shell.end(process)
    assert paused.code == 3
    assert "is cancelled" in typed("cancel", "last").out


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://postgres@127.0.0.1:1/x", "the server cannot be reached: check host and port"),
        ("postgresql://nobody:wrong@127.0.0.1:{port}/postgres", "the password is wrong"),
        ("postgresql://postgres@127.0.0.1:{port}/nowhere", "there is no such database"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?schema=Mixed-Case", "cannot be the schema of a ledger"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=require", "server does not support SSL"),
        ("postgresql://u:canary/pass@127.0.0.1:{port}/postgres", "the address of the ledger cannot be read"),
        ("postgresql://u:canary%pass@127.0.0.1:{port}/postgres", "the address of the ledger cannot be read"),
        ("postgresql://postgres@127.0.0.1:{port}/postgres", "no ledger is at postgresql://postgres@127.0.0.1"),
    ],
    ids=["no-server", "password", "database", "schema", "ssl", "slash-in-password", "percent-in-password", "no-ledger"],
)
def test_what_cannot_be_opened_is_told_in_one_sentence(
    here: Any, postgres_server: PostgresProcess, address: str, said: str
) -> None:
    done = here("runs", "--ledger", address.format(port=postgres_server.port))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err
    assert "canary" not in done.err
    assert "wrong@" not in done.err


def test_tables_of_others_a_newer_ledger_and_a_reader_are_told(
    here: Any, shell: Any, postgres_server: PostgresProcess, postgres: str
) -> None:
    schema = postgres.rpartition("=")[2]
    with psycopg.connect(postgres_server.address, autocommit=True) as owner:
        owner.execute(f"CREATE SCHEMA {schema}")
        owner.execute(f"CREATE TABLE {schema}.runs (name TEXT)")
        refused = here("run", "talk.py", "talk.txt", "--ledger", postgres)
        assert (refused.code, "holds tables of another program (runs)" in refused.err) == (2, True), refused.err
        owner.execute(f"DROP SCHEMA {schema} CASCADE")
        assert shell("run", "talk.py", "talk.txt", "--ledger", postgres).code == 0
        owner.execute(f"CREATE ROLE r{schema} LOGIN PASSWORD 'x'")
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO r{schema}")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO r{schema}")
        reader = postgres.replace("postgres@", f"r{schema}:x@", 1)
        assert here("show", "last", "--ledger", reader).code == 0
        assert len(here("sql", "SELECT * FROM v2_pipeline_steps", "--json", "--ledger", reader).json()["rows"]) == 8
        refused = here("resume", "last", "--ledger", reader)
        assert (refused.code, "this user lacks a right" in refused.err) == (2, True), refused.err
        assert "this user cannot write" in here("doctor", "--ledger", reader).out
        owner.execute(f"UPDATE {schema}.ledger SET version = 99")
        refused = here("runs", "--ledger", postgres)
        assert (refused.code, "newer Stagebook" in refused.err) == (2, True)
        owner.execute(f"DROP OWNED BY r{schema} CASCADE")
        owner.execute(f"DROP ROLE r{schema}")


def test_a_password_is_neither_shown_nor_kept(
    shell: Any, here: Any, role: str, postgres_server: PostgresProcess
) -> None:
    done = shell("run", "talk.py", "talk.txt", "--ledger", role)
    assert done.code == 0, done.err
    said = [done.out, done.err]
    for words in (("runs",), ("show", "last"), ("doctor",), ("doctor", "--json"), ("check",), ("costs",)):
        told = here(*words, "--ledger", role)
        said += (told.out, told.err)
    here("export", "last", "--to", "run.json", "--ledger", role)
    said.append((shell.folder / "run.json").read_text())
    schema = role.rpartition("=")[2]
    with psycopg.connect(postgres_server.address) as owner:
        tables = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
        for (table,) in tables:
            said += (str(row) for row in owner.execute(f'SELECT * FROM {schema}."{table}"'))
    assert not [text for text in said if PLAIN in text or PASSWORD in text]
    assert any("--ledger 'postgresql://u" in text for text in said), "the next commands name it without"


def test_a_run_of_a_machine_that_fell_silent_is_taken_over_only_when_told(
    shell: Any, typed: Any, postgres_server: PostgresProcess, postgres: str
) -> None:
    shell.provider.use(SLOW)
    process = shell.start("run", "talk.py", "talk.txt")
    shell.wait_for_requests(1)
    process.kill()
    process.communicate()
    schema = postgres.rpartition("=")[2]
    with psycopg.connect(postgres_server.address, autocommit=True) as owner:
        owner.execute(f"UPDATE {schema}.leases SET machine = 'elsewhere', host = 'elsewhere'")
        assert typed("runs", "--json").json()["runs"][0]["status"] == "running"
        for words in (("resume", "last"), ("resume", "last", "--take-over")):
            refused = typed(*words)
            assert (refused.code, "on elsewhere, which was heard of" in refused.err) == (2, True), refused.err
        owner.execute(f"UPDATE {schema}.leases SET renewed_at = now() - interval '5 min'")
    assert typed("runs", "--json").json()["runs"][0]["status"] == "interrupted"
    refused = typed("resume", "last")
    assert (refused.code, "has not been heard of for 300 s" in refused.err, "--take-over" in refused.err) == (
        2,
        True,
        True,
    )
    shell.provider.use(Script())
    assert shell("resume", "last", "--take-over").code == 0
