"""What a person reads when a run has ended: its stages, its warnings, the finished text, and what to type next."""

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from rich.console import Console

from stagebook.cli.command_lines import command, query
from stagebook.cli.console import harmless
from stagebook.cli.documents import Document, shown
from stagebook.cli.quantities import count, duration, money, plural
from stagebook.cli.stage_table import stage_table, styled
from stagebook.insight.run_document import RunDocument
from stagebook.model.usage import PICODOLLARS, dollars

MOST_TOLD: Final = 10
"""Warnings, or errors, that are printed."""
HOSTED: Final = "openai:gpt-4.1-mini"


def print_report(
    console: Console,
    run: RunDocument,
    documents: Sequence[Document],
    *,
    ledger: str | None,
    again: Sequence[str] = (),
    resume: str | None = None,
) -> None:
    """Print it.

    Args:
        console: Where.
        run: What came of the run.
        documents: Texts that were written as files.
        ledger: The ledger as it was typed.
        again: The words of a command that runs the same on a hosted model, if that is worth proposing.
        resume: The command that goes on with the run, where it needs more than its id.
    """
    console.print()
    print_head(console, run)
    console.print()
    console.print(stage_table(run))
    print_told(console, "warning", run.warnings)
    print_told(console, "error", run.errors)
    if documents:
        console.print()
        for one in documents[:-1]:
            console.print(f"  {one.stage}: {shown(one.path)}", style="dim", soft_wrap=True)
        what = "The finished text" if run.status == "completed" else "The text so far"
        console.print(f"{what}: {shown(documents[-1].path)}", style="bold", soft_wrap=True)
    console.print()
    console.print("Next:", style="dim")
    for line in next_commands(run, documents, ledger=ledger, again=again, resume=resume):
        console.print(f"  {line}", soft_wrap=True)


def print_head(console: Console, run: RunDocument) -> None:
    """Print a run's first line: what it is, where it stands, what it took."""
    parts = [duration(run.seconds), money(Decimal(run.cost) / PICODOLLARS)]
    if run.budget is not None:
        parts[-1] += f" of a budget of ${dollars(run.budget)}"
    tokens = run.input_tokens + run.output_tokens
    if tokens:
        parts.append(f"{count(tokens)} tokens")
    if run.avoided:
        parts.append(f"{money(Decimal(run.avoided) / PICODOLLARS)} avoided")
    if run.possibly_paid:
        parts.append(f"{plural(run.possibly_paid, 'call')} possibly paid without an answer")
    console.print(f"{run.pipeline} {run.run_id} ", styled(run.status), f": {', '.join(parts)}", sep="", soft_wrap=True)


def print_told(console: Console, what: str, texts: Iterable[str], *, whole: bool = False) -> None:
    """Print warnings or errors: each sentence once, with how often it came, and how many more there are.

    Args:
        console: Where.
        what: `warning` or `error`.
        texts: All of them.
        whole: Print every one to its end, instead of ten, each on one line.
    """
    counted = Counter(texts)
    if not counted:
        return
    console.print()
    console.print(plural(sum(counted.values()), what), style="yellow" if what == "warning" else "red")
    most = len(counted) if whole else MOST_TOLD
    for text, times in list(counted.items())[:most]:
        line = f"  {' '.join(harmless(text).split())}{f' ({times} times)' if times > 1 else ''}"
        console.print(line, no_wrap=not whole, overflow="fold" if whole else "ellipsis", crop=not whole)
    if len(counted) > most:
        console.print(f"  and {len(counted) - most:,} more", style="dim")


def next_commands(
    run: RunDocument,
    documents: Sequence[Document],
    *,
    ledger: str | None,
    again: Sequence[str] = (),
    resume: str | None = None,
) -> list[str]:
    """Choose three commands worth typing now."""
    begun = [stage.name for stage in run.stages if stage.steps.completed]
    failed = [stage.name for stage in run.stages if stage.steps.failed]
    stage = next(iter(failed), documents[-1].stage if documents else begun[-1] if begun else None)
    lines = [command("show", run.run_id, *(("--stage", stage) if stage else ()), ledger=ledger)]
    outputs = f"FROM stage_outputs WHERE run_id = '{run.run_id}'"
    lines.append(
        query(f"SELECT stage, item, substr(coalesce(output_text, output_data), 1, 60) AS begins {outputs}", ledger)
    )
    if run.status not in {"completed", "cancelled"}:
        lines.append(resume or command("resume", run.run_id, ledger=ledger))
    elif again:
        lines.append(command(*again, ledger=ledger))
    else:
        lines.append(command("runs", "--pipeline", run.pipeline, ledger=ledger))
    return lines
