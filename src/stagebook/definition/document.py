"""The declaration as one JSON document: what the ledger keeps with a run."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson
from pydantic import BaseModel

from stagebook.definition.graph import GIVEN, Check, PromptSpec, Read, StageSpec


def document(
    name: str,
    doc: str,
    run_input: type[BaseModel],
    input_schema: bytes,
    stages: Iterable[StageSpec],
    phases: Iterable[str],
) -> bytes:
    """Write a declaration; the same one gives the same bytes. It names no files and lines."""
    return orjson.dumps(
        {
            "name": name,
            "doc": doc,
            "input": {"name": run_input.__name__, "schema": orjson.Fragment(input_schema)},
            "phases": list(phases),
            "stages": [_stage(stage) for stage in stages],
        },
    )


def _stage(stage: StageSpec) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": "prompt" if stage.prompt is not None else "compute",
        "label": stage.label,
        "number": stage.number,
        "phase": stage.phase,
        "position": stage.position,
        "doc": stage.doc,
        "each": stage.each,
        "axis": list(stage.axis),
        "reads": [_read(read) for read in stage.reads],
        "output": stage.output.__name__,
        "schema": orjson.Fragment(stage.schema),
        "streams": stage.streams,
        "key_field": stage.key_field,
        "text_field": stage.text_field,
        "skips": stage.skips,
        "model": stage.model,
        "checks": [_check(check) for check in stage.checks],
        "policy": asdict(stage.policy),
        "code": stage.code_hash.hex(),
        "prompt": _prompt(stage.prompt) if stage.prompt is not None else None,
    }


def _read(read: Read) -> dict[str, Any]:
    said: dict[str, Any] = {"parameter": read.parameter, "kind": read.kind.value}
    if read.kind not in GIVEN:
        said |= {"stages": list(read.stages), "type": read.type.__name__, "optional": read.optional, "item": read.item}
    return said


def _check(check: Check) -> dict[str, Any]:
    return {"name": check.name, "code": check.code_hash.hex()}


def _prompt(prompt: PromptSpec) -> dict[str, Any]:
    return {
        "template": {"name": prompt.template.name, "hash": prompt.template.content_hash.hex()},
        "model": prompt.model,
        "sampling": asdict(prompt.sampling),
        "tries": prompt.tries,
        "text_field": prompt.text_field,
        "schema": orjson.Fragment(prompt.schema) if prompt.schema is not None else None,
    }
