"""What a place for results can do, whatever it is."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from stagebook import StagebookError
from stagebook_pipelines.prompt_batch.storing.record import Record


class StoreError(StagebookError):
    """A place for results cannot be used as it is: the text says which, why, and what to do."""


class StoreLost(StoreError):
    """The database was there and does not answer any more; what was stored before stands."""


class ChunkRefused(StoreError):
    """The place took none of a chunk, for a reason that lies in no single row."""


class Refused(NamedTuple):
    """A row that the place would not take."""

    place: int
    """Its place in the chunk, from 0."""
    reason: str


SWALLOWED: Final = "the table kept nothing of it, and gave no reason: see to its triggers and rules"


class Kept(NamedTuple):
    """What became of a chunk."""

    ids: list[int | str]
    """Of rows that were written."""
    present: int
    """Rows that were there already."""
    refused: list[Refused]


class Store(Protocol):
    """Takes chunks of rows, each in one transaction; a row that is there already is not written again."""

    def keep(self, chunk: Sequence[Record]) -> Kept:
        """Write the rows of a chunk that are new, and mend those that said so far that their prompt failed.

        Args:
            chunk: Rows, no two of one key.

        Raises:
            ChunkRefused: None of them was written.
            StoreLost: The database does not answer any more.
        """
        ...

    def finish(self) -> None:
        """Make all that was kept lasting, where that is not so after every chunk: a file is written and renamed.

        Raises:
            StoreError: It cannot be written.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files; what was not finished is as if it had not been kept."""
        ...
