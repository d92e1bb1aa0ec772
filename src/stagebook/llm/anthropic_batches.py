"""Anthropic's message batches: made with all of their requests at once, and answered in one stream of lines.

Format: Anthropic API reference, "Message Batches", with the fields of its Python package 2.12 (2026-11). A batch holds
at most 100,000 requests and 256 MB. Results can be had for 29 days.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from stagebook.door.batch_member import Member
from stagebook.llm.batch_format import Entry, Limits, Line, Listed, State, asking, handle_in, understood
from stagebook.llm.codec import Unreadable, quoted
from stagebook.llm.providers import Reached
from stagebook.model.exchange import Request

PAGE: Final = 100
STATUSES: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that each kind of error has where it is answered live (its reference, "Errors")."""
_PARAMS: Final = b'"params":'
_MEGABYTE: Final = 1_000_000
_UNASKED: Final = {
    "expired": "the batch expired before it came to this request",
    "canceled": "the batch was cancelled before it came to this request",
}


class AnthropicBatches:
    """Writes and reads them."""

    limits = Limits(100_000, 100 * _MEGABYTE)
    """Less than the 256 MB that may be sent: a batch is in memory several times while it is sent."""

    def upload(self, endpoint: Reached, entries: Sequence[Entry]) -> Request | None:  # noqa: ARG002  a creation holds all
        """Nothing is uploaded before."""
        return None

    def uploaded(self, body: bytes) -> str:
        """Nothing is uploaded."""
        raise Unreadable(f"a batch of messages is made from no file: {quoted(body)}")

    def create(self, endpoint: Reached, file: str | None, entries: Sequence[Entry], run: str) -> Request:  # noqa: ARG002  it has no file and no names
        """Write all requests, a line each."""
        segments = [b'{"requests":[\n']
        for place, (member, request) in enumerate(entries):
            comma = b"" if place + 1 == len(entries) else b","
            segments.append(b'{"custom_id":"%s",%s' % (member.custom_id().encode(), _PARAMS))
            segments += request.segments
            segments.append(b"}%s\n" % comma)
        segments.append(b"]}")
        return asking(endpoint, "POST", _base(endpoint), segments, "batch")

    def members(self, body: bytes) -> Iterator[tuple[Member, bytes]]:
        """Read the lines back."""
        for line in body.split(b"\n"):
            if line.startswith(b'{"custom_id":"'):
                member = Member.read(line.split(b'"', 4)[3].decode("ascii", "replace"))
                if member is not None:
                    yield member, line.removesuffix(b",")[line.index(_PARAMS) + len(_PARAMS) : -1]

    def file_of(self, body: bytes) -> str | None:  # noqa: ARG002  there are no files
        """There are none."""
        return None

    def poll(self, endpoint: Reached, handle: str) -> Request:
        """Write the request for a batch."""
        return asking(endpoint, "GET", f"{_base(endpoint)}/{handle}")

    def state(self, body: bytes) -> State:
        """Read a batch."""
        return understood(_state, _document(body))

    def results(self, endpoint: Reached, state: State) -> list[Request]:
        """Write the request for the answers; not to the address that the batch names, as the key goes along."""
        return [asking(endpoint, "GET", f"{_base(endpoint)}/{handle}/results") for handle in state.results]

    def lines(self, body: bytes) -> Iterator[Line]:
        """Read the answers."""
        for text in body.split(b"\n"):
            try:
                line = orjson.loads(text)
                custom_id, result = line["custom_id"], line["result"]
                kind = result["type"]
                if kind == "succeeded":
                    yield Line(custom_id, 200, orjson.dumps(result["message"]))
                elif kind == "errored":
                    error = result["error"]
                    named = (error.get("error") or {}).get("type")
                    yield Line(custom_id, STATUSES.get(str(named), 500), orjson.dumps(error))
                else:
                    yield Line(custom_id, None, b"", _UNASKED.get(kind, f"the batch says only that it is {kind}"))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                continue

    def cancel(self, endpoint: Reached, handle: str) -> Request:
        """Write the request that cancels."""
        return asking(endpoint, "POST", f"{_base(endpoint)}/{handle}/cancel")

    def listing(self, endpoint: Reached, after: str | None) -> Request:
        """Write the request for a page of batches, newest first."""
        more = "" if after is None else f"&after_id={after}"
        return asking(endpoint, "GET", f"{_base(endpoint)}?limit={PAGE}{more}")

    def listed(self, body: bytes) -> tuple[list[Listed], str | None]:
        """Read a page of batches."""
        return understood(_listed, _document(body))


def _listed(page: Mapping[str, Any]) -> tuple[list[Listed], str | None]:
    found = []
    for one in page.get("data") or ():
        total = sum(int(count or 0) for count in (one.get("request_counts") or {}).values())
        found.append(Listed(_state(one), None, total, _seconds(one.get("created_at"))))
    return found, found[-1].state.handle if page.get("has_more") and found else None


def _state(batch: Mapping[str, Any]) -> State:
    handle, counts = handle_in(batch.get("id")), batch.get("request_counts") or {}
    done = sum(int(count or 0) for name, count in counts.items() if name != "processing")
    ended = batch.get("processing_status") == "ended"
    return State(handle, ended, done, whole=True, results=(handle,) if ended else ())


def _seconds(moment: object) -> float:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return 0.0


def _base(endpoint: Reached) -> str:
    return f"{endpoint.url}/batches"


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable(f"the answer is no JSON object: {quoted(body)}")
    return found
