"""What a person sees while a run goes on: one line per stage, drawn from the counters a few times a second."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from stagebook.cli.quantities import count, duration, money, roughly
from stagebook.definition.graph import Graph
from stagebook.engine.progress import Progress, StageProgress
from stagebook.model.usage import PICODOLLARS

SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_SPINNER: Final = "|/-\\"
SPINS_PER_SECOND: Final = 8
RATE_SECONDS: Final = 8.0
"""Length of the window that tokens per second are taken over."""
BAR: Final = 12
"""Cells of a bar."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character per state."""

    done: str
    failed: str
    skipped: str
    waiting: str
    spinner: str
    full: str
    empty: str
    dot: str
    """Between the parts of a line."""


PRETTY: Final = Glyphs("✓", "✗", "○", "·", SPINNER, "━", "─", "·")
PLAIN: Final = Glyphs("+", "x", "o", ".", ASCII_SPINNER, "#", "-", "|")


class Display:
    """Draws a run; give it to `rich.live.Live`.

    Args:
        progress: Its counters.
        graph: Its pipeline.
    """

    def __init__(self, progress: Progress, graph: Graph) -> None:
        self._progress = progress
        self._graph = graph
        self._written: deque[tuple[float, int]] = deque()
        self.notice: str | None = None
        """A sentence shown below the stages: what Ctrl-C did."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as it stands, in the room that there is."""
        glyphs = PRETTY if console.encoding.startswith("utf") else PLAIN
        width = max(20, options.max_width)
        below = [self._totals(glyphs, width)]
        if self.notice is not None:
            below.append(Text(self.notice, style="yellow"))
        elif self._progress.stopping is not None:
            below.append(Text(f"{self._progress.stopping}: finishing what is in flight", style="yellow"))
        else:
            waiting = (self._progress.batches() or self._progress.by_batch, self._progress.pacing())
            below += [Text(told, style="dim") for told in waiting if told]
        room = max(3, options.size.height - 3 - sum(1 + cell_len(line.plain) // width for line in below))
        columns = Columns.fitting(width, self._titles())
        yield Text(f"{self._progress.pipeline} {glyphs.dot} {self._progress.run_id}", style="bold", no_wrap=True)
        yield columns.head()
        yield from self._rows(columns, glyphs, room)
        yield from below

    def _titles(self) -> list[str]:
        return [stage.title for stage in list(self._progress.stages.values())]

    def _rows(self, columns: "Columns", glyphs: Glyphs, room: int) -> Sequence[Text]:
        """One row per stage; where they are too many, those that are over and those to come become one each."""
        stages = list(self._progress.stages.values())
        over = [finished(stage.name, self._graph, self._progress.stages) for stage in stages]
        first = next((i for i, done in enumerate(over) if not done or stages[i].failed), len(stages))
        first, last = _window(len(stages), first, room)
        rows = [columns.row(stages[i], glyphs, over=over[i]) for i in range(first, last)]
        if first:
            rows.insert(0, Text(f"{glyphs.done} {first} stages done", style="dim"))
        if last < len(stages):
            rows.append(Text(f"{glyphs.waiting} {len(stages) - last} more stages", style="dim"))
        return rows

    def _totals(self, glyphs: Glyphs, width: int) -> Text:
        progress = self._progress
        parts = [money(Decimal(progress.cost) / PICODOLLARS), f"{duration(time.monotonic() - progress.began)} elapsed"]
        rate = self._rate()
        if rate:
            parts.insert(0, f"{rate:.0f} tokens/s")
        # stages that only compute are over in no time: until a model has done its part, their share promises too much
        asked = any(stage.calls and stage.done >= stage.expected for stage in list(progress.stages.values()))
        left = progress.seconds_left() if asked else None
        if left is not None and progress.fraction() < 1:
            parts.append(f"about {roughly(left)} left")
        text = f" {glyphs.dot} ".join(parts)
        return Text(text if cell_len(text) <= width else set_cell_size(text, width), no_wrap=True)

    def _rate(self) -> float:
        """Tokens written per second, lately."""
        now, tokens = time.monotonic(), self._progress.tokens
        self._written.append((now, tokens))
        while now - self._written[0][0] > RATE_SECONDS:
            self._written.popleft()
        since, before = self._written[0]
        return max(0.0, (tokens - before) / (now - since)) if now - since > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide each column is; 0: there is no room for it."""

    title: int
    done: int
    bar: int
    tokens: int
    cost: int
    time: int

    @classmethod
    def fitting(cls, width: int, titles: Sequence[str]) -> "Columns":
        """Share out a width: the bar gives way first, then the cost, then the tokens, at last the ends of names."""
        wanted = max((cell_len(title) for title in titles), default=0)
        done, bar, tokens, cost, seconds = 9, BAR, 6, 8, 7

        def left() -> int:
            return width - 2 - sum(one + 1 for one in (done, bar, tokens, cost, seconds) if one)

        if left() < wanted:
            bar = 0
        if left() < min(wanted, 24):
            cost = 0
        if left() < min(wanted, 16):
            tokens = 0
        return cls(max(4, min(wanted, left())), done, bar, tokens, cost, seconds)

    def head(self) -> Text:
        """Draw what stands above the columns."""
        head = f"  {set_cell_size('stage', self.title)} {'done':>{self.done}}"
        head += " " * (self.bar + 1) if self.bar else ""
        for name, width in (("tokens", self.tokens), ("cost", self.cost), ("time", self.time)):
            head += f" {name:>{width}}" if width else ""
        return Text(head, style="dim", no_wrap=True)

    def row(self, stage: StageProgress, glyphs: Glyphs, *, over: bool) -> Text:
        """Draw one stage."""
        glyph, style = _state(stage, glyphs, over=over)
        row = Text(f"{glyph} ", style=style, no_wrap=True)
        row.append(_fit(stage.title, self.title), style="" if stage.began or over else "dim")
        known = stage.expected or stage.done or stage.mapped
        if over and stage.done and stage.skipped == stage.done:
            done = "skipped"
        else:
            done = f"{stage.done}/{stage.expected}" if known and stage.began is not None else ""
        row.append(f" {done:>{self.done}}")
        if self.bar:
            row.append(" ")
            row.append_text(self._bar(stage, glyphs, over=over))
        tokens = stage.input_tokens + stage.output_tokens
        if self.tokens:
            row.append(f" {count(tokens) if tokens else '':>{self.tokens}}")
        if self.cost:
            row.append(f" {money(Decimal(stage.cost) / PICODOLLARS) if tokens else '':>{self.cost}}")
        row.append(f" {duration(stage.seconds()) if stage.began is not None else '':>{self.time}}", style="dim")
        return row

    def _bar(self, stage: StageProgress, glyphs: Glyphs, *, over: bool) -> Text:
        if not stage.mapped or not stage.expected or over:
            return Text(" " * self.bar)
        full = self.bar * stage.done // stage.expected
        bar = Text(glyphs.full * full, style="cyan")
        return bar.append(glyphs.empty * (self.bar - full), style="dim")


def finished(name: str, graph: Graph, stages: dict[str, StageProgress]) -> bool:
    """Whether a stage will run for nothing more: a mapped one's items are all known once their maker is finished."""
    counter = stages[name]
    if counter.done < counter.expected or counter.running:
        return False
    axis = graph.stages[name].axis
    return finished(axis[-1], graph, stages) if axis else counter.done > 0


def _state(stage: StageProgress, glyphs: Glyphs, *, over: bool) -> tuple[str, str]:
    if stage.failed and not stage.running:
        return glyphs.failed, "red"
    if stage.running:
        turn = int(time.monotonic() * SPINS_PER_SECOND) % len(glyphs.spinner)
        return glyphs.spinner[turn], "red" if stage.failed else "cyan"
    if over:
        skipped = stage.done > 0 and stage.skipped == stage.done
        return (glyphs.skipped, "dim") if skipped else (glyphs.done, "green")
    return glyphs.waiting, "dim"


def _fit(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return f"{set_cell_size(text, width - 1).rstrip()}…".ljust(width)


def _window(total: int, first: int, room: int) -> tuple[int, int]:
    """Choose the rows to show: all of them, or as many as fit from the first unfinished one on."""
    if total <= room:
        return 0, total
    first = max(0, min(first, total - room + 1))
    last = first + room - (1 if first else 0)
    return first, last if last >= total else last - 1
