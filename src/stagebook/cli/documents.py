"""Finished texts as files beside the ledger, for reading and copying; the ledger stays what counts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from stagebook.definition.graph import Graph
from stagebook.ledger.location import DEFAULT, locate
from stagebook.ledger.store import Ledger
from stagebook.model.records import WHOLE, Run

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Document:
    """A text that a stage wrote."""

    stage: str
    path: Path


async def write_documents(run: Run, graph: Graph, ledger: Ledger, url: str | None) -> list[Document]:
    """Write the text of every stage that wrote one whole text, in the order of the stages.

    Args:
        run: The run.
        graph: Its pipeline.
        ledger: Where the texts are.
        url: The ledger as it was named; the files go beside it, into `runs/RUN_.../STAGE.md`.

    Raises:
        OSError: A file cannot be written.
    """
    folder = texts_folder(run.run_id, url)
    written = []
    for spec in sorted(graph.stages.values(), key=lambda one: one.position):
        if spec.text_field is None or spec.axis or spec.streams:
            continue
        data = await ledger.output_of(run.id, spec.name, WHOLE)
        if data is None:
            continue
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{file_name(spec.name)}.md"
        text = str(orjson.loads(data)[spec.text_field])
        path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
        written.append(Document(spec.name, path))
    return written


def texts_folder(run_id: str, url: str | None) -> Path:
    """Say where the texts of a run are."""
    return (locate(url).folder or DEFAULT.parent) / "runs" / file_name(run_id)


def file_name(name: str) -> str:
    """Make a name that stays in its folder, whatever was in it."""
    return _UNSAFE.sub("-", name).strip("-") or "unnamed"


def shown(path: Path) -> str:
    """Write a path as short as it can be typed from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
