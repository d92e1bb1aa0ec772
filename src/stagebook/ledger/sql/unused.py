"""Payloads that nothing names any more, and files that no row names: found, and taken away without harm to others.

A payload is in use while an exchange, a segment or a run's input names it, and while one that is in use is packed
against it. Whoever takes payloads away counts `purges` up in the same transaction: writers remember which hashes are
stored, and forget it then.
"""

# ruff: noqa: S608  the statements are made of constants
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stagebook.ledger.blob_files import BlobFiles
from stagebook.ledger.payload_codec import Packer
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.payload_rows import read_payload
from stagebook.ledger.sql.recent import hashes

_AT_ONCE: Final = 200
"""Hashes that one statement takes."""
_MARKS: Final = ", ".join("?" * _AT_ONCE)
_BASES: Final = f"SELECT base FROM payloads WHERE base IS NOT NULL AND hash IN ({_MARKS})"
_UNNAMED: Final = """
SELECT p.hash, p.location, coalesce(length(p.body), 0), p.base FROM payloads p
WHERE {chosen} p.hash NOT IN (SELECT input FROM runs)
AND p.hash NOT IN (SELECT skeleton FROM exchanges WHERE skeleton IS NOT NULL)
AND p.hash NOT IN (SELECT response FROM exchanges WHERE response IS NOT NULL)
AND p.hash NOT IN (SELECT payload FROM segments)
"""


@dataclass(frozen=True, slots=True)
class Unused:
    """A payload that nothing names."""

    hash: bytes
    location: str | None
    """Its file below `blobs/`."""
    size: int
    """Bytes in the database; 0 for one in a file."""
    base: bytes | None
    """What it is packed against."""


@dataclass(frozen=True, slots=True)
class TakenAway:
    """What was taken out of the database."""

    payloads: int
    bytes: int
    """Stored bytes of those that stood in the database."""
    files: tuple[str, ...]
    """Files that no row names any more; they are still there."""


def unused(connection: Connection, among: Iterable[bytes] | None = None) -> dict[bytes, Unused]:
    """Find the payloads that nothing in use needs.

    Args:
        connection: In a transaction.
        among: Only of these, and of what they are packed against.
    """
    found = _unnamed(connection, among)
    for _, base in _leaning(connection, found).values():
        _keep(found, base)
    return found


def take_away_unused(connection: Connection, blobs: BlobFiles, among: Iterable[bytes] | None) -> TakenAway:
    """Delete payloads that nothing names; their files have to be swept afterwards, by `sweep`.

    What stays and was packed against one of them is packed anew, so that no part of them stays: but for what stands in
    a file, which keeps what it needs.

    Args:
        connection: In a transaction that writes.
        blobs: Where large ones are.
        among: Only of these; None for all, where nothing is packed anew.
    """
    found = unused(connection) if among is None else _unnamed(connection, among)
    packer = Packer()
    leaning = _leaning(connection, found)
    for location, base in leaning.values():
        if location is not None:
            _keep(found, base)
    for hash_, (_, base) in leaning.items():
        if any(one in found for one in hashes(base)):
            packed = packer.pack(read_payload(connection, blobs, hash_), ())
            connection.execute(
                "UPDATE payloads SET encoding = ?, base = NULL, body = ? WHERE hash = ?",
                (packed.encoding, packed.body, hash_),
            )
    connection.executemany("DELETE FROM payloads WHERE hash = ?", [(hash_,) for hash_ in found])
    connection.execute("UPDATE purges SET count = count + 1")
    files = tuple(sorted(one.location for one in found.values() if one.location is not None))
    return TakenAway(len(found), sum(one.size for one in found.values()), files)


def sweep(connection: Connection, blobs: BlobFiles, files: Iterable[str]) -> int:
    """Remove files that no row names.

    Within a transaction that writes, so that nobody can commit a row for one meanwhile; a writer that relied on finding
    it learns from `purges` that it has to write it again.

    Args:
        connection: In a transaction that writes.
        blobs: Where they are.
        files: Those that may be removed; one that a row names stays.

    Returns:
        How many were removed.

    Raises:
        OSError: One cannot be removed.
    """
    removed = 0
    for location in files:
        if (
            connection.execute(
                "SELECT 1 FROM payloads WHERE hash = ? AND location = ?", (_hash(location), location)
            ).fetchone()
            is None
        ):
            blobs.remove(location)
            removed += 1
    connection.execute("UPDATE purges SET count = count + 1")
    return removed


def _hash(location: str) -> bytes:
    """Read the hash that a file is named by; of one that is named otherwise, nothing has it."""
    try:
        return bytes.fromhex(location.rpartition("/")[2])
    except ValueError:
        return b""


def _unnamed(connection: Connection, among: Iterable[bytes] | None) -> dict[bytes, Unused]:
    if among is None:
        return {row[0]: Unused(*row) for row in connection.execute(_UNNAMED.format(chosen="")).fetchall()}
    chosen = _with_bases(connection, among)
    sql = _UNNAMED.format(chosen=f"p.hash IN ({_MARKS}) AND")
    return {row[0]: Unused(*row) for part in _parts(chosen) for row in connection.execute(sql, part).fetchall()}


def _with_bases(connection: Connection, among: Iterable[bytes]) -> set[bytes]:
    """Add to hashes those that they are packed against, and those of these in turn."""
    new = set(among)
    known: set[bytes] = set()
    while new:
        known |= new
        rows = (row for part in _parts(new) for row in connection.execute(_BASES, part).fetchall())
        new = {one for (base,) in rows for one in hashes(base)} - known
    return known


def _parts(chosen: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Part hashes into as many as a statement takes; what is missing of the last part is filled with one of its own."""
    ordered = sorted(chosen)
    for start in range(0, len(ordered), _AT_ONCE):
        part = ordered[start : start + _AT_ONCE]
        yield (*part, *(part[:1] * (_AT_ONCE - len(part))))


def _leaning(connection: Connection, found: dict[bytes, Unused]) -> dict[bytes, tuple[str | None, bytes]]:
    """Find what is in use and packed against something that is not: hash -> (file, what it is packed against)."""
    if not found:
        return {}
    rows = connection.execute("SELECT hash, location, base FROM payloads WHERE base IS NOT NULL")
    return {
        row[0]: (row[1], row[2]) for row in rows if row[0] not in found and any(one in found for one in hashes(row[2]))
    }


def _keep(found: dict[bytes, Unused], base: bytes) -> None:
    """Leave out what something in use is packed against, and what that is packed against in turn."""
    for hash_ in hashes(base):
        one = found.pop(hash_, None)
        if one is not None and one.base is not None:
            _keep(found, one.base)
