"""A definition's stages as rows, so that views can say a stage's label, phase and text field in SQL."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

StageRow = tuple[Any, ...]  # Any: what sqlite3 binds, one type per column


def stage_rows(definition: bytes) -> list[StageRow]:
    """Read a definition's stages.

    Args:
        definition: JSON object with a list `stages`; what a stage does not say is left empty.

    Returns:
        One row per stage, in the order of the columns of table `stages` after `definition`.
    """
    document = orjson.loads(definition)
    stages = document.get("stages", []) if isinstance(document, dict) else []
    keys = _step_keys(stages)
    return [_row(stage, position, keys[position]) for position, stage in enumerate(stages)]


def _row(stage: Mapping[str, Any], position: int, step_key: str) -> StageRow:
    prompt = stage.get("prompt")
    prompt = prompt if isinstance(prompt, dict) else {}
    template = prompt.get("template")
    template = template if isinstance(template, dict) else {}
    number = stage.get("number")
    return (
        stage["name"],
        _label(stage),
        None if number is None else str(number),
        stage.get("phase"),
        stage.get("position", position),
        stage.get("kind"),
        stage.get("each"),
        _json(stage.get("axis") or []),
        int(bool(stage.get("streams"))),
        stage.get("text_field"),
        _text(stage.get("output")),
        _json(stage["schema"]) if stage.get("schema") is not None else None,
        stage.get("prompt_id") or _text(template.get("hash")) or _text(prompt.get("hash")),
        _text(prompt.get("model")) or _text(stage.get("model")),
        step_key,
    )


def _step_keys(stages: list[Mapping[str, Any]]) -> list[str]:
    """Name each stage inside step ids: its label, and its own name where another stage has that label.

    A mapped stage's key is followed by `_` and an item, so it must not be the beginning of another key.
    """
    labels = Counter(_label(stage) for stage in stages)
    keys = [_label(stage) if labels[_label(stage)] == 1 else f"{_label(stage)}_{stage['name']}" for stage in stages]
    for position, stage in enumerate(stages):
        if stage.get("axis") or stage.get("each"):
            others = keys[:position] + keys[position + 1 :]
            while any(other.startswith(f"{keys[position]}_") for other in others):
                keys[position] += "_"
    return keys


def _label(stage: Mapping[str, Any]) -> str:
    return str(stage.get("label") or stage["name"])


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
