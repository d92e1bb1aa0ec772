"""Where archives are: a folder, a file, or a bucket."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from stagebook_pipelines.prompt_batch.archives.bucket import SCHEME, BucketFile, bucket_files
from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile, SourceUnreadable
from stagebook_pipelines.prompt_batch.archives.opened import LocalFile, Opened
from stagebook_pipelines.prompt_batch.archives.stream import CutOff


def list_archives(source: str | Path, pattern: str = "*") -> Iterator[ArchiveFile]:
    """List the files of a source, in the order of their names, none of them opened.

    Args:
        source: A folder (its folders are gone through as well), one file, or `s3://bucket/prefix`. Buckets are asked
            with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL where it is not Amazon's.
        pattern: Which files, as a shell pattern such as `*.json`: held against the file's name, or, where the pattern
            has a slash, against its path within the source.

    Yields:
        The files. Hidden ones (whose name, or whose folder's, begins with a dot) are left out. A link is listed, and
        read if it leads to a file within the source.

    Raises:
        SourceUnreadable: There is no such source, or it cannot be read.
    """
    named = str(source)
    found = bucket_files(named) if named.startswith(SCHEME) else _local_files(Path(source))
    for file in found:
        name = file.path if "/" in pattern else file.path.rpartition("/")[2]
        if fnmatchcase(name, pattern):
            yield file


def _local_files(source: Path) -> Iterator[ArchiveFile]:
    try:
        if source.is_dir():
            yield from _in_folder(source, source)
        elif source.exists():
            yield _local_file(source.parent, source, source.stat())
        else:
            raise SourceUnreadable(f"There is no folder or file {source}; name the one that holds the archives")
    except OSError as problem:
        raise SourceUnreadable(f"{problem.filename or source} cannot be read ({problem.strerror})") from None


def _in_folder(root: Path, folder: Path) -> Iterator[ArchiveFile]:
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _in_folder(root, folder / entry.name)
        else:
            yield _local_file(root, folder / entry.name, entry.stat(follow_symlinks=False))


def _local_file(root: Path, path: Path, facts: os.stat_result) -> ArchiveFile:
    return ArchiveFile(
        path=path.relative_to(root).as_posix().encode(errors="replace").decode(),
        source=str(root),
        size=facts.st_size,
        modified=datetime.fromtimestamp(facts.st_mtime, UTC).isoformat(),
    )


def opened(file: ArchiveFile) -> Opened:
    """Find a listed file again.

    Args:
        file: The file.

    Returns:
        What reads its bytes.

    Raises:
        CutOff: It is no file, or lies outside of its source.
        SourceUnreadable: Its bucket cannot be asked.
    """
    if file.source.startswith(SCHEME):
        return BucketFile(file)
    path = Path(file.source) / file.path
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(Path(file.source).resolve()):
            raise CutOff("leads out of its source, and was not read")
        if not stat.S_ISREG(real.stat().st_mode):
            raise CutOff("is no file, and was not read")
    except OSError as problem:
        raise CutOff(f"cannot be read ({problem.strerror})") from None
    return LocalFile(real)
