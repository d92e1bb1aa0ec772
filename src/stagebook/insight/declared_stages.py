"""The stages of a recorded declaration, as a run's document speaks of them; the pipeline itself need not be there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class DeclaredStage:
    """One stage, as it was when the run was created."""

    name: str
    number: int | None
    """Published number."""
    phase: str | None
    position: int
    """Order of declaration."""
    axis: tuple[str, ...]
    """The stages whose items it runs for, outermost first."""
    streams: bool
    """Whether it yields items."""
    collects: bool
    """Whether its failures are collected, so that they do not fail the run."""
    upstream: frozenset[str]
    """What it reads, and the stage it is mapped over."""


def declared_stages(definition: bytes) -> tuple[DeclaredStage, ...]:
    """Read a recorded declaration.

    Args:
        definition: As `Ledger.definition` gives it; what another driver's leaves out counts as not declared.

    Returns:
        Each stage after those that it reads.
    """
    return tuple(
        DeclaredStage(
            name=stage["name"],
            number=stage.get("number"),
            phase=stage.get("phase"),
            position=stage.get("position", place),
            axis=tuple(stage.get("axis") or ()),
            streams=bool(stage.get("streams")),
            collects=(stage.get("policy") or {}).get("on_error") == "collect",
            upstream=_upstream(stage),
        )
        for place, stage in enumerate(orjson.loads(definition).get("stages", ()))
    )


def _upstream(stage: Mapping[str, Any]) -> frozenset[str]:
    read = {name for read in stage.get("reads") or () for name in read.get("stages", ())}
    return frozenset(read | set((stage.get("axis") or ())[-1:]))


def in_scope(stages: Sequence[DeclaredStage], until: str | None) -> tuple[DeclaredStage, ...]:
    """Keep the stages that a run needs: all, or one and everything above it."""
    if until is None:
        return tuple(stages)
    wanted = {until}
    for stage in reversed(stages):  # whoever reads a stage stands after it
        if stage.name in wanted:
            wanted |= stage.upstream
    return tuple(stage for stage in stages if stage.name in wanted)
