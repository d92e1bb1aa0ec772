"""Looks a whole ledger over: whether it is whole, says what was sent, and holds nothing that belongs to nobody."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.progress import Told
from stagebook.ledger.sql.connection import Connection, stream
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.sql.references import REFERENCES, count_dangling, delete_orphans
from stagebook.ledger.sql.requests import read_request
from stagebook.ledger.sql.totals import summarize
from stagebook.ledger.sql.unused import take_away_unused, unused
from stagebook.model.errors import LedgerError, NotFound
from stagebook.model.exchange import content_hash

TELL_EVERY: Final = 500
"""Rows between two words on how far it has come."""
LEFT_SECONDS: Final = 3600.0
"""Age from which a half-written file has no writer any more."""
_RESTORE: Final = "restore the ledger from a backup; what else it holds can be exported run by run"
_FIX: Final = "`stagebook check --fix` removes it"


Damage = Callable[[Connection], Iterable[str]]


class Kind(StrEnum):
    """What is wrong."""

    DATABASE = "database"
    """The database itself finds what it holds damaged."""
    MISSING = "missing"
    """Something is named and not there."""
    DAMAGED = "damaged"
    """Bytes do not have the hash that they were stored under."""
    SUM = "sum"
    """Two ways of counting the same do not agree."""
    ORPHAN = "orphan"
    """Something that belongs to nothing: harmless, and removed by a fix."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    what: str
    """What, and where."""
    mend: str
    """What to do."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to."""

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    """How many payloads, requests and outputs were looked at."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a fix removed."""

    rows: int
    payloads: int
    files: tuple[str, ...]
    """Files that belong to nobody, to be swept."""


