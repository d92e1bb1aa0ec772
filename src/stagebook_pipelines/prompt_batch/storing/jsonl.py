"""Results as JSON lines."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from stagebook_pipelines.prompt_batch.storing.file_store import FileStore
from stagebook_pipelines.prompt_batch.storing.record import KEY, Heading, Record
from stagebook_pipelines.prompt_batch.storing.store import StoreError


class JsonLinesStore(FileStore):
    """One object a line; lines that hold no result of ours stay as they are."""

    def __init__(self, path: Path, heading: Heading) -> None:
        super().__init__(path, heading)
        self._file = self._new.open("wb")

    def _stored(self) -> dict[str, bool]:
        return {key: success for _, key, success in self._lines(self._path) if key is not None}

    def _write(self, rows: Sequence[Record]) -> None:
        self._file.writelines(orjson.dumps(self._document(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows)

    def _end_of_new(self) -> None:
        self._file.close()

    def _abandon(self) -> None:
        self._file.close()

    def _merge(self, new: Path, whole: Path) -> None:
        with whole.open("wb") as made:
            for path in (self._path, new) if self._mends_new else (self._path,):
                for line, key, success in self._lines(path):
                    if success or key not in self._mended:
                        made.write(line if line.endswith(b"\n") else line + b"\n")
            if not self._mends_new:
                with new.open("rb") as rows:
                    shutil.copyfileobj(rows, made)

    def _lines(self, path: Path) -> Iterator[tuple[bytes, str | None, bool]]:
        """Give the lines of a file, each with its key and whether it holds an answer."""
        if not path.exists():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    found = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise StoreError(
                        f"line {number} of {path} is not JSON ({error}), so nothing is added to it;"
                        " mend it, or name another file"
                    ) from None
                key = found.get(KEY) if isinstance(found, dict) else None
                yield line, key if isinstance(key, str) else None, bool(key and found.get("success"))

    def _document(self, record: Record) -> dict[str, Any]:
        return {
            "prompt": record.prompt,
            "response": record.response,
            "model": record.model,
            "success": record.success,
            "error": record.error,
            "timestamp": record.timestamp,
            "duration_ms": record.duration_ms,
            "tokens_used": record.tokens_used,
            "metadata": orjson.Fragment(record.metadata),
            "experiment_name": self._heading.experiment_name,
            "tags": self._heading.tags,
            KEY: record.key,
        }
