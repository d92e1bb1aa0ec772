"""Archives in a bucket that speaks S3: Amazon's, or any other that `AWS_ENDPOINT_URL` names, Supabase Storage too."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile, SourceUnreadable
from stagebook_pipelines.prompt_batch.archives.stream import CHUNK, CutOff, Interrupted

if TYPE_CHECKING:
    from obstore.store import S3Store

SCHEME = "s3://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
"""S3's rules, and capitals and underscores, which Amazon once allowed and other servers allow still."""
_TRIES = 3
_PATIENCE = timedelta(seconds=30)


def bucket_files(source: str) -> Iterator[ArchiveFile]:
    """List what a bucket holds below a prefix, in the order of the names.

    Args:
        source: `s3://bucket`, `s3://bucket/prefix`, or `s3://bucket/one/file.json`.

    Yields:
        Its files. Hidden ones (a part of whose name begins with a dot, such as Supabase's `.emptyFolderPlaceholder`)
        are left out.

    Raises:
        SourceUnreadable: It is not there, denies, cannot be reached, or holds nothing there.
    """
    name, prefix = split(source)
    store = _store(name)
    import obstore  # noqa: PLC0415  an extra, and only buckets need it

    found = False
    try:
        if prefix:
            one = _single(store, prefix)
            if one is not None:
                folder, _, last = prefix.rpartition("/")
                yield _file(f"{SCHEME}{name}/{folder}".rstrip("/"), last, one)
                return
        root = f"{SCHEME}{name}/{prefix}".rstrip("/")
        for page in obstore.list(store, prefix or None):
            for facts in page:
                path = facts["path"].removeprefix(f"{prefix}/" if prefix else "")
                if any(part.startswith(".") for part in path.split("/")):
                    continue
                found = True
                yield _file(root, path, facts)
    except (obstore.exceptions.BaseError, OSError) as problem:
        raise SourceUnreadable(_sentence(source, problem)) from None
    if not found:
        raise SourceUnreadable(f"{source} holds no file; is the prefix right?")


def split(source: str) -> tuple[str, str]:
    """Take `s3://bucket/prefix` apart.

    Args:
        source: What was given.

    Returns:
        The bucket's name and the prefix, which may be empty.

    Raises:
        SourceUnreadable: There is no name, or none that a bucket can have.
    """
    name, _, prefix = source.removeprefix(SCHEME).partition("/")
    if not name:
        raise SourceUnreadable(f"{source} names no bucket; write s3://bucket/prefix")
    if "@" in name or ":" in name:
        raise SourceUnreadable(
            "a bucket's address holds no keys; put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " and write s3://bucket/prefix"
        )
    if _NAME.fullmatch(name) is None:
        raise SourceUnreadable(
            f"{name[:80]!r} is no name of a bucket: letters, digits, dots, hyphens and underscores, 3 to 63 of them"
        )
    return name, prefix.strip("/")


def _store(name: str) -> "S3Store":
    try:
        from obstore.store import S3Store  # noqa: PLC0415  an extra, and only buckets need it
    except ImportError:
        raise SourceUnreadable("Reading a bucket needs obstore: pip install 'stagebook[batch]'") from None
    from obstore.exceptions import BaseError  # noqa: PLC0415  as above

    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    try:
        return S3Store(
            name,
            virtual_hosted_style_request=False,
            client_options={"allow_http": plain},
            retry_config={"max_retries": _TRIES, "retry_timeout": _PATIENCE},
        )
    except BaseError as problem:
        raise SourceUnreadable(_sentence(f"{SCHEME}{name}", problem)) from None


def _single(store: "S3Store", path: str) -> Any:
    import obstore  # noqa: PLC0415  as above

    try:
        return obstore.head(store, path)
    except (FileNotFoundError, obstore.exceptions.NotFoundError):
        return None
    except (PermissionError, obstore.exceptions.BaseError):
        return None  # the list tells it better: some servers answer 403 for what is not there


def _file(source: str, path: str, facts: Any) -> ArchiveFile:
    return ArchiveFile(
        path=path,
        source=source,
        size=facts["size"],
        modified=facts["last_modified"].isoformat(),
        etag=facts["e_tag"],
    )


def _sentence(source: str, problem: Exception) -> str:
    """Say in one sentence what a bucket's server answered."""
    text = str(problem)
    told = (
        ("169.254.169.254", "no credentials are set: put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("error sending request", "its server cannot be reached; check AWS_ENDPOINT_URL"),
        ("MissingAccessKeyId", "AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID"),
        ("MissingSecretAccessKey", "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"),
        ("NoSuchBucket", "the bucket does not exist"),
        ("AccessDenied", "access is denied: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do"),
        ("InvalidAccessKeyId", "the key in AWS_ACCESS_KEY_ID is not known there"),
        ("SignatureDoesNotMatch", "the secret in AWS_SECRET_ACCESS_KEY does not fit its key"),
        ("403 Forbidden", "access is denied: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do"),
        ("404 Not Found", "there is no such bucket or file"),
    )
    found = next((meaning for mark, meaning in told if mark in text), None)
    return f"{source} cannot be read: {found or f'its server said: {text.splitlines()[0][:200]}'}"


def _ended(path: str, problem: Exception) -> CutOff:
    """Say why no more can be had of a file: it is gone, or another time it may be there."""
    import obstore  # noqa: PLC0415  as above

    gone = isinstance(problem, (FileNotFoundError, obstore.exceptions.NotFoundError))
    why = _sentence(path, problem).removeprefix(f"{path} ")
    return CutOff(why) if gone else Interrupted(why)


class BucketFile:
    """A file in a bucket.

    Args:
        file: Which.
    """

    def __init__(self, file: ArchiveFile) -> None:
        name, prefix = split(file.source)
        self._store = _store(name)
        self._path = f"{prefix}/{file.path}" if prefix else file.path

    def chunks(self) -> Iterator[bytes]:
        """Read it from its beginning."""
        import obstore  # noqa: PLC0415  as above

        try:
            for chunk in obstore.get(self._store, self._path).stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except (obstore.exceptions.BaseError, OSError) as problem:
            raise _ended(self._path, problem) from None

    @contextmanager
    def anywhere(self) -> Iterator[BinaryIO]:
        """Open it for reading at any place, range by range."""
        import obstore  # noqa: PLC0415  as above

        try:
            size = obstore.head(self._store, self._path)["size"]
        except (obstore.exceptions.BaseError, OSError) as problem:
            raise _ended(self._path, problem) from None
        with io.BufferedReader(_Ranges(self._store, self._path, size), CHUNK) as file:
            yield cast("BinaryIO", file)


class _Ranges(io.RawIOBase):
    """A file that asks for a range of bytes at every read."""

    def __init__(self, store: "S3Store", path: str, size: int) -> None:
        super().__init__()
        self._store, self._path, self._size = store, path, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        import obstore  # noqa: PLC0415  as above

        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        try:
            data = obstore.get_range(self._store, self._path, start=self._at, length=length)
        except (obstore.exceptions.BaseError, OSError) as problem:
            raise _ended(self._path, problem) from None
        buffer[:length] = memoryview(data)
        self._at += length
        return length
