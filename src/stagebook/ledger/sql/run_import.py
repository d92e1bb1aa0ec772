"""Takes a run's document into a ledger: what it says of itself is compared with what is there, byte by byte."""

# ruff: noqa: S608  the statements are made of constants
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import orjson

from stagebook.ledger import run_format as f
from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.clock import now
from stagebook.ledger.commands import ReserveWriter
from stagebook.ledger.entry import KIND_BYTES, Body, Likeness
from stagebook.ledger.ids import COUNTER_BITS
from stagebook.ledger.payload_codec import DICTIONARY_LEAST
from stagebook.ledger.run_format import Json, json_text, kept_bytes
from stagebook.ledger.sql.command_rows import reserve_writer
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.definition_rows import write_definition
from stagebook.ledger.sql.payloads import PayloadWriter
from stagebook.ledger.sql.run_export import RunExport
from stagebook.ledger.sql.statements import PAYLOAD, PROMPT, SEGMENT
from stagebook.model.errors import InputError
from stagebook.model.exchange import Request, content_hash
from stagebook.model.status import ExchangeState, StepStatus, Wish

RUN_ID: Final = re.compile(r"RUN_[A-Za-z0-9_-]{1,60}")
_REPLACED: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    run_id: str
    new: bool
    """Whether it was not there already, with the same content."""
    steps: int
    exchanges: int


def read_document(data: bytes) -> Json:
    """Read a run's document.

    Raises:
        InputError: It is none, or of a version that is not known.
    """
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InputError(f"it is not JSON ({error}); was it cut short?") from None
    if not isinstance(document, dict) or document.get("format") != f.FORMAT:
        raise InputError(f"it is no run: its format is not {f.FORMAT!r}; `stagebook export RUN --to PATH` writes one")
    if document.get("version") != f.VERSION:
        raise InputError(
            f"it is of version {document.get('version')}, and this Stagebook reads {f.VERSION}: update stagebook"
        )
    return document


def import_run(connection: Connection, blobs: BlobFiles, document: Json, *, files: bool) -> Imported:
    """Write a run's rows under new numbers; its readable id stays.

    Args:
        connection: In a transaction that writes.
        blobs: Where large payloads go.
        document: As `read_document` gives it.
        files: Whether there is a place for them.

    Raises:
        InputError: The document is not whole, a hash does not fit, or another run is called so.
    """
    try:
        run_id = str(document["run"]["run_id"])
        if RUN_ID.fullmatch(run_id) is None:  # it names files
            raise InputError(f"{run_id!r} is no id of a run, such as RUN_20260115_181206")
        told = Imported(run_id, True, len(document["steps"]), len(document["exchanges"]))
        row = connection.execute("SELECT id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            _Import(connection, blobs, document, files=files).write()
            return told
        if f.in_other_ledgers(_exported(connection, blobs, row[0])) == f.in_other_ledgers(document):
            return Imported(run_id, False, told.steps, told.exchanges)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, connection.IntegrityError) as error:
        raise InputError(f"it is not whole, or was changed: {type(error).__name__}: {error}") from error
    raise InputError(
        f"another {run_id} is in this ledger, with other content (it may have gone on since); "
        "import it into another ledger with --ledger, or delete the one that is here"
    )


def _exported(connection: Connection, blobs: BlobFiles, run: int) -> Json:
    written = bytearray()
    RunExport(connection, blobs, run).write(written.extend)
    return orjson.loads(written)


