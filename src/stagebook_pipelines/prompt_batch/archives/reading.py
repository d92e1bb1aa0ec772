"""Prompts out of one archive: its bytes become records, each record is recognised by what it holds."""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from stagebook_pipelines.prompt_batch.archives.asked import Asked, asked
from stagebook_pipelines.prompt_batch.archives.forms import members_of
from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile, ExtractedPrompt, FileError, SourceUnreadable
from stagebook_pipelines.prompt_batch.archives.seen import SeenKeys
from stagebook_pipelines.prompt_batch.archives.shapes import Reader, name_of, reader_of, seen_in
from stagebook_pipelines.prompt_batch.archives.sources import list_archives, opened
from stagebook_pipelines.prompt_batch.archives.stream import LARGEST_RECORD, CutOff, Record, Trouble

MOST_ERRORS = 100
"""Errors of one file that are told one by one; of the others, only how many they are."""
GIVEN_UP_AFTER = 10_000
"""A file of which the first 10,000 records say nothing that is known is not read to its end."""
NUL = "holds NUL characters, which no table can hold; they were replaced by U+FFFD"
_KEY_DIGITS = 16

Given: TypeAlias = Generator[ExtractedPrompt | FileError]
"""What reading a file gives."""


def read_prompts(
    file: ArchiveFile | str | Path, *, column: str | None = None, largest_record: int = LARGEST_RECORD
) -> Given:
    """Read the prompts of one file, one after the other, in constant memory.

    Args:
        file: A file that `list_archives` named, or the path of one.
        column: The field or column that holds the prompt, where it is none that is known.
        largest_record: Bytes that a record (a conversation, a line, a row) may have; a larger one is left out and told.

    Yields:
        Prompts, and errors as values, where they were met: what cannot be read stops nothing that comes after it.
    """
    if not isinstance(file, ArchiveFile):
        try:
            file = next(iter(list_archives(file)))
        except SourceUnreadable as problem:
            yield FileError(file=str(file), message=str(problem))
            return
    name = file.path
    try:
        source = opened(file)
    except (CutOff, SourceUnreadable) as problem:
        message = f"{name} {problem}" if isinstance(problem, CutOff) else str(problem)
        yield FileError(file=name, message=message, interrupted=isinstance(problem, SourceUnreadable))
        return
    with closing(members_of(name, source, column, largest_record)) as members:
        for member, records in members:
            yield from _Member(member, column).read(records)


class _Member:
    """One file, or one member of a packed one, while it is read."""

    def __init__(self, name: str, column: str | None) -> None:
        self._name = name
        self._column = column
        self._seen = SeenKeys()
        self._prompts = 0
        self._errors = 0
        self._records = 0
        self._strings: bool | None = None

    def read(self, records: Iterator[Record | Trouble]) -> Given:
        for one in records:
            if isinstance(one, Trouble):
                yield from self._told(one)
                continue
            self._records += 1
            read = self._reader(one)
            if read is None:
                seen = f"is of no known shape: {seen_in(one.value)}"
                yield from self._told(Trouble(seen, one.index, one.byte, one.line))
            else:
                conversation = name_of(one.value)
                for found in read():  # the innermost loop: what it does once a prompt is what extraction costs
                    if isinstance(found, Asked):
                        if "\0" in found.text:
                            yield from self._told(Trouble(NUL, one.index, one.byte, one.line, lost=False))
                        yield self._prompt(found, conversation)
                    else:
                        yield from self._told(Trouble(found.message, one.index, one.byte, one.line, lost=found.lost))
            if self._records >= GIVEN_UP_AFTER and not self._prompts:
                yield FileError(
                    file=self._name,
                    message=f"{self._name} gave no prompt in its first {self._records:,} records; it was not read on",
                )
                break
        if self._errors > MOST_ERRORS:
            many = f"{self._name} has {self._errors - MOST_ERRORS:,} more errors and remarks than are told here"
            yield FileError(file=self._name, message=many)
        elif not self._prompts and not self._errors:
            yield FileError(file=self._name, message=f"{self._name} is sound and holds no prompt", lost=False)

    def _reader(self, record: Record) -> Reader | None:
        """A string is a prompt only in files that begin with one; elsewhere it has got in by mistake."""
        value = record.value
        if self._strings is None:
            self._strings = isinstance(value, str)
        if isinstance(value, str):
            return (lambda: iter((asked(value, "its text"),))) if self._strings else None
        return reader_of(value, self._column)

    def _prompt(self, one: Asked, conversation: str | None) -> ExtractedPrompt:
        text = one.text.replace("\0", "\ufffd")
        key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
        occurrence = self._seen.count(int(key, 16))
        self._prompts += 1
        return ExtractedPrompt(
            key=key if occurrence == 1 else f"{key}.{occurrence}",
            text=text,
            file=self._name,
            index=self._prompts - 1,
            conversation=conversation,
            reference=one.references[0] if one.references else None,
            references=list(one.references),
            choices=None if one.choices is None else list(one.choices),
        )

    def _told(self, trouble: Trouble) -> Given:
        self._errors += 1
        if self._errors > MOST_ERRORS and not trouble.interrupted:
            return
        where = self._name
        if trouble.line is not None:
            where += f", line {trouble.line:,},"
        elif trouble.index is not None:
            where += f", record {trouble.index:,}" + (
                f" at byte {trouble.byte:,}," if trouble.byte is not None else ","
            )
        yield FileError(
            file=self._name,
            message=f"{where} {trouble.message}",
            record=trouble.index,
            line=trouble.line,
            byte=trouble.byte,
            lost=trouble.lost,
            interrupted=trouble.interrupted,
        )
