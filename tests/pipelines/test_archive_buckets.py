"""Archives in a bucket: a real S3 server (SeaweedFS) on this machine."""

import gzip
import io
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stagebook_pipelines.prompt_batch import ExtractedPrompt, extract_prompts, list_archives, read_prompts

pytestmark = pytest.mark.xdist_group("s3")
PORTS = ("master", "filer", "s3", "volume")
OWNER, STRANGER = ("owner", "owners-secret"), ("stranger", "strangers-secret")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(4) == b"HTTP"
    except OSError:
        return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with two accounts, one of which may do nothing with the bucket."""
    folder = tmp_path_factory.mktemp("s3")
    accounts = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": ["Admin"] if name == "owner" else ["Read:elsewhere"],
        }
        for name, secret in (OWNER, STRANGER)
    ]
    (folder / "accounts.json").write_text(json.dumps({"identities": accounts}))
    ports = {f"{part}.port{kind}": free_port() for part in PORTS for kind in ("", ".grpc")}
    command = [
        *(str(Path(sys.executable).with_name("weed")), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *("-admin.ui=false", "-webdav=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        f"-s3.config={folder / 'accounts.json'}",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    address = f"http://127.0.0.1:{ports['s3.port']}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while not answers(ports["s3.port"]):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, (folder / "log").read_text()[-2000:]
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(autouse=True)
def environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER[1])


@pytest.fixture
def bucket() -> str:
    """A bucket with archives of several forms."""
    import obstore
    from obstore.store import S3Store

    store = S3Store("archives", virtual_hosted_style_request=False, client_options={"allow_http": True})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner.json", '[{"prompt": "Zipped?"}]')
    files = {
        "2025/a.json": b'[{"prompt": "One?"}, {"prompt": "Two?"}]',
        "2025/b.json.gz": gzip.compress(b'{"prompt": "Packed?"}\n'),
        "2025/c/d.zip": packed.getvalue(),
        "2025/broken.json": b"<html>",
        "2025/.emptyFolderPlaceholder": b"",
        "2025/.hidden/f.json": b'["Hidden?"]',
        "2026/e.json": b'["Later?"]',
    }
    for path, data in files.items():
        obstore.put(store, path, data)
    return "s3://archives"


def test_what_is_below_a_prefix_is_read(bucket: str) -> None:
    found = extract_prompts(source=f"{bucket}/2025")
    assert [(one.file, one.text) for one in found.prompts] == [
        ("a.json", "One?"),
        ("a.json", "Two?"),
        ("b.json.gz", "Packed?"),
        ("c/d.zip/inner.json", "Zipped?"),
    ]
    assert [one.file for one in found.errors] == ["broken.json"]
    assert extract_prompts(source=bucket, pattern="e.*").prompts[0].file == "2026/e.json"


def test_one_file_of_a_bucket_is_read(bucket: str) -> None:
    found = extract_prompts(source=f"{bucket}/2026/e.json")
    assert [(one.file, one.text) for one in found.prompts] == [("e.json", "Later?")]
    listed = list(list_archives(f"{bucket}/2026/e.json"))
    assert [(one.source, one.path, one.size) for one in listed] == [(f"{bucket}/2026", "e.json", 10)]
    assert listed[0].etag
    assert listed[0].modified


def test_parquet_is_read_range_by_range(bucket: str) -> None:
    import obstore
    import pyarrow as pa
    from obstore.store import S3Store
    from pyarrow.parquet import write_table

    written = io.BytesIO()
    write_table(pa.table({"prompt": [f"Number {number}?" for number in range(500)]}), written, row_group_size=100)
    store = S3Store("archives", virtual_hosted_style_request=False, client_options={"allow_http": True})
    obstore.put(store, "table/rows", written.getvalue())
    found = extract_prompts(source=f"{bucket}/table")
    assert found.total == 500
    assert found.prompts[499].text == "Number 499?"


def test_a_large_file_comes_in_chunks(bucket: str) -> None:
    import obstore
    from obstore.store import S3Store

    store = S3Store("archives", virtual_hosted_style_request=False, client_options={"allow_http": True})
    obstore.put(store, "large/a.jsonl", b"".join(b'{"prompt": "%d %s?"}\n' % (n, b"x" * 900) for n in range(5000)))
    file = next(iter(list_archives(f"{bucket}/large")))
    reading = read_prompts(file)
    assert isinstance(next(reading), ExtractedPrompt)
    assert sum(1 for _ in reading) == 4999


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://no-such-bucket", "the bucket does not exist"),
        ("s3://no-such-bucket/2025/a.json", "the bucket does not exist"),
        ("s3://archives/2024", "holds no file; is the prefix right?"),
        ("s3://B_A D/x", "'B_A D' is no name of a bucket"),
        ("s3://KEY:secret@archives/x", "a bucket's address holds no keys"),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(bucket: str, source: str, said: str) -> None:
    found = extract_prompts(source=source)
    assert [one.message for one in found.errors] == [found.errors[0].message]
    assert said in found.errors[0].message
    assert "\n" not in found.errors[0].message
    assert "secret@" not in found.errors[0].message


@pytest.mark.parametrize(
    ("key", "secret", "said"),
    [
        (*STRANGER, "access is denied"),
        ("owner", "wrong", "AWS_SECRET_ACCESS_KEY does not fit"),
        ("nobody", "wrong", "AWS_ACCESS_KEY_ID is not known"),
        ("owner", None, "is set without AWS_SECRET_ACCESS_KEY"),
    ],
    ids=["stranger", "wrong-secret", "unknown", "half"],
)
def test_a_bucket_that_denies_is_told_in_one_sentence(
    bucket: str, monkeypatch: pytest.MonkeyPatch, key: str, secret: str | None, said: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    if secret is not None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    for source in (bucket, f"{bucket}/2025/a.json"):
        found = extract_prompts(source=source)
        assert said in found.errors[0].message
        assert "\n" not in found.errors[0].message
        assert secret is None or secret not in found.errors[0].message


def test_a_server_that_is_not_there_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(iter(list_archives(f"{bucket}/2025")))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached; check AWS_ENDPOINT_URL" in extract_prompts(source=bucket).errors[0].message
    assert "cannot be reached" in str(next(read_prompts(file)))


def test_a_file_that_was_removed_since_is_told(bucket: str) -> None:
    import obstore
    from obstore.store import S3Store

    store = S3Store("archives", virtual_hosted_style_request=False, client_options={"allow_http": True})
    obstore.put(store, "gone/a.json", b'["Why?"]')
    file = next(iter(list_archives(f"{bucket}/gone")))
    obstore.delete(store, "gone/a.json")
    assert "there is no such bucket or file" in str(next(read_prompts(file)))
