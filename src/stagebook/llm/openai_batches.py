"""OpenAI's batches: a file of requests is uploaded, a batch is made from it, and its answers are files again.

Format: OpenAI API reference, "Batch" and "Files", and its guide "Batch API"; fields as in its Python package 3.54
(2026-11). A batch holds one model's requests: at most 50,000 and 200 MB.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from stagebook.door.batch_member import Member
from stagebook.llm.batch_format import Entry, Limits, Line, Listed, State, asking, handle_in, understood
from stagebook.llm.codec import Unreadable, quoted
from stagebook.llm.providers import Reached
from stagebook.model.exchange import Request

WINDOW: Final = "24h"
"""The only completion window that there is."""
PAGE: Final = 100
_ENDED: Final = frozenset({"failed", "completed", "expired", "cancelled"})
_LATER: Final = "token_limit_exceeded"
"""The code of a batch that was refused since too many tokens are enqueued."""
_BODY: Final = b'"body":'
_MEGABYTE: Final = 1_000_000


class OpenAIBatches:
    """Writes and reads them, for chat completions and for responses."""

    limits = Limits(50_000, 100 * _MEGABYTE)
    """Half of the 200 MB that may be uploaded: a file is in memory several times while it is sent."""

    def upload(self, endpoint: Reached, entries: Sequence[Entry]) -> Request | None:
        """Write the file, as a multipart form (RFC 7578)."""
        boundary = f"stagebook-{secrets.token_hex(16)}".encode()
        path = b'","method":"POST","url":"/v1%s",%s' % (endpoint.provider.codec.path.encode(), _BODY)
        segments = [
            b'--%s\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % boundary,
            b'--%s\r\nContent-Disposition: form-data; name="file"; filename="stagebook.jsonl"\r\n' % boundary,
            b"Content-Type: application/jsonl\r\n\r\n",
        ]
        for member, request in entries:
            segments.append(b'{"custom_id":"%s%s' % (member.custom_id().encode(), path))
            segments += request.segments
            segments.append(b"}\n")
        segments.append(b"\r\n--%s--\r\n" % boundary)
        headers = {**endpoint.headers, "content-type": f"multipart/form-data; boundary={boundary.decode()}"}
        return asking(endpoint, "POST", f"{_base(endpoint)}/files", segments, "batch")._replace(headers=headers)

    def uploaded(self, body: bytes) -> str:
        """Read the file's id."""
        return handle_in(_document(body).get("id"))

    def create(self, endpoint: Reached, file: str | None, entries: Sequence[Entry], run: str) -> Request:  # noqa: ARG002  the file holds them
        """Write the request for a batch of a file."""
        wanted = {
            "input_file_id": file,
            "endpoint": f"/v1{endpoint.provider.codec.path}",
            "completion_window": WINDOW,
            "metadata": {"stagebook_run": run},
        }
        return asking(endpoint, "POST", f"{_base(endpoint)}/batches", (orjson.dumps(wanted),), "batch")

    def members(self, body: bytes) -> Iterator[tuple[Member, bytes]]:
        """Read the lines of the form's file."""
        for line in body.split(b"\n"):
            if line.startswith(b'{"custom_id":"'):
                member = Member.read(line.split(b'"', 4)[3].decode("ascii", "replace"))
                if member is not None:
                    yield member, line[line.index(_BODY) + len(_BODY) : -1]

    def file_of(self, body: bytes) -> str | None:
        """Read the file that a batch is made from."""
        return handle_in(_document(body).get("input_file_id"))

    def poll(self, endpoint: Reached, handle: str) -> Request:
        """Write the request for a batch."""
        return asking(endpoint, "GET", f"{_base(endpoint)}/batches/{handle}")

    def state(self, body: bytes) -> State:
        """Read a batch."""
        return understood(_state, _document(body))

    def results(self, endpoint: Reached, state: State) -> list[Request]:
        """Write the requests for the file of answers, and the file of errors."""
        return [asking(endpoint, "GET", f"{_base(endpoint)}/files/{file}/content") for file in state.results]

    def lines(self, body: bytes) -> Iterator[Line]:
        """Read the lines of either file."""
        for text in body.split(b"\n"):
            try:
                line = orjson.loads(text)
                response, error = line.get("response") or {}, line.get("error") or {}
                custom_id, status = line["custom_id"], response.get("status_code")
                said = error.get("message") or "OpenAI did not come to this request"
            except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
                continue
            if isinstance(status, int) and status:  # OpenAI writes 0 for a request that it did not come to
                yield Line(custom_id, status, orjson.dumps(response.get("body")))
            else:
                yield Line(custom_id, None, b"", str(said))

    def cancel(self, endpoint: Reached, handle: str) -> Request:
        """Write the request that cancels."""
        return asking(endpoint, "POST", f"{_base(endpoint)}/batches/{handle}/cancel")

    def listing(self, endpoint: Reached, after: str | None) -> Request:
        """Write the request for a page of batches, newest first."""
        more = "" if after is None else f"&after={after}"
        return asking(endpoint, "GET", f"{_base(endpoint)}/batches?limit={PAGE}{more}")

    def listed(self, body: bytes) -> tuple[list[Listed], str | None]:
        """Read a page of batches."""
        return understood(_listed, _document(body))


def _listed(page: Mapping[str, Any]) -> tuple[list[Listed], str | None]:
    found = []
    for one in page.get("data") or ():
        counts = one.get("request_counts") or {}
        total, at = int(counts.get("total") or 0), float(one.get("created_at") or 0)
        found.append(Listed(_state(one), one.get("input_file_id"), total, at))
    return found, found[-1].state.handle if page.get("has_more") and found else None


def _state(batch: Mapping[str, Any]) -> State:
    status, counts = batch.get("status"), batch.get("request_counts") or {}
    files = tuple(handle_in(batch[name]) for name in ("output_file_id", "error_file_id") if batch.get(name))
    refused, later = None, False
    if status == "failed":
        errors = (batch.get("errors") or {}).get("data") or [{}]
        refused = "; ".join(str(one.get("message") or one.get("code") or "no reason given") for one in errors[:3])
        later = all(one.get("code") == _LATER for one in errors)
    return State(
        handle_in(batch.get("id")),
        ended=status in _ENDED,
        done=int(counts.get("completed") or 0) + int(counts.get("failed") or 0),
        whole=status == "completed",
        results=files,
        refused=refused,
        later=later,
    )


def _base(endpoint: Reached) -> str:
    return endpoint.url.removesuffix(endpoint.provider.codec.path)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"the answer is no JSON object: {quoted(body)}")
    return found
