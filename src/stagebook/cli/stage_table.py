"""A run's stages as a table that fits its terminal."""

from decimal import Decimal

from rich.table import Table
from rich.text import Text

from stagebook.cli.quantities import count, duration, money
from stagebook.insight.run_document import RunDocument, StageDocument
from stagebook.model.usage import PICODOLLARS

STYLES = {
    "completed": "green",
    "failed": "red",
    "running": "cyan",
    "interrupted": "yellow",
    "paused": "yellow",
    "cancelled": "yellow",
}


def stage_table(run: RunDocument) -> Table:
    """Lay out the stages: status, steps, tokens, cost and time of each."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("stage", no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True)
    for name in ("steps", "tokens", "cost", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in run.stages:
        table.add_row(*_row(stage))
    return table


def styled(status: str) -> Text:
    """Write a status in its colour."""
    return Text(status, style=STYLES.get(status, "dim"))


def _row(stage: StageDocument) -> tuple[str | Text, ...]:
    tokens = stage.input_tokens + stage.output_tokens
    begun = stage.steps.completed + stage.steps.failed + stage.steps.skipped > 0
    return (
        stage.title,
        styled(stage.status),
        _steps(stage),
        count(tokens) if tokens else "",
        money(Decimal(stage.cost) / PICODOLLARS) if tokens else "",
        duration(stage.seconds) if begun and stage.seconds else "",
    )


def _steps(stage: StageDocument) -> str:
    steps = stage.steps
    done = steps.completed + steps.skipped
    text = f"{done}/{steps.total}"
    if steps.reused:
        text = f"{text}, {steps.reused} reused"
    if steps.failed:
        text = f"{text}, {steps.failed} failed"
    return text
