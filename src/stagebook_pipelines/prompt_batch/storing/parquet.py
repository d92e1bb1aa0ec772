"""Results as Parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagebook_pipelines.prompt_batch.storing.file_store import FileStore
from stagebook_pipelines.prompt_batch.storing.record import COLUMNS, KEY, Heading, Record
from stagebook_pipelines.prompt_batch.storing.store import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Final = 10_000
"""Of a row group: some tens of megabytes of prompts and answers."""


class ParquetStore(FileStore):
    """One row a result; `metadata` is JSON, `tags` a list, `timestamp` a time in UTC."""

    def __init__(self, path: Path, heading: Heading) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415  an extra, 0.1 s to import
            import pyarrow.parquet as pq  # noqa: PLC0415  as above
        except ImportError as error:
            raise StoreError(
                f"storing in Parquet needs pyarrow, which is not installed ({error});"
                " install it with: pip install 'stagebook[parquet]'"
            ) from None
        self._pa, self._pq = pa, pq
        self._schema = _schema(pa)
        self._rows: list[Record] = []
        super().__init__(path, heading)
        self._writer = pq.ParquetWriter(self._new, self._schema, compression="zstd")

    def _stored(self) -> dict[str, bool]:
        if not self._path.exists():
            return {}
        held = self._opened()
        with held:
            there = held.schema_arrow.names
            if missing := [one for one in (*COLUMNS, KEY) if one not in there]:
                raise StoreError(
                    f"{self._path} has no column {', '.join(missing)}, so results cannot be added to it;"
                    " name another file"
                )
            found: dict[str, bool] = {}
            for batch in held.iter_batches(columns=[KEY, "success"]):
                keys, successes = (batch.column(one).to_pylist() for one in (KEY, "success"))
                found.update((key, bool(success)) for key, success in zip(keys, successes, strict=True) if key)
            return found

    def _write(self, rows: Sequence[Record]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= ROWS:
            self._flush()

    def _end_of_new(self) -> None:
        self._flush()
        self._writer.close()

    def _abandon(self) -> None:
        self._writer.close()

    def _merge(self, new: Path, whole: Path) -> None:
        schema = self._schema
        if self._path.exists():
            with self._opened() as held:
                schema = held.schema_arrow
        with self._pq.ParquetWriter(whole, schema, compression="zstd") as made:
            for table in self._remaining():
                made.write_table(table)
            with self._pq.ParquetFile(new) as rows:
                for group in range(rows.num_row_groups):
                    made.write_table(self._as_held(self._unmended(rows.read_row_group(group)), schema))

    def _remaining(self) -> "Iterator[pa.Table]":
        """Give the rows that the file keeps, group by group."""
        if not self._path.exists():
            return
        with self._opened() as held:
            for group in range(held.num_row_groups):
                yield self._unmended(held.read_row_group(group))

    def _unmended(self, table: "pa.Table") -> "pa.Table":
        """Leave out the rows that are mended by a later one."""
        if not self._mended:
            return table
        compute = self._pa.compute
        named = compute.is_in(table[KEY], value_set=self._pa.array(sorted(self._mended), self._pa.string()))
        failed = compute.invert(compute.fill_null(table["success"], False))
        return table.filter(compute.invert(compute.and_(compute.fill_null(named, False), failed)))

    def _as_held(self, table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
        """Give new rows the columns and types that the file has."""
        pa = self._pa
        columns = []
        for field in schema:
            try:
                column = (
                    table[field.name].cast(field.type)
                    if field.name in table.column_names
                    else pa.nulls(len(table), field.type)
                )
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise StoreError(
                    f"the column {field.name} of {self._path} is {field.type}, which cannot hold results ({error});"
                    " name another file"
                ) from None
            columns.append(column)
        return pa.table(columns, schema=schema)

    def _opened(self) -> Any:
        try:
            return self._pq.ParquetFile(self._path)
        except self._pa.ArrowInvalid as error:
            raise StoreError(f"{self._path} is not a Parquet file ({error}); name another file") from None

    def _flush(self) -> None:
        if not self._rows:
            return
        pa, rows = self._pa, self._rows
        given: dict[str, Sequence[Any]] = dict(zip(Record._fields, zip(*rows, strict=True), strict=True))
        given[KEY] = given.pop("key")
        given["experiment_name"] = [self._heading.experiment_name] * len(rows)
        given["tags"] = [list(self._heading.tags)] * len(rows)
        columns = []
        for field in self._schema:
            if field.name == "timestamp":
                column = pa.array(given["timestamp"]).cast(field.type)
            else:
                column = pa.array(given[field.name], field.type)
            columns.append(column)
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._rows = []


def _schema(pa: Any) -> "pa.Schema":
    text = pa.string()
    special = {
        "success": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "duration_ms": pa.int64(),
        "tokens_used": pa.int64(),
        "tags": pa.list_(text),
    }
    return pa.schema([(name, special.get(name, text)) for name in (*COLUMNS, KEY)])
