"""The name of a table, as it is typed and as SQL takes it."""

import re
from dataclasses import dataclass
from typing import Final

from stagebook_pipelines.prompt_batch.storing.store import StoreError

LONGEST: Final = 63
"""Bytes that PostgreSQL keeps of a name; it would cut a longer one silently."""
_PART: Final = re.compile(r"[^\W\d][\w $-]*")


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, in a schema or in whichever the database looks first."""

    schema: str | None
    table: str

    @property
    def sql(self) -> str:
        """Quoted; no name of ours holds a quotation mark."""
        return f'"{self.schema}"."{self.table}"' if self.schema else f'"{self.table}"'

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table


def read_table_name(text: str) -> TableName:
    """Read `table` or `schema.table`; each letter counts as it is typed, capitals too.

    Raises:
        StoreError: It is no name of a table.
    """
    parts = text.split(".")
    if len(parts) not in {1, 2} or not all(map(_is_name, parts)):
        raise StoreError(
            f"{text[:80]!r} is no name of a table: write letters, digits and _, at most {LONGEST} bytes,"
            " as in prompt_evaluations or research.prompt_evaluations"
        )
    return TableName(parts[0] if parts[1:] else None, parts[-1])


def _is_name(part: str) -> bool:
    return _PART.fullmatch(part) is not None and len(part.encode("utf-8", "replace")) <= LONGEST
