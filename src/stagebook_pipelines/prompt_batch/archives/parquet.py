"""Rows of Parquet files, a few at a time."""

from collections.abc import Iterator
from typing import BinaryIO

from stagebook_pipelines.prompt_batch.archives.answers import KNOWN_ANSWERS
from stagebook_pipelines.prompt_batch.archives.shapes import KNOWN_FIELDS
from stagebook_pipelines.prompt_batch.archives.stream import CutOff, Record, Trouble
from stagebook_pipelines.prompt_batch.archives.tables import structured

MAGIC = b"PAR1"
_AT_ONCE = 4 << 20
_MOST_ROWS = 1024


def parquet_rows(file: BinaryIO, largest: int, column: str | None) -> Iterator[Record | Trouble]:
    """Read the rows of a Parquet file; of its columns, those that a known shape has.

    Args:
        file: The file.
        largest: Bytes that a row may have; of a group of rows whose mean is more, nothing is read.
        column: The column that asks, where it has been said.

    Yields:
        Each row as a dict.

    Raises:
        CutOff: The file is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  half a second and 60 MB, and few archives are Parquet
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415  as above
    except ImportError:
        raise CutOff("is Parquet, which needs pyarrow: pip install 'stagebook[batch]'") from None
    index = 0
    try:
        with ParquetFile(file) as table:
            names = table.schema_arrow.names
            wanted = [name for name in names if name in KNOWN_FIELDS or name in KNOWN_ANSWERS or name == column]
            for group in range(table.num_row_groups):
                facts = table.metadata.row_group(group)
                mean = facts.total_byte_size // max(facts.num_rows, 1)
                if mean > largest:
                    many = f"is one of {facts.num_rows} rows of more than {largest:,} bytes each, which were left out"
                    yield Trouble(many, index)
                    index += facts.num_rows
                    continue
                rows = max(1, min(_MOST_ROWS, _AT_ONCE // max(mean, 1)))
                for batch in table.iter_batches(rows, row_groups=[group], columns=wanted or None, use_threads=False):
                    for row in batch.to_pylist():
                        yield Record(structured(row), index)
                        index += 1
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise CutOff(f"is Parquet that cannot be read: {str(problem).splitlines()[0]}") from None
