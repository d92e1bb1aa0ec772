"""Responses into a place for results, a chunk at a time, with an account of what became of each."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
from pydantic import ValidationError

from stagebook_pipelines.prompt_batch.results import Response, Stored
from stagebook_pipelines.prompt_batch.storing.record import Heading, Made, Record, Result, make_record, result_of
from stagebook_pipelines.prompt_batch.storing.store import ChunkRefused, Kept, Store, StoreLost

CHUNK: Final = 100
"""Rows of one transaction."""
SHOWN: Final = 60
"""Characters of a prompt that an error repeats."""


class _Keeping(NamedTuple):
    """A chunk on its way."""

    chunk: list[tuple[int, Record]]
    """Its rows, each with its number."""
    single: list[tuple[int, Record]]
    """Those that are kept: no two of one key."""
    result: Future[Kept]


class Chunks:
    """Fills chunks and has them kept, one while the next is filled.

    Args:
        store: Where they go.
        heading: What the rows share.
    """

    def __init__(self, store: Store, heading: Heading) -> None:
        self._store = store
        self._heading = heading
        self._now = datetime.now(UTC)
        self._alike: Counter[str] = Counter()
        self._chunk: list[tuple[int, Record]] = []
        self._given = 0
        self._keeping: _Keeping | None = None
        self._lost = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-results")
        self.account = Stored()
        self.refused_chunks = 0
        """Chunks of which nothing was written, for a reason that may pass."""

    @property
    def full(self) -> bool:
        """Whether `keep` is due."""
        return self._given % CHUNK == 0

    def add(self, response: Response | Mapping[str, Any] | Result) -> None:
        """Take one response; one that is none is accounted as failed."""
        self._given += 1
        row = self._given
        try:
            if isinstance(response, Result):
                made = self._made(response)
            else:
                read = response if isinstance(response, Response) else Response.model_validate(response)
                made = self._made(result_of(read, self._heading.experiment_name))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "the whole"
            self._fail(row, None, f"{field}: {first['msg'].lower()}")
            return
        except ValueError as error:
            self._fail(row, None, str(error))
            return
        if made.replaced:
            self.account.warnings.append(
                f"{self._where(row, made.record)}: characters that no database takes were replaced in"
                f" {', '.join(made.replaced)}"
            )
        self._chunk.append((row, made.record))

    def keep(self) -> None:
        """Have the chunk kept that is there, full or not, while the next one is filled; one at a time."""
        self._settle()
        chunk, self._chunk = self._chunk, []
        if not chunk:
            return
        if self._lost:
            self.account.failed += len(chunk)
            return
        single = self._one_of_a_key(chunk)
        self._keeping = _Keeping(chunk, single, self._thread.submit(self._store.keep, [one for _, one in single]))

    def end(self) -> Stored:
        """Keep what is left, have all of it lasting, and give the account.

        Raises:
            StoreError: A file cannot be written.
        """
        self.keep()
        self._settle()
        self._store.finish()
        return self.account

    def close(self) -> None:
        """Wait for the chunk that is being kept, and let go of the place."""
        self._thread.shutdown(cancel_futures=True)
        self._store.close()

    def _settle(self) -> None:
        """Wait for the chunk before, and account for it."""
        keeping, self._keeping = self._keeping, None
        if keeping is None:
            return
        chunk, single = keeping.chunk, keeping.single
        try:
            kept = keeping.result.result()
        except (ChunkRefused, StoreLost) as error:
            self._lost = isinstance(error, StoreLost)
            self.refused_chunks += 1
            self.account.failed += len(chunk)
            self.account.errors.append(f"chunk {_number(chunk[0][0])} (rows {chunk[0][0]} to {chunk[-1][0]}): {error}")
            return
        self.account.stored += len(kept.ids)
        self.account.already_stored += kept.present + len(chunk) - len(single)
        self.account.inserted_ids += kept.ids
        for place, reason in kept.refused:
            row, record = single[place]
            self._fail(row, record, reason)

    def _made(self, result: Result) -> Made:
        """Make its row; of those that are the very same, each has a key of its own."""
        made = make_record(result, self._heading, 0, self._now)
        if made.named:
            return made
        self._alike[made.record.key] += 1
        occurrence = self._alike[made.record.key] - 1
        return make_record(result, self._heading, occurrence, self._now) if occurrence else made

    @staticmethod
    def _one_of_a_key(chunk: list[tuple[int, Record]]) -> list[tuple[int, Record]]:
        """Leave out rows whose key another row of the chunk has; one with an answer is the one that stays."""
        best: dict[str, tuple[int, Record]] = {}
        for one in chunk:
            before = best.get(one[1].key)
            if before is None or (one[1].success and not before[1].success):
                best[one[1].key] = one
        return list(best.values())

    def _fail(self, row: int, record: Record | None, reason: str) -> None:
        self.account.failed += 1
        self.account.errors.append(f"{self._where(row, record)}: {reason}")

    def _where(self, row: int, record: Record | None) -> str:
        """Name a row: chunk and number from 1, and its prompt, with file and index from 0 where these are known."""
        place = f"chunk {_number(row)}, row {row}"
        if record is None:
            return place
        facts = orjson.loads(record.metadata)
        known = "file" in facts and "index" in facts
        origin = f"{facts['file']}, prompt index {facts['index']}: " if known else ""
        more = "..." if len(record.prompt) > SHOWN else ""
        return f"{place} ({origin}{record.prompt[:SHOWN]!r}{more})"


def _number(row: int) -> int:
    """Say in which chunk a row is; both count from 1."""
    return (row - 1) // CHUNK + 1