class _Import:
    """One run on its way in."""

    def __init__(self, connection: Connection, blobs: BlobFiles, document: Json, *, files: bool) -> None:
        self._connection = connection
        self._document = document
        self._payloads = PayloadWriter(connection, blobs, files=files)
        writer = reserve_writer(connection, ReserveWriter(os.getpid(), platform.node(), now()))
        numbers = count(writer << COUNTER_BITS)
        self._run = next(numbers)
        self._steps = [next(numbers) for _ in document["steps"]]
        self._outputs = [next(numbers) for _ in document["outputs"]]
        self._numbers = numbers

    def write(self) -> None:
        """Write everything."""
        self._write_run()
        for prompt in self._document["prompts"]:
            digest = bytes.fromhex(prompt["hash"])
            if _REPLACED not in prompt["text"]:
                _compare(digest, prompt["text"].encode(), f"the prompt {prompt['name']}")
            self._connection.execute(PROMPT.sql, (digest, prompt["name"], prompt["text"], prompt["at"]))
        for number, step in zip(self._steps, self._document["steps"], strict=True):
            self._write_step(number, step)
        self._write_outputs()
        for exchange in self._document["exchanges"]:
            self._write_exchange(exchange)
        for claim in self._document["claims"]:
            more = {"output": self._output(claim["output"]), "source": json_text(claim["source"])}
            self._insert("claims", f.CLAIM, claim, id=next(self._numbers), run=self._run, **more)
        for score in self._document["scores"]:
            output = self._output(score["output"])
            self._insert("scores", f.SCORE, score, id=next(self._numbers), run=self._run, output=output)
        for mark in self._document["marks"]:
            self._insert("marks", f.MARK, mark, id=next(self._numbers), run=self._run)
        for event in self._document["events"]:
            more = {"step": self._step(event["step"]), "data": json_text(event["data"])}
            self._insert("events", f.EVENT, event, run=self._run, **more)

    def _write_run(self) -> None:
        run, definition = self._document["run"], self._document["definition"]
        declared = (json_text(definition["json"]) or "").encode()
        _compare(bytes.fromhex(definition["hash"]), declared, "the definition")
        given = (json_text(run["input"]) or "").encode()
        digest = bytes.fromhex(run["input_hash"])
        _compare(digest, given, "the input")
        self._store([Body(digest, given, plain=len(given) < DICTIONARY_LEAST)])
        parent = self._connection.execute("SELECT id FROM runs WHERE run_id = ?", (run["parent"],)).fetchone()
        self._insert(
            "runs",
            f.RUN,
            run,
            id=self._run,
            definition=write_definition(self._connection, run["pipeline"], declared, definition["at"]),
            input=digest,
            wish=Wish(run["wish"]),
            settings=json_text(run["settings"]),
            tags=json_text(run["tags"]),
            parent=None if parent is None else parent[0],
        )

    def _write_step(self, number: int, step: Json) -> None:
        fingerprint = step["fingerprint"]
        reads = None if step["reads"] is None else orjson.dumps(self._read(step["reads"], top=True)).decode()
        self._insert(
            "steps",
            f.STEP,
            step,
            id=number,
            run=self._run,
            attempts=step["attempts_begun"],
            status=StepStatus(step["status"]),
            fingerprint=None if fingerprint is None else bytes.fromhex(fingerprint),
            warnings=json_text(step["warnings"]),
            reads=reads,
            reused_from=self._other_step(step["reused_from"]),
        )
        for attempt in step["attempts"]:
            self._insert("attempts", f.ATTEMPT, attempt, step=number)

    def _read(self, value: Json, *, top: bool = False) -> Json:
        if isinstance(value, dict):
            if not top and set(value) == {"output"} and not isinstance(value["output"], dict):
                return self._output(value["output"])
            return value if not top and f.is_count(value) else {name: self._read(one) for name, one in value.items()}
        return [self._read(one) for one in value] if isinstance(value, list) else value

    def _other_step(self, other: Json) -> int | None:
        if other is None:
            return None
        row = self._connection.execute(
            "SELECT s.id FROM steps s JOIN runs r ON r.id = s.run WHERE r.run_id = ? AND s.stage = ? AND s.item = ?",
            (other["run_id"], other["stage"], other["item"]),
        ).fetchone()
        return None if row is None else int(row[0])

    def _write_outputs(self) -> None:
        outputs = self._document["outputs"]
        numbers = {
            (output["stage"], output["item"], output["version"]): number
            for number, output in zip(self._outputs, outputs, strict=True)
        }
        for number, output in zip(self._outputs, outputs, strict=True):
            stage, item, version = output["stage"], output["item"], output["version"]
            data = json_text(output["data"])
            digest = None if output["hash"] is None else bytes.fromhex(output["hash"])
            if digest is not None and not output["nul_replaced"]:
                _compare(digest, (data or "").encode(), f"version {version} of the output of {stage}")
            self._insert(
                "outputs",
                f.OUTPUT,
                output,
                id=number,
                run=self._run,
                step=self._step(output["step"]) or 0,
                first=numbers[stage, item, 1],
                replaces=numbers.get((stage, item, version - 1)),
                content_hash=digest,
                data=data,
            )

    def _write_exchange(self, exchange: Json) -> None:
        number = next(self._numbers)
        request, response = exchange["request"], exchange["response"]
        body = kept_bytes(request["body"])
        answer = None if response is None else kept_bytes(response["body"])
        digest = bytes.fromhex(request["hash"])
        sent = None if body is None else Request(request["method"], request["url"], (body,))
        if sent is not None and (sent.digest() != digest or len(sent.body) != request["size"]):
            raise InputError(f"the request to {request['url']} does not have the hash of what was sent")
        bodies, splices, skeleton = _cut(body or b"", request["large"], self._run)
        if answer is not None:
            _compare(bytes.fromhex(response["hash"]), answer, f"an answer of {request['url']}")
        self._insert(
            "exchanges",
            f.EXCHANGE,
            exchange,
            id=number,
            run=self._run,
            step=self._step(exchange["step"]),
            state=ExchangeState(exchange["state"]),
            usage=json_text(exchange["usage"]),
            method=request["method"],
            url=request["url"],
            request_headers=json_text(request["headers"]),
            request_hash=digest,
            request_size=request["size"],
            skeleton=skeleton,
            response_headers=None if response is None else json_text(response["headers"]),
            response=None if answer is None else content_hash(answer),
        )
        self._connection.executemany(
            SEGMENT.sql, [(number, position, at, payload) for position, (at, payload) in enumerate(splices)]
        )
        if bodies and bodies[0].like is not None:
            self._payloads.sent(number, bodies[0].like)
        self._store(bodies)
        if answer is not None:
            self._store([Body(content_hash(answer), answer, answer_to=number)])

    def _store(self, bodies: Sequence[Body]) -> None:
        self._connection.executemany(PAYLOAD.sql, self._payloads.pack(bodies))
        self._payloads.stored(bodies)

    def _step(self, place: Any) -> int | None:
        return None if place is None else self._steps[place]

    def _output(self, place: Any) -> int | None:
        return None if place is None else self._outputs[place]

    def _insert(self, table: str, columns: Sequence[str], row: Json, **more: object) -> None:
        """Write a row: columns as the document has them, and others, which stand before those of the same name."""
        values = {name: row[name] for name in columns} | more
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def _cut(body: bytes, large: Json, run: int) -> tuple[list[Body], list[tuple[int, bytes]], bytes | None]:
    """Part a body as it was parted: (payloads, the skeleton first; large parts and their places; skeleton's hash)."""
    if not body:
        return [], [], None
    like = Likeness(run, body[:KIND_BYTES])
    skeleton = bytearray()
    splices: list[tuple[int, bytes]] = []
    parts: list[Body] = []
    done = 0
    for start, size in large:
        part = body[start : start + size]
        skeleton += body[done:start]
        splices.append((len(skeleton), content_hash(part)))
        parts.append(Body(content_hash(part), part, Likeness(run, like.kind, part=True)))
        done = start + size
    skeleton += body[done:]
    digest = content_hash(bytes(skeleton))
    return [Body(digest, bytes(skeleton), like), *parts], splices, digest


def _compare(digest: bytes, data: bytes, what: str) -> None:
    if content_hash(data) != digest:
        raise InputError(f"{what} does not have the hash that stands beside it: the document was changed or damaged")
