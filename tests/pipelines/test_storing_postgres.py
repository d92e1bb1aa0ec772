"""What only PostgreSQL can do, refuse or lose."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from stagebook.testing.pooler_process import PoolerProcess
from stagebook.testing.postgres_process import PostgresProcess
from stagebook_pipelines.prompt_batch.results import Response, Stored
from stagebook_pipelines.prompt_batch.storing.store import StoreError
from stagebook_pipelines.prompt_batch.storing.store_results import store_results

OF_THEIR_OWN = """
CREATE TABLE mine (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), prompt varchar(40), response text, model text, success boolean,
    error text, "timestamp" timestamp, duration_ms integer, tokens_used numeric, metadata jsonb, experiment_name text,
    tags jsonb, reviewer text
)
"""


@pytest.fixture
def connection(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def responses(count: int, **more: Any) -> list[Response]:
    return [
        Response.model_validate(
            {"prompt": f"prompt {number}", "response": "yes", "timestamp": "2026-11-21T12:00:00+01:00", **more}
        )
        for number in range(count)
    ]


def account(stored: Stored) -> tuple[int, int, int]:
    return stored.stored, stored.already_stored, stored.failed


def counted(connection: Connection[Any], table: str) -> int:
    return connection.execute(f"TABLE {table}".encode()).rowcount


def test_a_table_of_the_users_own_takes_results_as_it_is(database: str, connection: Connection[Any]) -> None:
    connection.execute(OF_THEIR_OWN.encode())
    for expected in ((150, 0, 0), (0, 150, 0)):
        assert account(store_results(responses(150), store=database, table="mine", tags=["a"])) == expected
    row = connection.execute("SELECT \"timestamp\"::text, tags, metadata ? 'record_key' FROM mine").fetchone()
    assert row == ("2026-11-21 11:00:00", ["a"], True)


def test_a_failed_row_in_a_table_without_a_key_is_replaced_by_its_answer(
    database: str, connection: Connection[Any]
) -> None:
    connection.execute(OF_THEIR_OWN.encode())
    known = {"metadata": {"record_key": "k", "tokens_used": 5}}
    failed = responses(1, success=False, error="refused", **known)
    assert account(store_results(failed, store=database, table="mine")) == (1, 0, 0)
    assert account(store_results(responses(1, **known), store=database, table="mine")) == (1, 0, 0)
    assert account(store_results(failed, store=database, table="mine")) == (0, 1, 0)
    rows = connection.execute("SELECT success, error, tokens_used::int FROM mine").fetchall()
    assert rows == [(True, None, 5)]


@pytest.mark.parametrize("own", [False, True], ids=["made-by-us", "of-their-own"])
def test_two_that_store_the_same_at_once_store_it_once(
    database: str, connection: Connection[Any], *, own: bool
) -> None:
    if own:
        connection.execute(OF_THEIR_OWN.encode())
    accounts: list[Stored] = []
    threads = [
        threading.Thread(target=lambda: accounts.append(store_results(responses(400), store=database, table="mine")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.stored for one in accounts) == counted(connection, "mine") == 400
    assert sum(one.already_stored for one in accounts) == 800


def test_a_row_that_the_table_refuses_is_named_with_chunk_row_and_prompt(
    database: str, connection: Connection[Any]
) -> None:
    connection.execute(OF_THEIR_OWN.encode())
    connection.execute("CREATE UNIQUE INDEX ON mine (prompt)")
    connection.execute("INSERT INTO mine (prompt) VALUES ('prompt 120')")
    given = responses(250)
    given[7] = given[7].model_copy(update={"prompt": "much longer than forty characters, which is all that there is"})
    done = store_results(given, store=database, table="mine")
    assert account(done) == (248, 0, 2)
    assert done.errors[0] == (
        "chunk 1, row 8 ('much longer than forty characters, which is all that there i'...):"
        " value too long for type character varying(40)"
    )
    assert done.errors[1].startswith("chunk 2, row 121 ('prompt 120'): duplicate key value violates unique constraint")
    assert counted(connection, "mine") == 249


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP COLUMN tags, DROP COLUMN error", r'no column error, tags; .*ADD COLUMN "error" text, ADD COLUMN "tags"'),
        ("ALTER COLUMN tokens_used TYPE text", "tokens_used is text and must be bigint"),
        ("ADD COLUMN owner text NOT NULL", "requires a value for owner"),
    ],
    ids=["missing", "type", "required"],
)
def test_a_table_that_cannot_take_results_is_told_before_anything_is_written(
    database: str, connection: Connection[Any], change: str, told: str
) -> None:
    connection.execute(OF_THEIR_OWN.encode())
    connection.execute(f"ALTER TABLE mine {change}".encode())
    with pytest.raises(StoreError, match=told):
        store_results(responses(1), store=database, table="mine")
    assert counted(connection, "mine") == 0


def test_a_table_may_stand_in_a_schema_and_be_called_as_people_call_things(
    database: str, connection: Connection[Any]
) -> None:
    with pytest.raises(StoreError, match="there is no schema 'research'"):
        store_results(responses(1), store=database, table="research.Order of things")
    connection.execute("CREATE SCHEMA research")
    store_results(responses(1), store=database, table="research.Order of things")
    assert counted(connection, 'research."Order of things"') == 1


@pytest.mark.parametrize(
    "name", ['a"b', "a;b", "a.b.c", "", ".", "1a", "a\0b", "x" * 64, "a'b"], ids=lambda name: repr(name[:6])
)
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="is no name of a table"):
        store_results(responses(1), store="postgresql://127.0.0.1:1/none", table=name)


def test_a_connection_that_is_lost_on_the_way_is_made_again_and_nothing_is_stored_twice(
    database: str, connection: Connection[Any]
) -> None:
    def cutting() -> Any:
        for number, response in enumerate(responses(1000)):
            if number % 150 == 149:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stagebook'"
                )
            yield response

    assert account(store_results(cutting(), store=database)) == (1000, 0, 0)
    assert counted(connection, "prompt_evaluations") == 1000


def test_a_chunk_that_nobody_takes_is_named_and_those_before_it_stay(
    database: str, connection: Connection[Any]
) -> None:
    def revoking() -> Any:
        for number, response in enumerate(responses(300)):
            if number == 250:
                connection.execute("ALTER TABLE prompt_evaluations RENAME TO gone")
            yield response

    done = store_results(revoking(), store=database)
    assert (done.stored + done.failed, done.failed) in {(300, 100), (300, 200)}
    assert done.errors[-1].startswith("chunk 3 (rows 201 to 300): relation")
    assert counted(connection, "gone") == done.stored


def test_what_supabase_shows_as_an_address_is_taken_as_it_is(database: str) -> None:
    of_prisma = database.replace("postgresql://", "postgres://") + "?pgbouncer=true&connection_limit=1"
    assert account(store_results(responses(1), store=of_prisma)) == (1, 0, 0)


@pytest.mark.parametrize("own", [False, True], ids=["made-by-us", "of-their-own"])
def test_a_transaction_pooler_takes_results_as_the_server_itself_does(
    pooler_server: PoolerProcess, *, own: bool
) -> None:
    schema = "own" if own else "ours"
    with psycopg.connect(pooler_server.address, autocommit=True, prepare_threshold=None) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        if own:
            connection.execute(OF_THEIR_OWN.replace("TABLE mine", "TABLE own.mine").encode())
        for expected in ((250, 0, 0), (0, 250, 0)):
            stored = store_results(responses(250), store=pooler_server.address, table=f"{schema}.mine")
            assert account(stored) == expected
        assert counted(connection, f"{schema}.mine") == 250


def test_a_server_that_is_killed_and_started_again_takes_the_rest() -> None:
    with TemporaryDirectory(prefix="stagebook-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresProcess(Path(folder) / "data")
        server.start()

        def killing() -> Any:
            for number, response in enumerate(responses(600)):
                if number == 350:
                    server.kill()
                    threading.Timer(1.0, server.start).start()
                yield response

        try:
            told = store_results(killing(), store=server.address)
            # a chunk whose commit was done when its answer was lost is found there when it is sent again
            assert (told.stored + told.already_stored, told.already_stored in {0, 100}, told.failed) == (600, True, 0)
            with psycopg.connect(server.address) as connection:
                assert counted(connection, "prompt_evaluations") == 600
        finally:
            server.stop()


def test_strangers_see_nothing_of_a_table_made_on_supabase(database: str, connection: Connection[Any]) -> None:
    connection.execute("DO $$ BEGIN CREATE ROLE anon; EXCEPTION WHEN duplicate_object THEN END $$")
    try:
        store_results(responses(2), store=database)
        connection.execute("GRANT SELECT ON prompt_evaluations TO anon")
        with connection.transaction():
            connection.execute("SET LOCAL ROLE anon")
            assert counted(connection, "prompt_evaluations") == 0
        assert counted(connection, "prompt_evaluations") == 2
    finally:
        connection.execute("DROP OWNED BY anon")
        connection.execute("DROP ROLE anon")


def test_a_database_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(StoreError, match=r"the database db at 127.0.0.1 cannot be reached") as told:
        store_results(responses(1), store="postgresql://ann:hunter22@127.0.0.1:1/db")
    assert "hunter22" not in str(told.value)


def test_rows_that_a_trigger_keeps_out_are_told_and_the_others_stored(database: str) -> None:
    store_results(responses(1, metadata={"record_key": "an earlier one"}), store=database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE own (LIKE prompt_evaluations)")
        connection.execute("ALTER TABLE own DROP COLUMN record_key, DROP COLUMN id, DROP COLUMN created_at")
        connection.execute(
            """CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN IF NEW.prompt = 'prompt 1' THEN RETURN NULL; END IF; RETURN NEW; END$$"""
        )
        for table in ("own", "prompt_evaluations"):
            connection.execute(
                f"CREATE TRIGGER x BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION keep_out()".encode()
            )
    for table in ("own", "prompt_evaluations"):
        told = store_results(responses(3), store=database, table=table)
        assert (told.stored, told.already_stored, told.failed) == (2, 0, 1)
        assert "the table kept nothing of it" in told.errors[0]
        again = store_results(responses(3), store=database, table=table)
        assert (again.stored, again.already_stored, again.failed) == (0, 2, 1)


@pytest.mark.parametrize("unique", ["UNIQUE", ""], ids=["unique", "plain"])
def test_a_key_of_type_uuid_is_found_again(database: str, unique: str) -> None:
    store_results(responses(1), store=database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE own (LIKE prompt_evaluations)")
        connection.execute("ALTER TABLE own DROP COLUMN record_key, DROP COLUMN id, DROP COLUMN created_at")
        connection.execute(f"ALTER TABLE own ADD COLUMN record_key uuid {unique}".encode())
    failed = responses(1, success=False, response=None, metadata={"record_key": "0" * 32})
    answered = responses(1, metadata={"record_key": "0" * 32})
    for given, expected in ((failed, (1, 0, 0)), (answered, (1, 0, 0)), (answered, (0, 1, 0))):
        told = store_results([*given], store=database, table="own")
        assert (told.stored, told.already_stored, told.failed) == expected
