"""What is read out of archives, and what is told of those that cannot be read."""

from typing import Annotated

from pydantic import BaseModel

from stagebook import Key, StagebookError


class SourceUnreadable(StagebookError):
    """A folder, file or bucket that should hold archives cannot be read; the text says which, and what to do."""

    exit_code = 2


class FileError(BaseModel):
    """Something in a file that could not be read as it stands; nothing else is stopped by it."""

    file: str
    """The file, relative to the source; a member of a zip archive stands behind its archive, `a.zip/b.json`."""
    message: str
    """One sentence: what is wrong, and where."""
    record: int | None = None
    """Which record (conversation, line, row) of the file it is, from 0; null where the whole file is meant."""
    line: int | None = None
    """The line, from 1, in files that are read line by line."""
    byte: int | None = None
    """Where the record begins, in bytes from the beginning of the (unpacked) file, as far as that is known."""
    lost: bool = True
    """False where this is a remark only: what was meant could be told, and was read nevertheless."""
    interrupted: bool = False
    """True where what holds the file failed while it was read, such as a bucket's server: read it again."""


class ExtractedPrompt(BaseModel):
    """One prompt of a person, or one question of a set."""

    key: Annotated[str, Key]
    """The first 16 hexadecimal digits of the text's SHA-256; the second of the same text in a file ends in `.2`."""
    text: str
    """What was asked."""
    file: str
    """The file that it stands in, relative to the source."""
    index: int
    """Its place among the prompts of the file, from 0."""
    conversation: str | None = None
    """The id of the conversation or row that it stands in, or else its title."""
    reference: str | None = None
    """A right answer, where the row carries one."""
    references: list[str] = []
    """All right answers that the row carries, the first of them as `reference`."""
    choices: list[str] | None = None
    """The answers to choose from, where it is such a question."""


class ArchiveFile(BaseModel):
    """One file of a source, not yet opened."""

    path: Annotated[str, Key]
    """Where it stands within the source, with forward slashes."""
    source: str
    """The folder, or `s3://bucket/prefix`, that the path is relative to."""
    size: int
    """Bytes."""
    modified: str | None = None
    """When it was last changed: ISO 8601, UTC."""
    etag: str | None = None
    """The bucket's mark of its content."""


class Extraction(BaseModel):
    """What `extract_prompts` found."""

    prompts: list[ExtractedPrompt]
    """The prompts, file by file in the order of their names, in the order in which they stand there."""
    total: int
    """How many there are, those that were only exported included."""
    files_processed: int
    """How many files were read: those that gave prompts, and those that are sound and hold none."""
    errors: list[FileError]
    """What could not be read, and remarks on what was mended."""
    exported: str | None = None
    """The file that the prompts were written to."""
