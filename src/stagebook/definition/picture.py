"""Draws a pipeline as text: its stages in the order in which they can run, and what each reads."""

import textwrap
from collections.abc import Iterator

from stagebook.definition.graph import GIVEN, Graph, Read, ReadKind, StageSpec

NARROWEST = 40
"""Columns below which a drawing is not squeezed any further."""
MOST_NAMED = 4
"""Stages that one parameter reads, named one by one; of more, the first and the last."""


def draw(graph: Graph, width: int = 100) -> str:
    """Draw a pipeline.

    Every stage is a line: `o` for one that computes, `*` for one that asks a model, then its name, `[each ...]` where
    it runs for items, and what it leaves (`->>` where it yields items). Below it stands what it reads.

    Args:
        graph: The pipeline.
        width: Columns; at least 40.

    Returns:
        Lines without trailing spaces, ended by a newline; the same for the same pipeline.
    """
    width = max(width, NARROWEST)
    lines = [graph.name, *textwrap.wrap(graph.doc.partition("\n\n")[0], width), "", f"input {graph.input.__name__}"]
    phases: dict[str | None, list[StageSpec]] = {}
    for spec in graph.stages.values():
        phases.setdefault(spec.phase, []).append(spec)
    for phase, specs in phases.items():
        lines += ["", phase or "without a phase"] if graph.phases else [""]
        for spec in specs:
            lines.extend(_stage(graph, spec, width))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _stage(graph: Graph, spec: StageSpec, width: int) -> Iterator[str]:
    mark = "*" if spec.prompt is not None else "o"
    number = f"{spec.number} " if spec.number is not None else ""
    label = f" ({spec.label})" if spec.label else ""
    over = f" [each {' > '.join(graph.stages[name].output.__name__ for name in spec.axis)}]" if spec.axis else ""
    arrow = "->>" if spec.streams else "->"
    skips = " or skipped" if spec.skips else ""
    head = f"  {mark} {number}{spec.name}{label}{over} {arrow} {spec.output.__name__}{skips}"
    yield from textwrap.wrap(head, width, subsequent_indent="      ", break_on_hyphens=False)
    reads = ", ".join(_read(graph, read) for read in spec.reads)
    if reads:
        yield from textwrap.wrap(
            f"      reads {reads}", width, subsequent_indent="            ", break_on_hyphens=False
        )


def _read(graph: Graph, read: Read) -> str:
    """Say what one parameter reads."""
    if read.kind is ReadKind.INPUT:
        return "input"
    if read.kind in GIVEN:
        return f"<{read.kind.value}>"
    if read.kind is ReadKind.OUTCOMES:
        return f"what became of {' + '.join(read.stages)}"
    names = " + ".join(read.stages)
    if len(read.stages) > MOST_NAMED:
        names = f"{read.stages[0]} ... {read.stages[-1]} ({len(read.stages)})"
    if read.kind is ReadKind.ITEM:
        return f"its {graph.stages[read.stages[0]].output.__name__}"
    if read.kind in {ReadKind.LIST, ReadKind.ROWS, ReadKind.BY_ITEM}:
        many = any(graph.stages[name].item_axis for name in read.stages)
        return f"all of {names}" if many else names
    if read.kind is ReadKind.CHILDREN:
        return f"{names} below it"
    if read.kind is ReadKind.PICK:
        return f"{names}[{read.item}]"
    its = "its " if read.kind is ReadKind.OUTPUT and graph.stages[read.stages[0]].axis else ""
    return f"{its}{names}{' if there' if read.optional else ''}"
