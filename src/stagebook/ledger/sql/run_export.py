"""Writes a run as one document, row by row; the same rows give the same bytes."""

# ruff: noqa: S608  the statements are made of constants
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import orjson

from stagebook.ledger import run_format as f
from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.run_format import Json, bytes_kept, json_kept
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.sql.requests import read_request
from stagebook.model.errors import NotFound

Write = Callable[[bytes], object]
Places = Mapping[int, int]
"""Number of a row in the ledger -> its place in the document."""


def _columns(table: str, names: Iterable[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)


_RUN: Final = f"""
SELECT {_columns("r", f.RUN)}, p.run_id AS parent, r.settings, r.tags, r.input, d.hash, d.at, d.json
FROM runs r JOIN definitions d ON d.id = r.definition LEFT JOIN runs p ON p.id = r.parent WHERE r.id = ?
"""
_PROMPT_IDS: Final = """
SELECT DISTINCT g.prompt_id FROM stages g JOIN runs r ON r.definition = g.definition
WHERE r.id = ? AND g.prompt_id IS NOT NULL ORDER BY g.prompt_id
"""
_PROMPT: Final = "SELECT p.hash, p.name, p.at, p.text FROM prompts p WHERE p.hash = ?"
_STEPS: Final = f"""
SELECT s.id, {_columns("s", f.STEP)}, s.attempts, s.fingerprint, s.warnings, s.reads, r.run_id AS other_run,
    o.stage AS other_stage, o.item AS other_item
FROM steps s LEFT JOIN steps o ON o.id = s.reused_from LEFT JOIN runs r ON r.id = o.run WHERE s.run = ? ORDER BY s.id
"""
_ATTEMPTS: Final = f"""
SELECT a.step, {_columns("a", f.ATTEMPT)} FROM attempts a JOIN steps s ON s.id = a.step
WHERE s.run = ? ORDER BY a.step, a.number
"""
_OUTPUTS: Final = f"""
SELECT o.id, {_columns("o", f.OUTPUT)}, o.step, o.content_hash, o.data FROM outputs o WHERE o.run = ? ORDER BY o.id
"""
_EXCHANGES: Final = f"""
SELECT e.id, {_columns("e", f.EXCHANGE)}, e.step, e.usage, e.method, e.url, e.request_headers, e.request_hash,
    e.request_size, e.skeleton, e.response_headers, e.response
FROM exchanges e WHERE e.run = ? ORDER BY e.id
"""
_LARGE: Final = """
SELECT g.at, p.size FROM segments g JOIN payloads p ON p.hash = g.payload WHERE g.exchange = ? ORDER BY g.position
"""
_CLAIMS: Final = f"SELECT {_columns('c', f.CLAIM)}, c.output, c.source FROM claims c WHERE c.run = ? ORDER BY c.id"
_SCORES: Final = f"SELECT {_columns('c', f.SCORE)}, c.output FROM scores c WHERE c.run = ? ORDER BY c.id"
_MARKS: Final = f"SELECT {_columns('m', f.MARK)} FROM marks m WHERE m.run = ? ORDER BY m.id"
_EVENTS: Final = f"SELECT {_columns('e', f.EVENT)}, e.step, e.data FROM events e WHERE e.run = ? ORDER BY e.seq"


class RunExport:
    """One run on its way out.

    Args:
        connection: In a transaction, so that all is of one moment.
        blobs: Where large payloads are.
        run: Id of the run.
    """

    def __init__(self, connection: Connection, blobs: BlobFiles, run: int) -> None:
        self._connection = connection
        self._blobs = blobs
        self._run = run
        self._steps: Places = self._places("steps")
        self._outputs: Places = self._places("outputs")

    def write(self, write: Write) -> None:
        """Write the document, a line for each row.

        Args:
            write: Takes the next piece.

        Raises:
            NotFound: No such run.
            LedgerError: What is stored is damaged.
        """
        head = {"format": f.FORMAT, "version": f.VERSION, **self._head()}
        write(b"{\n" + b",\n".join(_member(name, value) for name, value in head.items()))
        parts: tuple[tuple[str, Iterator[Json]], ...] = (
            ("prompts", self._prompts()),
            ("steps", self._with_attempts()),
            ("outputs", self._all_outputs()),
            ("exchanges", self._exchanges()),
            ("claims", self._claims()),
            ("scores", self._scores()),
            ("marks", (dict(row) for row in self._rows(_MARKS))),
            ("events", self._events()),
        )
        for name, rows in parts:
            write(f',\n"{name}": ['.encode())
            between = b"\n"
            for row in rows:
                write(between + orjson.dumps(row))
                between = b",\n"
            write(b"]" if between == b"\n" else b"\n]")
        write(b"\n}\n")

    def _head(self) -> dict[str, Json]:
        row = next(iter(self._rows(_RUN)), None)
        if row is None:
            raise NotFound(f"run {self._run} is not in this ledger; it may have been deleted")
        given = read_payload(self._connection, self._blobs, row["input"])
        run = {name: row[name] for name in f.RUN} | {
            "parent": row["parent"],
            "settings": json_kept(row["settings"]),
            "tags": json_kept(row["tags"]),
            "input": json_kept(given.decode()),
            "input_hash": row["input"].hex(),
        }
        definition = {"hash": row["hash"].hex(), "at": row["at"], "json": json_kept(row["json"])}
        return {"run": run, "definition": definition}

    def _prompts(self) -> Iterator[Json]:
        for row in self._rows(_PROMPT_IDS):
            try:
                digest = bytes.fromhex(row["prompt_id"])
            except ValueError:  # of a definition that was not made by Stagebook
                continue
            for prompt in self._rows(_PROMPT, digest):
                yield prompt | {"hash": prompt["hash"].hex()}

    def _with_attempts(self) -> Iterator[Json]:
        attempts = {
            step: [{name: one[name] for name in f.ATTEMPT} for one in found]
            for step, found in groupby(self._rows(_ATTEMPTS), key=lambda one: one["step"])
        }
        for row in self._rows(_STEPS):
            other = None
            if row["other_stage"] is not None:
                other = {"run_id": row["other_run"], "stage": row["other_stage"], "item": row["other_item"]}
            yield {name: row[name] for name in f.STEP} | {
                "attempts_begun": row["attempts"],
                "fingerprint": None if row["fingerprint"] is None else row["fingerprint"].hex(),
                "warnings": json_kept(row["warnings"]),
                "reads": None if row["reads"] is None else self._read(orjson.loads(row["reads"]), top=True),
                "reused_from": other,
                "attempts": attempts.get(row["id"], []),
            }

    def _read(self, value: Json, *, top: bool = False) -> Json:
        """Name outputs by their place in what a step read; one of another run has none."""
        if isinstance(value, dict):
            return value if not top and f.is_count(value) else {name: self._read(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._read(one) for one in value]
        return {"output": self._outputs.get(value)} if isinstance(value, int) else value

    def _all_outputs(self) -> Iterator[Json]:
        for row in self._rows(_OUTPUTS):
            yield {name: row[name] for name in f.OUTPUT} | {
                "step": self._steps.get(row["step"]),
                "hash": None if row["content_hash"] is None else row["content_hash"].hex(),
                "data": json_kept(row["data"]),
            }

    def _exchanges(self) -> Iterator[Json]:
        for row in self._rows(_EXCHANGES):
            purged = row["skeleton"] is None and row["request_size"] > 0
            body = None if purged else read_request(self._connection, self._blobs, row["id"])
            request = {
                "method": row["method"],
                "url": row["url"],
                "headers": json_kept(row["request_headers"]),
                "hash": row["request_hash"].hex(),
                "size": row["request_size"],
                "body": bytes_kept(body),
                "large": self._large(row["id"]),
            }
            response = {
                "headers": json_kept(row["response_headers"]),
                "body": bytes_kept(self._answer(row["response"])),
                "hash": None if row["response"] is None else row["response"].hex(),
            }
            yield {name: row[name] for name in f.EXCHANGE} | {
                "step": self._steps.get(row["step"]),
                "usage": json_kept(row["usage"]),
                "request": request,
                "response": None if row["response_headers"] is None else response,
            }

    def _answer(self, digest: bytes | None) -> bytes | None:
        return None if digest is None else read_payload(self._connection, self._blobs, digest)

    def _large(self, exchange: int) -> list[tuple[int, int]]:
        """Say which parts of a body are kept by themselves: (first byte, length), so that they will be again."""
        parts: list[tuple[int, int]] = []
        before = 0
        for at, size in self._connection.execute(_LARGE, (exchange,)):
            parts.append((at + before, size))
            before += size
        return parts

    def _claims(self) -> Iterator[Json]:
        for row in self._rows(_CLAIMS):
            yield {name: row[name] for name in f.CLAIM} | {
                "output": self._outputs.get(row["output"]),
                "source": json_kept(row["source"]),
            }

    def _scores(self) -> Iterator[Json]:
        for row in self._rows(_SCORES):
            yield {name: row[name] for name in f.SCORE} | {"output": self._outputs.get(row["output"])}

    def _events(self) -> Iterator[Json]:
        for row in self._rows(_EVENTS):
            yield {name: row[name] for name in f.EVENT} | {
                "step": self._steps.get(row["step"]),
                "data": json_kept(row["data"]),
            }

    def _places(self, table: str) -> Places:
        rows = self._connection.execute(f"SELECT id FROM {table} WHERE run = ? ORDER BY id", (self._run,))
        return {row[0]: place for place, row in enumerate(rows)}

    def _rows(self, sql: str, of: object = None) -> Iterator[dict[str, Any]]:  # Any: one type per column
        cursor = self._connection.execute(sql, (self._run if of is None else of,))
        names: Sequence[str] = [column[0] for column in cursor.description or ()]
        return (dict(zip(names, row, strict=True)) for row in cursor)


def _member(name: str, value: Json) -> bytes:
    return f'"{name}": '.encode() + orjson.dumps(value)
