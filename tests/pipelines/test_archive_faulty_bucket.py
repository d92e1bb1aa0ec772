"""A bucket whose server fails in the middle of a file: no part of a file is taken for all of it."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stagebook.door.retry import RetryPolicy
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.testing.provider import FakeProvider
from stagebook_pipelines.prompt_batch import extract_prompts
from stagebook_pipelines.prompt_batch.models import Batch
from stagebook_pipelines.prompt_batch.pipeline import pipeline

LINES = b"".join(b'{"prompt": "Question %d?", "more": "%s"}\n' % (number, b"x" * 300_000) for number in range(4))
CUT = 1_000_000
"""Bytes that the server sends of the file while it fails: two of the chunks that are read at once, almost."""
LIST = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult><Name>archives</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>
<Contents><Key>logs/a.jsonl</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag>
<Size>{size}</Size></Contents></ListBucketResult>"""


class Bucket(BaseHTTPRequestHandler):
    """A bucket with one file, which it sends in part only, and then breaks off, for as long as `failing` says."""

    failing = True
    asked = 0

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def do_GET(self) -> None:
        if "list-type" in self.path:
            self._send(LIST.format(size=len(LINES)).encode(), "application/xml")
            return
        type(self).asked += 1
        asked_from = self.headers.get("Range", "bytes=0-")
        if not self.failing:
            self._send(LINES, "application/octet-stream")
        elif asked_from.startswith("bytes=0-"):
            self._send(LINES, "application/octet-stream", CUT)
        else:
            self.send_error(503)

    def _send(self, data: bytes, kind: str, most: int | None = None) -> None:
        self.send_response(200)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "ETag": '"1"',
            "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:most])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        pass


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Bucket]]:
    """The server's handler, whose `failing` can be changed."""

    class Ours(Bucket):
        """One test's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ours) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "owners-secret")
        yield Ours
        server.shutdown()
        thread.join()


def test_a_file_that_breaks_off_is_told_as_interrupted(bucket: type[Bucket]) -> None:
    found = extract_prompts(source="s3://archives/logs")
    assert 0 < found.total < 4
    assert [(one.file, one.interrupted) for one in found.errors][-1] == ("a.jsonl", True)
    bucket.failing = False
    whole = extract_prompts(source="s3://archives/logs")
    assert (whole.total, whole.errors) == (4, [])


@pytest.mark.parametrize(
    ("more", "stage"), [({}, "extract-prompts"), ({"unique": True}, "archive-files")], ids=["extracted", "chosen"]
)
async def test_a_file_that_breaks_off_fails_its_step_and_a_resume_reads_all_of_it(
    tmp_path: Path, bucket: type[Bucket], more: dict[str, Any], stage: str
) -> None:
    graph = pipeline.check()
    async with FakeProvider() as provider, await Ledger.open(tmp_path / "ledger.db") as ledger:
        environment = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "sk-fake-key-of-the-tests"}
        site = Site(ledger, environment, public_only=False)
        settings = Settings(model="openai:gpt-4.1-mini", retry=RetryPolicy(tries=1, base=0.01, cap=0.02))
        given = Batch.model_validate({"source": "s3://archives/logs", **more})
        run = await begin(Start(graph, "test", given, settings), site)
        await carry_on(run, graph, site)
        failed = {step.stage: step.reason or "" for step in await ledger.steps(run.id) if step.status == "failed"}
        assert list(failed) == [stage]
        assert "a.jsonl cannot be read" in failed[stage]
        assert "resume, and it is read again" in failed[stage]
        bucket.failing = False
        await carry_on(run, graph, site)
        assert len(provider.bill.entries) == 4  # those that were read before the fault are not asked again
