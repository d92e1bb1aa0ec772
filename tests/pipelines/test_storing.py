"""What is stored, in every place that results can go to."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg.rows import dict_row

from stagebook_pipelines.prompt_batch.results import BatchResult, Response, Stored
from stagebook_pipelines.prompt_batch.storing.record import COLUMNS
from stagebook_pipelines.prompt_batch.storing.store import StoreError
from stagebook_pipelines.prompt_batch.storing.store_results import store_results

PLACES = ("postgres", "sqlite", "jsonl", "parquet")


class Place:
    """Somewhere to store results, and how they are read there."""

    def __init__(self, kind: str, folder: Path, database: str) -> None:
        self.kind = kind
        ending = {"sqlite": "results.db", "jsonl": "results.jsonl", "parquet": "results.parquet"}
        self.store = database if kind == "postgres" else str(folder / ending[kind])

    def rows(self) -> list[dict[str, Any]]:
        """Read every row, in the order in which they were stored."""
        if self.kind == "jsonl":
            return [json.loads(line) for line in Path(self.store).read_text().splitlines()]
        if self.kind == "parquet":
            rows: list[dict[str, Any]] = pq.read_table(self.store).to_pylist()
        elif self.kind == "sqlite":
            with sqlite3.connect(self.store) as database:
                database.row_factory = sqlite3.Row
                rows = [dict(row) for row in database.execute("SELECT * FROM prompt_evaluations ORDER BY id")]
            database.close()
        else:
            with psycopg.connect(self.store, row_factory=dict_row) as connection:
                return connection.execute("SELECT * FROM prompt_evaluations ORDER BY id").fetchall()
        for row in rows:
            for name in ("metadata", "tags"):
                row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
            row["success"] = bool(row["success"])
        return rows


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    database = request.getfixturevalue("database") if request.param == "postgres" else ""
    return Place(request.param, tmp_path, database)


def responses(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"prompt {number}",
            "response": f"answer {number}",
            "model": "openai:gpt-4.1-mini",
            "timestamp": "2026-11-21T12:00:00Z",
            "success": True,
            "error": None,
            "metadata": {"duration_ms": number, "tokens_used": number},
            **more,
        }
        for number in range(count)
    ]


def account(stored: Stored) -> tuple[int, int, int]:
    return stored.stored, stored.already_stored, stored.failed


def test_every_field_of_a_response_is_a_column(place: Place) -> None:
    done = store_results(
        responses(1), store=place.store, experiment_name="first", tags=["a", "b"], metadata={"by": "me"}
    )
    assert account(done) == (1, 0, 0)
    row = place.rows()[0]
    assert set(COLUMNS) <= set(row)
    told = {name: row[name] for name in ("prompt", "response", "model", "success", "error", "experiment_name")}
    assert told == {
        "prompt": "prompt 0",
        "response": "answer 0",
        "model": "openai:gpt-4.1-mini",
        "success": True,
        "error": None,
        "experiment_name": "first",
    }
    assert list(row["tags"]) == ["a", "b"]
    assert row["metadata"] == {"by": "me", "duration_ms": 0, "tokens_used": 0}
    assert str(row["timestamp"]).replace("T", " ").startswith("2026-11-21 12:00:00")


def test_a_count_of_zero_is_zero_and_one_that_is_not_known_is_null(place: Place) -> None:
    store_results([*responses(1), {"prompt": "other", "response": "x"}], store=place.store)
    counts = [(row["duration_ms"], row["tokens_used"]) for row in place.rows()]
    assert counts == [(0, 0), (None, None)]


def test_what_was_stored_is_not_stored_again_and_what_is_new_is(place: Place) -> None:
    assert account(store_results(responses(250), store=place.store)) == (250, 0, 0)
    assert account(store_results(responses(260), store=place.store)) == (10, 250, 0)
    assert [row["prompt"] for row in place.rows()] == [f"prompt {number}" for number in range(260)]


def test_responses_that_are_the_very_same_are_each_stored_once(place: Place) -> None:
    samples = responses(1) * 3
    assert account(store_results(samples, store=place.store)) == (3, 0, 0)
    assert account(store_results(samples, store=place.store)) == (0, 3, 0)


def test_the_same_responses_of_another_experiment_are_rows_of_their_own(place: Place) -> None:
    store_results(responses(2), store=place.store, experiment_name="first")
    assert account(store_results(responses(2), store=place.store, experiment_name="second")) == (2, 0, 0)


def test_a_row_that_says_that_its_prompt_failed_is_replaced_by_its_answer_and_never_the_other_way(place: Place) -> None:
    known = {"metadata": {"record_key": "k"}}
    failed = responses(1, success=False, response=None, error="429", **known)
    assert account(store_results(failed, store=place.store)) == (1, 0, 0)
    done = store_results(responses(1, **known), store=place.store)
    assert (account(done), len(done.inserted_ids)) == ((1, 0, 0), 1)
    assert account(store_results(failed, store=place.store)) == (0, 1, 0)
    rows = place.rows()
    assert [(row["success"], row["response"], row["error"]) for row in rows] == [(True, "answer 0", None)]


def test_characters_that_no_database_takes_are_replaced_and_told(place: Place) -> None:
    poisoned = responses(3)
    poisoned[1] |= {"prompt": "a\0b", "response": "c\ud800d", "metadata": {"note\0": ["\udfff"]}}
    done = store_results(poisoned, store=place.store)
    assert account(done) == (3, 0, 0)
    assert done.warnings == [
        "chunk 1, row 2 ('a\ufffdb'): characters that no database takes were replaced in prompt, response, metadata"
    ]
    row = place.rows()[1]
    assert (row["prompt"], row["response"], row["metadata"]["note\ufffd"]) == ("a\ufffdb", "c\ufffdd", ["\ufffd"])


def test_what_is_no_response_is_named_with_its_row_and_stops_no_other(place: Place) -> None:
    given = [*responses(2), {"response": "to what?"}, {"prompt": "x", "timestamp": "yesterday"}]
    done = store_results(given, store=place.store)
    assert account(done) == (2, 0, 2)
    assert done.errors[0] == "chunk 1, row 3: prompt: field required"
    assert done.errors[1].startswith("chunk 1, row 4: timestamp: ")


def test_ids_of_written_rows_are_given(place: Place) -> None:
    done = store_results(responses(120), store=place.store)
    column = "id" if place.kind in {"postgres", "sqlite"} else "record_key"
    assert done.inserted_ids == [row[column] for row in place.rows()]


def test_a_table_of_the_users_own_keeps_its_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with sqlite3.connect(path) as database:
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        database.execute(f"CREATE TABLE prompt_evaluations ({columns}, reviewer)")
        database.execute("INSERT INTO prompt_evaluations (prompt, metadata) VALUES ('before', 'no JSON')")
    database.close()
    for expected in ((150, 0, 0), (0, 150, 0)):
        assert account(store_results(responses(150), store=str(path))) == expected
    known = {"metadata": {"record_key": "k"}}
    failed = responses(1, success=False, response=None, error="429", **known)
    assert account(store_results(failed, store=str(path))) == (1, 0, 0)
    assert account(store_results(responses(1, **known), store=str(path))) == (1, 0, 0)
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT count(*), sum(success), sum(reviewer IS NULL) FROM prompt_evaluations"
        ).fetchone()
    database.close()
    assert rows == (152, 151, 152)


def test_a_row_that_an_sqlite_table_refuses_is_named_and_the_others_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "strict.db"
    with sqlite3.connect(path) as database:
        columns = ", ".join(f'"{name}"' for name in COLUMNS if name != "prompt")
        database.execute(f"CREATE TABLE mine (prompt TEXT UNIQUE, {columns})")
        database.execute("INSERT INTO mine (prompt) VALUES ('prompt 4')")
    database.close()
    done = store_results(responses(8), store=f"sqlite:///{path}", table="mine")
    assert account(done) == (7, 0, 1)
    assert done.errors == ["chunk 1, row 5 ('prompt 4'): UNIQUE constraint failed: mine.prompt"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("held.jsonl", b'{"prompt": 1}\nno JSON\n', "line 2 of .*held.jsonl is not JSON"),
        ("held.parquet", b"PAR0", "held.parquet is not a Parquet file"),
        ("held.db", b"no database at all" * 100, "the table prompt_evaluations of .*held.db cannot be used"),
    ],
    ids=["jsonl", "parquet", "sqlite"],
)
def test_a_file_that_is_something_else_is_refused_and_left_as_it_is(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=told):
        store_results(responses(1), store=str(tmp_path / name))
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {name: content}


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    store_results(responses(2), store=str(path))
    before = path.read_bytes()

    def breaking() -> Any:
        yield from responses(150)[2:]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        store_results(breaking(), store=str(path))
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"results.jsonl": before}


def test_lines_of_others_in_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"note": "mine"}\n[1, 2]')
    store_results(responses(1), store=str(path))
    lines = path.read_text().splitlines()
    assert (lines[:2], len(lines)) == (['{"note": "mine"}', "[1, 2]"], 3)


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("results.csv", "results cannot be stored in 'results.csv'; give postgresql://"),
        ("mysql://host/db", "results cannot be stored in 'mysql://host/db'"),
        ("env:NOT_SET_ANYWHERE", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("sqlite:///x.db?", "no name of a table"),
        ("postgresql://host/db?nonsense=1", "the address of the database cannot be read"),
    ],
    ids=["csv", "mysql", "unset", "table", "parameter"],
)
def test_a_place_that_is_none_is_told_with_the_mend(store: str, told: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    table = 'x"; DROP TABLE y; --' if store.endswith("?") else "results"
    with pytest.raises(StoreError, match=told):
        store_results(responses(1), store=store, table=table)
    assert not list(tmp_path.iterdir())


def test_a_failure_is_replaced_by_an_answer_that_comes_in_a_later_chunk_of_the_same_call(place: Place) -> None:
    known = {"metadata": {"record_key": "the-one"}}
    failed = responses(1, success=False, response=None, error="boom", **known)
    done = store_results([*failed, *responses(120), *responses(1, **known)], store=place.store, experiment_name="e")
    assert (done.stored, done.failed) == (122, 0)
    rows = [row for row in place.rows() if row["prompt"] == "prompt 0"]
    assert [(row["success"], row["response"]) for row in rows] == [(True, "answer 0")] * 2
    assert len(place.rows()) == 121


def test_the_same_key_in_another_experiment_is_another_row(place: Place) -> None:
    known = responses(1, metadata={"record_key": "the-one"})
    told = [account(store_results(known, store=place.store, experiment_name=name)) for name in ("a", "b", "a")]
    assert told == [(1, 0, 0), (1, 0, 0), (0, 1, 0)]


def test_what_is_no_list_of_responses_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for wrong in ("text", responses(1)[0], Response(prompt="x"), 7):
        with pytest.raises(StoreError, match="a list of responses is stored"):
            store_results(wrong, store=str(tmp_path / "r.db"))  # type: ignore[arg-type]
    batch = BatchResult(
        responses=[Response(prompt="x")], total=1, successful=1, failed=0, total_duration_ms=1, run_id="r"
    )
    assert store_results(batch, store=str(tmp_path / "r.db")).stored == 1


OWN = """prompt TEXT {more}, response TEXT, model TEXT, success INT, error TEXT, timestamp TEXT, duration_ms INT,
    tokens_used INT, metadata TEXT, experiment_name TEXT, tags TEXT"""


def made(path: Path, *statements: str) -> str:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return str(path)


def test_a_view_of_sqlite_is_refused(tmp_path: Path) -> None:
    store = made(tmp_path / "r.db", f"CREATE TABLE t ({OWN.format(more='')})", "CREATE VIEW v AS SELECT * FROM t")
    with pytest.raises(StoreError, match="is a view, which keeps no rows of its own"):
        store_results(responses(1), store=store, table="v")


def test_a_table_of_sqlite_without_rowid_takes_results(tmp_path: Path) -> None:
    table = f"CREATE TABLE t ({OWN.format(more='PRIMARY KEY')}) WITHOUT ROWID"
    store = made(tmp_path / "r.db", table)
    first, second = (store_results(responses(3), store=store, table="t") for _ in range(2))
    assert (account(first), first.inserted_ids) == ((3, 0, 0), ["prompt 0", "prompt 1", "prompt 2"])
    assert account(second) == (0, 3, 0)


def test_rows_that_a_trigger_of_sqlite_keeps_out_are_told(tmp_path: Path) -> None:
    trigger = (
        """CREATE TRIGGER of_{0} BEFORE INSERT ON {0} WHEN NEW.prompt = 'prompt 1' BEGIN SELECT RAISE(IGNORE); END"""
    )
    store = str(tmp_path / "r.db")
    store_results(responses(1, metadata={"record_key": "an earlier one"}), store=store)
    made(
        tmp_path / "r.db", f"CREATE TABLE t ({OWN.format(more='')})", *map(trigger.format, ("t", "prompt_evaluations"))
    )
    for table in ("t", "prompt_evaluations"):
        origin = {"metadata": {"file": "a.jsonl", "index": 7}}
        told = store_results([*responses(1), *responses(2, **origin)[1:]], store=store, table=table)
        assert account(told) == (1, 0, 1)
        assert told.errors[0].startswith("chunk 1, row 2 (a.jsonl, prompt index 7: 'prompt 1'): the table kept nothing")
        assert account(store_results(responses(3), store=store, table=table)) == (1, 1, 1)