class Check:
    """One look at a ledger.

    Args:
        connection: In a snapshot of its own.
        blobs: Where large payloads are.
        files: Whether there is a place for them.
        told: How far it has come.
        damage: What the database itself finds wrong with what it holds.
    """

    def __init__(self, connection: Connection, blobs: BlobFiles, told: Told, damage: Damage, *, files: bool) -> None:
        self._connection = connection
        self._damage = damage
        self._blobs = blobs
        self._told = told
        self._files = files
        self._counts: dict[str, int] = {}
        self._began = time.time()

    def look(self) -> Checked:
        """Look at everything; one part that cannot be read does not keep the others from being read."""
        parts: tuple[Callable[[], Iterator[Finding]], ...] = (
            self._database,
            self._references,
            self._payloads,
            self._requests,
            self._outputs,
            self._sums,
            self._orphans,
        )
        findings: list[Finding] = []
        for part in parts:
            self._connection.execute("SAVEPOINT part")
            try:
                findings += part()
            except (self._connection.Error, LedgerError) as error:
                with suppress(self._connection.Error):
                    self._connection.execute("ROLLBACK TO part")  # else PostgreSQL would refuse the other parts as well
                findings.append(Finding(Kind.DATABASE, f"a part of the ledger cannot be read: {error}", _RESTORE))
        return Checked(tuple(findings), self._counts)

    def _database(self) -> Iterator[Finding]:
        self._told("the database", 0, 1)
        for line in self._damage(self._connection):
            yield Finding(Kind.DATABASE, line, _RESTORE)

    def _references(self) -> Iterator[Finding]:
        for done, one in enumerate(REFERENCES):
            self._told("what names what", done, len(REFERENCES))
            count, example = count_dangling(self._connection, one)
            if not count:
                continue
            name = example.hex() if isinstance(example, bytes) else example
            rows = f"1 row of {one.table} names" if count == 1 else f"{count:,} rows of {one.table} name"
            what = f"{rows} {one.target} that are not there ({one.column} {name})"
            yield Finding(Kind.ORPHAN, what, _FIX) if one.owner else Finding(Kind.MISSING, what, _RESTORE)

    def _payloads(self) -> Iterator[Finding]:
        for (digest,) in self._each("payloads", "SELECT hash FROM payloads ORDER BY id"):
            try:
                data = read_payload(self._connection, self._blobs, digest)
            except (LedgerError, NotFound) as error:
                yield Finding(Kind.DAMAGED, f"payload {digest.hex()} cannot be read: {error}", _RESTORE)
                continue
            if content_hash(data) != digest:
                yield Finding(Kind.DAMAGED, f"payload {digest.hex()} does not have its hash", _RESTORE)

    def _requests(self) -> Iterator[Finding]:
        for (exchange,) in self._each("requests", "SELECT id FROM exchanges WHERE skeleton IS NOT NULL ORDER BY id"):
            try:
                read_request(self._connection, self._blobs, exchange)
            except (LedgerError, NotFound) as error:
                yield Finding(Kind.DAMAGED, f"the request of exchange {exchange}: {error}", _RESTORE)

    def _outputs(self) -> Iterator[Finding]:
        sql = """
            SELECT o.id, r.run_id, o.stage, o.item, o.version, o.content_hash, o.nul_replaced, o.data, o.size
            FROM outputs o LEFT JOIN runs r ON r.id = o.run WHERE o.content_hash IS NOT NULL ORDER BY o.id
        """
        for _, run_id, stage, item, version, digest, replaced, data, size in self._each("outputs", sql):
            where = f"version {version} of {stage}{f'[{item}]' if item else ''} in {run_id}"
            if data is None:
                yield Finding(Kind.MISSING, f"{where} has a hash and no data", _RESTORE)
            elif not replaced and (content_hash(data.encode()) != digest or len(data.encode()) != size):
                yield Finding(Kind.DAMAGED, f"{where} does not have its hash: it was changed outside", _RESTORE)

    def _sums(self) -> Iterator[Finding]:
        self._told("sums", 0, 1)
        counted = """
            SELECT s.id, r.run_id, s.stage, s.item, s.attempts, max(a.number) FROM steps s JOIN runs r ON r.id = s.run
            LEFT JOIN attempts a ON a.step = s.id
            GROUP BY s.id, r.run_id, s.stage, s.item, s.attempts HAVING s.attempts <> coalesce(max(a.number), 0)
        """
        for _, run_id, stage, item, attempts, number in self._connection.execute(counted):
            where = f"{stage}{f'[{item}]' if item else ''} in {run_id}"
            yield Finding(Kind.SUM, f"{where} counts {attempts} attempts, and the last is {number or 0}", _RESTORE)
        versions = """
            SELECT r.run_id, o.stage, o.item, count(*), max(o.version) FROM outputs o JOIN runs r ON r.id = o.run
            GROUP BY o.run, r.run_id, o.stage, o.item HAVING count(*) <> max(o.version) OR min(o.version) <> 1
        """
        for run_id, stage, item, count, version in self._connection.execute(versions):
            where = f"{stage}{f'[{item}]' if item else ''} in {run_id}"
            yield Finding(Kind.SUM, f"{where} has {count} versions, and the newest is {version}", _RESTORE)
        spent = self._connection.execute("SELECT coalesce(sum(cost_picodollars), 0) FROM costs").fetchone()[0]
        shown = sum(one.total().cost for one in summarize(self._connection, None).values())
        if spent != shown:
            what = f"the view costs comes to {spent} picodollars, and the sums of the runs to {shown}"
            yield Finding(Kind.SUM, what, _RESTORE)

    def _orphans(self) -> Iterator[Finding]:
        self._told("orphans", 0, 1)
        found = unused(self._connection)
        if found:
            size = sum(one.size for one in found.values())
            what = "1 payload is" if len(found) == 1 else f"{len(found):,} payloads are"
            yield Finding(Kind.ORPHAN, f"{what} named by nothing ({size:,} bytes)", _FIX)
        if not self._files:
            return
        rows = self._connection.execute("SELECT location FROM payloads WHERE location IS NOT NULL")
        named = {location for (location,) in rows}
        for location in self._blobs.locations(before=self._began):  # a later one may have a row that is not seen here
            if location not in named:
                yield Finding(Kind.ORPHAN, f"the file blobs/{location} is named by no row", _FIX)
        for location in self._blobs.leftovers(LEFT_SECONDS):
            yield Finding(Kind.ORPHAN, f"the file blobs/{location} is half of one whose writer was killed", _FIX)
        for location in sorted(named):
            if not self._blobs.has(location):
                yield Finding(Kind.MISSING, f"the file blobs/{location} is named by a row and not there", _RESTORE)

    def _each(self, what: str, sql: str) -> Iterator[tuple[Any, ...]]:  # Any: one type per column
        counting = f"SELECT count(*) FROM ({sql}) AS counted"  # noqa: S608  one of ours
        total = self._connection.execute(counting).fetchone()[0]
        for done, row in enumerate(stream(self._connection, sql)):
            if done % TELL_EVERY == 0:
                self._told(what, done, total)
            yield row
        self._counts[what] = total


def fix_orphans(connection: Connection, blobs: BlobFiles, *, files: bool) -> Fixed:
    """Delete what belongs to nothing.

    Args:
        connection: In a transaction that writes.
        blobs: Where large payloads are.
        files: Whether there is a place for them.
    """
    rows = delete_orphans(connection)
    gone = take_away_unused(connection, blobs, None)
    found = (*blobs.locations(), *blobs.leftovers(LEFT_SECONDS)) if files else ()
    named = {location for (location,) in connection.execute("SELECT location FROM payloads WHERE location IS NOT NULL")}
    return Fixed(rows, gone.payloads, tuple(one for one in found if one not in named))
