"""Batches as the fake provider takes them: OpenAI's, of an uploaded file, and Anthropic's, with all their requests.

Shapes and lists of fields are those of OpenAI's Python package 3.54 (`types/batch.py`, `types/file_object.py`) and
Anthropic's 2.12 (`types/messages/message_batch.py`). A request is answered, and charged at half price, when its batch
comes to it; results stand in another order than the requests.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from stagebook.testing.provider_bill import BillEntry, Ending
from stagebook.testing.provider_faults import BatchFaults
from stagebook.testing.provider_formats import CHAT, MESSAGES, RESPONSES, Format
from stagebook.testing.provider_request import Rejection

MOST_REQUESTS: Final[Mapping[str, int]] = {"openai": 50_000, "anthropic": 100_000}
MOST_BYTES: Final[Mapping[str, int]] = {"openai": 200_000_000, "anthropic": 256_000_000}
_ENDPOINTS: Final[Mapping[str, Format]] = {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSES}
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DAY: Final = 86_400
_PAGE: Final = 20
_OK: Final = 200
_KINDS: Final[Mapping[int, str]] = {429: "rate_limit_error", 413: "request_too_large", 529: "overloaded_error"}


class Processed(NamedTuple):
    """What came of one request of a batch."""

    entry: BillEntry
    status: int
    body: bytes | None
    """None: the results do not mention it."""


Process = Callable[[Format, bytes, Mapping[str, str], str], Processed]
"""Answers one request of a batch: its format, body, the headers that the batch came with, the batch."""


class Reply(NamedTuple):
    """What the server writes."""

    body: bytes
    status: int = _OK
    cut: bool = False
    """Close the connection instead, though what was asked for is done."""
    headers: Mapping[str, str] = {}


@dataclass(slots=True)
class _Batch:
    """One batch at the provider."""

    handle: str
    kind: str
    """`openai` or `anthropic`."""
    form: Format
    requests: list[tuple[str, bytes]]
    headers: Mapping[str, str]
    created_at: float
    ready_at: float
    most: int
    """Requests that it comes to before it expires."""
    file: str = ""
    endpoint: str = ""
    metadata: Any = None
    refused: str | None = None
    """The code with which it failed."""
    cancelled: bool = False
    answers: list[tuple[str, Processed]] = field(default_factory=list)

    def is_over(self, at: float) -> bool:
        """Whether nothing more will come of it."""
        return self.refused is not None or self.cancelled or at >= self.ready_at

    @property
    def expired(self) -> bool:
        """Whether its time was over before it came to all."""
        return self.most < len(self.requests)


class BatchCounter:
    """Takes batches and gives their results.

    Args:
        process: Answers a request.
        faults: Says what goes wrong; read anew each time, as a script may be replaced.
    """

    def __init__(self, process: Process, faults: Callable[[], BatchFaults]) -> None:
        self._process = process
        self._faults = faults
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, _Batch] = {}
        self._uploads = self._creations = self._made = 0

    def respond(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        """Answer a request about batches; the path is without `/v1`."""
        for batch in self._batches.values():
            self._work(batch)
        parts = path.strip("/").split("/")
        if parts[0] == "messages":
            return self._anthropic(method, parts[2:], query, body, headers)
        return self._openai(method, parts, query, body, headers)

    def count_anew(self) -> None:
        """Begin to count uploads and creations from 1, as another script holds now."""
        self._uploads = self._creations = 0

    def forget(self) -> None:
        """Forget all batches and files."""
        self._files.clear()
        self._batches.clear()

    def settle(self) -> None:
        """Bring every batch up to the present moment."""
        for batch in self._batches.values():
            self._work(batch)

    def _openai(
        self, method: str, parts: list[str], query: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        match method, parts:
            case "POST", ["files"]:
                return self._upload(body, headers)
            case "GET", ["files", handle, "content"] if handle in self._files or handle[:4] in {"out-", "err-"}:
                return self._content(handle)
            case "POST", ["batches"]:
                return self._create_openai(body, headers)
            case "GET", ["batches"]:
                return _page(query.get("after"), query, self._all("openai"), self._document)
            case "GET", ["batches", handle] if handle in self._batches:
                return Reply(self._document(self._batches[handle]))
            case "POST", ["batches", handle, "cancel"] if handle in self._batches:
                self._batches[handle].cancelled = True
                return Reply(self._document(self._batches[handle]))
        return _refusal(404, f"No such object: {'/'.join(parts)}")

    def _anthropic(
        self, method: str, parts: list[str], query: Mapping[str, str], body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        match method, parts:
            case "POST", []:
                return self._create_anthropic(body, headers)
            case "GET", []:
                return _page(query.get("after_id"), query, self._all("anthropic"), self._document)
            case "GET", [handle] if handle in self._batches:
                return Reply(self._document(self._batches[handle]))
            case "GET", [handle, "results"] if handle in self._batches:
                return Reply(self._anthropic_results(self._batches[handle]))
            case "POST", [handle, "cancel"] if handle in self._batches:
                self._batches[handle].cancelled = True
                return Reply(self._document(self._batches[handle]))
        return _refused_by_anthropic(404, f"Not found: {'/'.join(parts)}")

    def _upload(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        self._uploads += 1
        if self._uploads in self._faults().busy_uploads:
            return _refusal(429, "Rate limit reached for files.", {"Retry-After": "0.01"})
        kind, _, boundary = headers.get("Content-Type", "").partition("boundary=")
        if not kind.startswith("multipart/form-data") or not boundary:
            return _refusal(400, "Invalid Content-Type: expected multipart/form-data with a boundary")
        fields = dict(_parts(body, boundary.encode()))
        if fields.get("purpose") != b"batch":
            return _refusal(400, "Missing or invalid parameter: 'purpose'.")
        if not fields.get("file"):
            return _refusal(400, "Missing required parameter: 'file'.")
        if len(fields["file"]) > MOST_BYTES["openai"]:
            return _refusal(413, "The file is larger than 200 MB.")
        self._made += 1
        handle = f"file-{self._made}"
        self._files[handle] = fields["file"]
        document = {"id": handle, "object": "file", "bytes": len(fields["file"]), "created_at": int(time.time())}
        return Reply(
            orjson.dumps({**document, "filename": "stagebook.jsonl", "purpose": "batch", "status": "processed"})
        )

    def _create_openai(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        wanted = orjson.loads(body)
        content, form = self._files.get(wanted.get("input_file_id")), _ENDPOINTS.get(wanted.get("endpoint"))
        if content is None or form is None or wanted.get("completion_window") != "24h":
            return _refusal(400, "Invalid input_file_id, endpoint or completion_window.")
        requests, objection = _lines(content, wanted["endpoint"])
        return self._begin("openai", form, requests, headers, objection, wanted)

    def _create_anthropic(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        if not headers.get("anthropic-version"):
            return _refused_by_anthropic(400, "anthropic-version: header is required")
        if len(body) > MOST_BYTES["anthropic"]:
            return _refused_by_anthropic(413, "Request exceeds the maximum size")
        try:
            requests = [(one["custom_id"], orjson.dumps(one["params"])) for one in orjson.loads(body)["requests"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return _refused_by_anthropic(400, "requests: Field required")
        names = [name for name, _ in requests]
        if not names or len(names) > MOST_REQUESTS["anthropic"]:
            return _refused_by_anthropic(400, "requests: between 1 and 100000 requests are needed")
        if len(set(names)) < len(names) or not all(_CUSTOM_ID.fullmatch(name) for name in names):
            return _refused_by_anthropic(400, "requests: custom_id must be unique, of [a-zA-Z0-9_-]{1,64}")
        return self._begin("anthropic", MESSAGES, requests, headers, None, {})

    def _begin(
        self,
        kind: str,
        form: Format,
        requests: list[tuple[str, bytes]],
        headers: Mapping[str, str],
        objection: str | None,
        wanted: Mapping[str, Any],
    ) -> Reply:
        self._creations += 1
        number, faults = self._creations, self._faults()
        at = time.time() + (faults.late_by if number in faults.cut_creations else 0.0)
        if number in faults.busy_creations:
            busy = "Too many batches are being created, please try again later."
            return _refusal(429, busy) if kind == "openai" else _refused_by_anthropic(429, busy)
        self._made += 1
        most = int(len(requests) * faults.share) if number in faults.expire else len(requests)
        handle = f"{'batch_' if kind == 'openai' else 'msgbatch_'}{self._made}"
        batch = _Batch(handle, kind, form, requests, headers, at, at + faults.seconds, most)
        batch.file, batch.endpoint = wanted.get("input_file_id", ""), wanted.get("endpoint", "")
        batch.metadata = wanted.get("metadata")
        batch.refused = "token_limit_exceeded" if number in faults.full else objection
        self._batches[handle] = batch
        return Reply(self._document(batch), cut=number in faults.cut_creations)

    def _all(self, kind: str) -> list[_Batch]:
        now = time.time()
        return [one for one in reversed(self._batches.values()) if one.kind == kind and one.created_at <= now]

    def _work(self, batch: _Batch) -> None:
        """Answer the requests that it has come to by now."""
        if batch.refused is not None or batch.cancelled:
            return
        at, length = time.time(), batch.ready_at - batch.created_at
        if at < batch.created_at:
            return
        share = 1.0 if at >= batch.ready_at else (at - batch.created_at) / length
        for name, body in batch.requests[len(batch.answers) : int(batch.most * share)]:
            batch.answers.append((name, self._process(batch.form, body, batch.headers, batch.handle)))

    def _document(self, batch: _Batch) -> bytes:
        return orjson.dumps(_openai_batch(batch) if batch.kind == "openai" else _anthropic_batch(batch))

    def _content(self, handle: str) -> Reply:
        batch = self._batches.get(handle[4:])
        if batch is None:
            return Reply(self._files[handle]) if handle in self._files else _refusal(404, "No such file")
        lines: list[dict[str, Any]] = []
        for name, done in reversed(batch.answers):
            if done.body is not None and (done.status == _OK) == (handle[:4] == "out-"):
                done.entry.end(Ending.ANSWERED if done.status == _OK else Ending.REJECTED)
                answer = {"status_code": done.status, "request_id": f"req_{name}", "body": orjson.Fragment(done.body)}
                lines.append({"id": f"batch_req_{name}", "custom_id": name, "response": answer, "error": None})
        if handle[:4] == "err-":
            code = "batch_cancelled" if batch.cancelled else "batch_expired"
            message = "This request could not be executed before the completion window expired."
            for name, _ in batch.requests[len(batch.answers) :]:
                error = {"code": code, "message": message}
                lines.append({"id": f"batch_req_{name}", "custom_id": name, "error": error})
        return Reply(b"".join(orjson.dumps(line) + b"\n" for line in lines))

    def _anthropic_results(self, batch: _Batch) -> bytes:
        lines: list[dict[str, Any]] = []
        for name, done in reversed(batch.answers):
            if done.body is None:
                continue
            done.entry.end(Ending.ANSWERED if done.status == _OK else Ending.REJECTED)
            result: dict[str, Any] = {"type": "succeeded", "message": orjson.Fragment(done.body)}
            if done.status != _OK:
                result = {"type": "errored", "error": orjson.loads(done.body)}
            lines.append({"custom_id": name, "result": result})
        rest = "canceled" if batch.cancelled else "expired"
        lines += [{"custom_id": name, "result": {"type": rest}} for name, _ in batch.requests[len(batch.answers) :]]
        return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def _openai_batch(batch: _Batch) -> dict[str, Any]:
    over = batch.is_over(time.time())
    well = sum(done.status == _OK for _, done in batch.answers)
    failed = len(batch.answers) - well
    status = "in_progress"
    if batch.refused is not None:
        status = "failed"
    elif over:
        status = "cancelled" if batch.cancelled else "expired" if batch.expired else "completed"
    files = over and batch.refused is None
    left = failed or len(batch.answers) < len(batch.requests)
    errors = None
    if batch.refused is not None:
        reason = {"code": batch.refused, "message": f"The batch failed: {batch.refused}", "line": None, "param": None}
        errors = {"object": "list", "data": [reason]}
    return {
        "id": batch.handle,
        "object": "batch",
        "endpoint": batch.endpoint,
        "completion_window": "24h",
        "input_file_id": batch.file,
        "status": status,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at) + _DAY,
        "errors": errors,
        "output_file_id": f"out-{batch.handle}" if files and well else None,
        "error_file_id": f"err-{batch.handle}" if files and left else None,
        "request_counts": {"total": len(batch.requests), "completed": well, "failed": failed},
        "metadata": batch.metadata,
    }


def _anthropic_batch(batch: _Batch) -> dict[str, Any]:
    over = batch.is_over(time.time())
    well = sum(done.status == _OK for _, done in batch.answers) if over else 0
    errored = len(batch.answers) - well if over else 0
    left = len(batch.requests) - well - errored
    counts = {"processing": 0 if over else left, "succeeded": well, "errored": errored}
    counts |= {"canceled": left if over and batch.cancelled else 0}
    counts |= {"expired": left if over and not batch.cancelled else 0}
    return {
        "id": batch.handle,
        "type": "message_batch",
        "processing_status": "ended" if over else "in_progress",
        "request_counts": counts,
        "created_at": datetime.fromtimestamp(batch.created_at, UTC).isoformat(),
        "expires_at": datetime.fromtimestamp(batch.created_at + _DAY, UTC).isoformat(),
        "ended_at": datetime.fromtimestamp(batch.ready_at, UTC).isoformat() if over else None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"https://elsewhere.invalid/{batch.handle}/results" if over else None,
    }


def _page(
    after: str | None, query: Mapping[str, str], found: list[_Batch], document: Callable[[_Batch], bytes]
) -> Reply:
    """Write a page of a list, newest first."""
    names = [one.handle for one in found]
    start = names.index(after) + 1 if after in names else 0
    size = int(query.get("limit", _PAGE))
    page = found[start : start + size]
    data = [orjson.loads(document(one)) for one in page]
    more = {"has_more": start + size < len(found), "first_id": names[start] if page else None}
    return Reply(orjson.dumps({"object": "list", "data": data, **more, "last_id": page[-1].handle if page else None}))


def _lines(content: bytes, endpoint: str) -> tuple[list[tuple[str, bytes]], str | None]:
    """Read the lines of a batch's file, or say with which code such a batch fails."""
    found: dict[str, bytes] = {}
    models = set()
    for text in content.splitlines():
        try:
            line = orjson.loads(text)
            name, body = line["custom_id"], line["body"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return [], "invalid_json_line"
        if line.get("method") != "POST" or line.get("url") != endpoint:
            return [], "invalid_url"
        if name in found:
            return [], "duplicate_custom_id"
        models.add(body.get("model"))
        found[name] = orjson.dumps(body)
    if len(models) > 1:
        return [], "mismatched_model"
    if not found or len(found) > MOST_REQUESTS["openai"]:
        return [], "empty_file" if not found else "maximum_requests_exceeded"
    return list(found.items()), None


def _parts(body: bytes, boundary: bytes) -> list[tuple[str, bytes]]:
    """Read the fields of a multipart form (RFC 7578)."""
    found = []
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = re.search(rb'name="([^"]+)"', head)
        if named is not None:
            found.append((named[1].decode(), content.removesuffix(b"\r\n")))
    return found


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(Rejection(status, message).body(), status, headers=headers or {})


def _refused_by_anthropic(status: int, message: str) -> Reply:
    kind = _KINDS.get(status, "not_found_error" if status == 404 else "invalid_request_error")  # noqa: PLR2004  RFC 9110
    return Reply(orjson.dumps({"type": "error", "error": {"type": kind, "message": message}}), status)
