"""The statements of a batch for many rows at once: each carries its rows as one array a column.

A row that is sent by itself costs the server as much in parsing and planning as in writing; two hundred in one
statement cost a tenth of that, and none has to stay prepared in a session, which a pooler would not allow.
"""

# ruff: noqa: S608  the statements are made of constants
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from stagebook.ledger.postgres.connection import Blobs
from stagebook.ledger.postgres.translation import placed, qualified
from stagebook.ledger.sql.connection import Row
from stagebook.ledger.sql.statements import EVENT, FIRST_OUTPUT, OUTPUT, Statement

_SOURCES: Final = {"n": "unnest({}::bigint[])", "t": "json_array_elements_text({}::json)", "b": "unnest({}::bytea[])"}
_TYPES: Final = {"n": "bigint", "t": "text", "b": "bytea"}
_INSERT: Final = re.compile(r"\s*(INSERT INTO \w+ \([^)]*\))\s+VALUES\s+\((.*?)\)\s*(ON CONFLICT.*)?$", re.DOTALL)
_UPDATE: Final = re.compile(r"\s*(UPDATE .*?)\s+(WHERE .*)$", re.DOTALL)
_KEY: Final = re.compile(r"= \?(\d*)")
_OUTPUT: Final = """
INSERT INTO outputs (id, run, step, stage, item, version, first, replaces, content_hash, size, nul_replaced,
    made_by, at, data)
SELECT ?1, ?2, ?3, ?4, ?5, coalesce(live.version, 0) + 1, coalesce(live.first, ?1), live.id, ?6, ?7, ?8, ?9, ?10, ?11
FROM {rows} LEFT JOIN LATERAL (
    SELECT o.id, o.version, o.first, o.content_hash FROM outputs o WHERE o.run = ?2 AND o.stage = ?4 AND o.item = ?5
    ORDER BY o.version DESC LIMIT 1
) AS live ON TRUE
WHERE live.content_hash IS DISTINCT FROM ?6 ORDER BY ?1
"""
_EVENT: Final = """
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(${lock}))
INSERT INTO events (at, run, kind, step, data) SELECT ?1, ?2, ?3, ?4, ?5 FROM alone, {rows} ORDER BY n.place
"""
"""Numbers are given out once the lock is held, and it is held until the commit."""


def rounds(statement: Statement, rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Part rows so that none changes what another of the same round changes; in their order."""
    places = _key(statement)
    if not places or len({tuple(row[place] for place in places) for row in rows}) == len(rows):
        return [rows]
    parts: list[list[Row]] = []
    count: dict[tuple[Any, ...], int] = {}
    for row in rows:
        changed = tuple(row[place] for place in places)
        number = count[changed] = count.get(changed, -1) + 1
        if number == len(parts):
            parts.append([])
        parts[number].append(row)
    return list(parts)


def bound(statement: Statement, rows: Sequence[Row]) -> Sequence[object]:
    """Give what a statement of `written` is executed with."""
    if len(rows) == 1:
        return rows[0]
    return [_bind(kind, column) for kind, column in zip(statement.kinds, zip(*rows, strict=True), strict=True)]


@lru_cache(maxsize=256)
def written(statement: Statement, schema: str, *, single: bool) -> bytes:
    """Write a statement for the rows of a round.

    Args:
        statement: One of the ledger's.
        schema: The ledger's.
        single: Whether the round is one row, whose values are bound as they are.
    """
    return qualified(_numbered(_form(statement, _rows(statement, single=single))), schema).encode()


def _form(statement: Statement, rows: str) -> str:
    if statement in {OUTPUT, FIRST_OUTPUT}:
        return _OUTPUT.format(rows=rows)
    if statement is EVENT:
        return _EVENT.format(rows=rows, lock=len(EVENT.kinds) + 1)
    inserted = _INSERT.match(statement.sql)
    if inserted is not None:
        into, values, conflict = inserted.groups()
        return f"{into} SELECT {values} FROM {rows} {conflict or ''}"
    updated = _UPDATE.match(statement.sql)
    if updated is None:
        raise ValueError(f"a statement of a batch is neither INSERT ... VALUES nor UPDATE ... WHERE: {statement.sql}")
    return f"{updated[1]} FROM {rows} {updated[2]}"


def _rows(statement: Statement, *, single: bool) -> str:
    kinds = statement.kinds
    names = ", ".join(f"p{number}" for number in range(1, len(kinds) + 1))
    if single:
        values = ", ".join(f"${number}::{_TYPES[kind]}" for number, kind in enumerate(kinds, 1))
        return f"(VALUES ({values}, 1)) AS n({names}, place)"
    sources = ", ".join(_SOURCES[kind].format(f"${number}") for number, kind in enumerate(kinds, 1))
    return f"ROWS FROM ({sources}) WITH ORDINALITY AS n({names}, place)"


def _numbered(sql: str) -> str:
    """Name the columns of the rows where the placeholders were."""
    last = 0

    def name(number: str) -> str:
        nonlocal last
        last = int(number) if number else last + 1
        return f"n.p{last}"

    return placed(sql, name)


@lru_cache(maxsize=64)
def _key(statement: Statement) -> tuple[int, ...]:
    """The places of the values that say what a row changes."""
    if statement in {OUTPUT, FIRST_OUTPUT}:
        return (1, 3, 4)
    updated = _UPDATE.match(statement.sql)
    if updated is None or not statement.sql.lstrip().startswith("UPDATE"):
        return ()
    before = len(re.findall(r"\?", updated[1]))
    numbers = _KEY.findall(updated[2])
    return tuple(int(number) - 1 if number else before + place for place, number in enumerate(numbers))


def _bind(kind: str, column: Sequence[Any]) -> object:  # Any: of the kind
    """Write a column as an array: numbers as PostgreSQL's literal, texts as a JSON list, bytes in binary."""
    if kind == "b":
        return Blobs(column)
    written = orjson.dumps(column).decode()
    return written if kind == "t" else "{" + written[1:-1] + "}"
