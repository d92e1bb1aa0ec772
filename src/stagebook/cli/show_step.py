"""How steps are shown: a table of many, or one with its prompt, its answers and its output."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from stagebook.cli.console import harmless
from stagebook.cli.quantities import count, duration, money, plural
from stagebook.cli.stage_table import styled
from stagebook.insight.attempts import AttemptDocument
from stagebook.insight.exchanges import ExchangeDocument
from stagebook.insight.run_document import StageDocument
from stagebook.insight.steps import StepDocument
from stagebook.model.usage import PICODOLLARS

MOST_STEPS: Final = 500
MOST_ITEMS: Final = 20


def print_steps(console: Console, stage: StageDocument, steps: Sequence[StepDocument]) -> None:
    """Print a line per step."""
    console.print(f"{stage.title}: ", styled(stage.status), f", {plural(stage.steps.total, 'step')}", sep="")
    if not steps:
        return
    console.print()
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("item", no_wrap=True, overflow="ellipsis")
    table.add_column("status", no_wrap=True)
    for name in ("attempts", "tokens", "cost", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for step in steps[:MOST_STEPS]:
        tokens = step.input_tokens + step.output_tokens
        table.add_row(
            harmless(step.item),
            styled(step.status),
            str(step.attempts or ""),
            count(tokens) if tokens else "",
            money(Decimal(step.cost) / PICODOLLARS) if tokens else "",
            duration(step.seconds) if step.attempts else "",
            harmless(_remark(step)),
        )
    console.print(table)
    if len(steps) > MOST_STEPS:
        console.print(f"and {len(steps) - MOST_STEPS:,} more; --json lists all", style="dim")
    console.print()
    console.print("--item KEY shows one in full: its prompt, its answers and its output", style="dim")


def print_step(
    console: Console,
    step: StepDocument,
    attempts: Sequence[AttemptDocument],
    exchanges: Sequence[ExchangeDocument],
    outputs: Mapping[str, Any],
) -> None:
    """Print one step: its attempts, its calls, the last prompt as it was sent, the answer, and what was made of it."""
    name = f"{step.stage}[{harmless(step.item)}]" if step.item else step.stage
    tokens = step.input_tokens + step.output_tokens
    parts = [plural(step.attempts, "attempt")] if step.attempts else []
    if tokens:
        parts += [f"{count(tokens)} tokens", money(Decimal(step.cost) / PICODOLLARS)]
    if step.attempts:
        parts.append(duration(step.seconds))
    console.print(f"{name}: ", styled(step.status), "".join(f", {part}" for part in parts), sep="", soft_wrap=True)
    if step.reason:
        console.print(harmless(step.reason), style="red" if step.status == "failed" else "dim")
    if step.reused_from is not None:
        console.print(f"reused from {harmless(str(step.reused_from))}", style="dim", soft_wrap=True)
    for warning in step.warnings:
        console.print(harmless(warning), style="yellow")
    _print_attempts(console, attempts)
    _print_exchanges(console, exchanges)
    _print_outputs(console, step, outputs)


def print_item(console: Console, stage: str, item: str, output: Any) -> None:
    """Print one item that a stage yielded."""
    console.print(f"{stage} yielded {harmless(item)}")
    _heading(console, "output")
    _print_value(console, output)


def _remark(step: StepDocument) -> str:
    said = next(iter((step.reason or "", *step.warnings)), "").partition("\n")[0]
    return f"reused from {step.reused_from}" if step.reused_from is not None and not said else said


def _print_attempts(console: Console, attempts: Sequence[AttemptDocument]) -> None:
    """Print a line per attempt, unless there was only one and it went well."""
    if len(attempts) < 2 and all(one.error_type is None for one in attempts):  # noqa: PLR2004  two are several
        return
    _heading(console, plural(len(attempts), "attempt"))
    for one in attempts:
        taken = "" if one.seconds is None else f" after {duration(one.seconds)}"
        error = "" if one.error_type is None else f" ({one.error_type})"
        console.print(f"{one.number}. ", styled(one.status), f"{taken}{harmless(error)}", sep="", soft_wrap=True)
        if one.reason:
            console.print(f"   {harmless(one.reason)}", style="yellow", soft_wrap=True)


def _print_exchanges(console: Console, exchanges: Sequence[ExchangeDocument]) -> None:
    if not exchanges:
        return
    _heading(console, plural(len(exchanges), "call"))
    for number, one in enumerate(exchanges, 1):
        status = "" if one.http_status is None else f" {one.http_status}"
        taken = "" if one.seconds is None else f", {duration(one.seconds)}"
        spent = (
            f", {count(one.input_tokens)} tokens read, {count(one.output_tokens)} written" if one.input_tokens else ""
        )
        again = f", attempt {one.attempt}" if one.attempt > 1 else ""
        again += f", try {one.try_number}" if one.try_number > 1 else ""
        console.print(f"{number}. {harmless(one.target)} {one.state}{status}{again}{spent}{taken}", soft_wrap=True)
        for what, text in (("complaint", one.complaint), ("error", one.error)):
            if text:
                console.print(f"   {what}: {harmless(text)}", style="yellow")
    purged = sum(one.purged for one in exchanges)
    if purged:
        console.print(f"what was asked and answered in {plural(purged, 'call')} was purged", style="dim")
    last = next((one for one in reversed(exchanges) if one.messages), None)
    if last is not None:
        _heading(console, "prompt" if last is exchanges[-1] else "prompt (of the last model call)")
        for message in last.messages:
            console.print(f"[{message.role}]", style="cyan")
            _print_text(console, message.text)
    answered = next((one for one in reversed(exchanges) if one.answer is not None), None)
    if answered is not None:
        _heading(console, "answer, as it came")
        _print_text(console, answered.answer or "")


def _print_outputs(console: Console, step: StepDocument, outputs: Mapping[str, Any]) -> None:
    if step.item in outputs:
        _heading(console, "output")
        _print_value(console, outputs[step.item])
    elif outputs:
        _heading(console, plural(len(outputs), "item"))
        for item in list(outputs)[:MOST_ITEMS]:
            console.print(f"  {harmless(item)}", soft_wrap=True)
        if len(outputs) > MOST_ITEMS:
            console.print(f"  and {len(outputs) - MOST_ITEMS:,} more; --item KEY shows one", style="dim")


def _print_value(console: Console, value: Any) -> None:
    """Print JSON; texts of several lines stand apart, as they are to be read."""
    texts: dict[str, str] = {}
    if isinstance(value, dict):
        texts = {name: part for name, part in value.items() if isinstance(part, str) and "\n" in part}
        value = {name: part for name, part in value.items() if name not in texts}
    if value or not texts:
        _print_text(console, orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    for name, text in texts.items():
        console.print(f"[{name}]", style="cyan")
        _print_text(console, text)


def _print_text(console: Console, text: str) -> None:
    console.print(harmless(text), soft_wrap=True)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold")
