"""What a person sees: on terminals of any size, and in numbers that can be read."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console

from stagebook import Key, Pipeline
from stagebook.cli.display import Display, finished
from stagebook.cli.plain_progress import PlainProgress
from stagebook.cli.quantities import count, duration, money, roughly
from stagebook.engine.progress import Progress


class Book(BaseModel):
    pages: int = 3


class Page(BaseModel):
    number: Annotated[int, Key]


class Word(BaseModel):
    word: str


def scan(stages: int = 1) -> Pipeline:
    pipeline = Pipeline("scan", input=Book)

    @pipeline.stage()
    def pages(book: Book) -> Iterator[Page]:
        yield Page(number=1)

    def label(page: Page) -> Word:
        return Word(word="x")

    for number in range(stages):
        pipeline.add(label, name=f"label-the-pages-of-part-{number}", number=number, each=Page)
    return pipeline


def laid_out(pipeline: Pipeline) -> Progress:
    graph = pipeline.check()
    progress = Progress("RUN_20260115_181206", "scan")
    progress.lay_out(graph, frozenset(graph.stages))
    return progress


def drawn(display: Display, width: int, height: int, *, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None, _environ={})
    console.print(display)
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]  # a BytesIO, made above


@pytest.mark.parametrize("width", [20, 36, 60, 79, 80, 120, 200])
@pytest.mark.parametrize("stages", [1, 9, 60])
def test_the_progress_fits_its_terminal(width: int, stages: int) -> None:
    pipeline = scan(stages)
    progress = laid_out(pipeline)
    progress.start("pages")
    display = Display(progress, pipeline.check())
    display.notice = "stopping: finishing what is in flight"
    for stage in progress.stages.values():
        stage.expected, stage.completed, stage.input_tokens, stage.cost = 123_456, 65_432, 98_765_432, 10**16
    for height in (12, 24):
        lines = drawn(display, width, height)
        assert len(lines) < height
        assert all(cell_len(line) <= width for line in lines)


def test_who_waits_for_a_provider_is_seen() -> None:
    pipeline = scan(2)
    progress = laid_out(pipeline)
    progress.pacing = lambda: "41 requests wait: openai takes 3,000 requests a minute"
    lines = drawn(Display(progress, pipeline.check()), 80, 24)
    assert any("41 requests wait: openai takes 3,000 requests a minute" in line for line in lines)


def test_who_waits_for_a_provider_is_told_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagebook.cli.plain_progress.LONG_SECONDS", 0.0)
    pipeline, said = scan(2), list[str]()
    progress = laid_out(pipeline)
    progress.pacing = lambda: "41 requests wait: openai takes 3,000 requests a minute"
    PlainProgress(progress, pipeline.check(), said.append).tell()
    assert said[0].endswith("elapsed; 41 requests wait: openai takes 3,000 requests a minute")


def test_batches_at_their_providers_are_seen_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagebook.cli.plain_progress.BATCH_SECONDS", 0.0)
    pipeline, said = scan(2), list[str]()
    progress = laid_out(pipeline)
    progress.by_batch = "by batch, at half price: label; live: none"
    assert any(progress.by_batch in line for line in drawn(Display(progress, pipeline.check()), 80, 24))
    progress.batches = lambda: "batch of 4,200 at openai: 1,300 done, polled 12 s ago"
    assert any("batch of 4,200 at openai" in line for line in drawn(Display(progress, pipeline.check()), 80, 24))
    plain = PlainProgress(progress, pipeline.check(), said.append)
    plain.tell()
    plain.tell()
    assert said[0] == progress.by_batch
    assert said.count(progress.by_batch) == 1
    assert said[-1].endswith("elapsed; batch of 4,200 at openai: 1,300 done, polled 12 s ago")


def test_a_stage_at_work_is_seen_however_many_there_are() -> None:
    pipeline = scan(60)
    progress = laid_out(pipeline)
    for number, name in enumerate(progress.stages):
        stage = progress.stages[name]
        stage.expected = 1
        if number < 40:
            stage.completed, stage.began = 1, 0.0
    progress.start("label-the-pages-of-part-39")
    lines = drawn(Display(progress, pipeline.check()), 80, 24)
    assert any("39 label-the-pages-of-part-39" in line for line in lines)
    assert "✓ 40 stages done" in lines
    assert lines[-2].endswith(" more stages")


def test_a_terminal_that_knows_only_ascii_gets_only_that() -> None:
    pipeline = scan()
    progress = laid_out(pipeline)
    progress.start("pages")
    assert any(
        line.startswith("scan | RUN_") for line in drawn(Display(progress, pipeline.check()), 80, 24, encoding="ascii")
    )


def test_a_mapped_stage_is_finished_only_when_its_items_are_all_known() -> None:
    pipeline = scan()
    progress = laid_out(pipeline)
    graph, stages = pipeline.check(), progress.stages
    label = stages["label-the-pages-of-part-0"]
    progress.start("pages")
    label.expected = label.completed = 3
    assert not finished(label.name, graph, stages)
    progress.end("pages")
    stages["pages"].expected = stages["pages"].completed = 1
    assert finished(label.name, graph, stages)


def test_a_log_gets_one_line_for_every_stage_that_is_over_and_none_for_earlier_drives() -> None:
    pipeline = scan(2)
    progress = laid_out(pipeline)
    said: list[str] = []
    plain = PlainProgress(progress, pipeline.check(), said.append)
    pages, first, second = progress.stages.values()
    pages.expected = pages.completed = 1
    plain.tell()
    assert said == []
    progress.start(first.name)
    first.expected, first.failed, first.calls, first.input_tokens, first.cost = 3, 1, 2, 1234, 5 * 10**9
    progress.end(first.name)
    second.expected = second.skipped = 3
    plain.tell()
    plain.tell()
    assert re.fullmatch(r"0 label-\S+: 1 of 3 steps failed, 1234 tokens, \$0\.0050, \S+s", said[0])
    assert said[1:] == [f"{second.title}: skipped"]


def test_amounts_are_short() -> None:
    assert [money(Decimal(text)) for text in ("0", "0.00001", "0.0123", "0.99999", "1234.5")] == [
        "$0",
        "<$0.0001",
        "$0.0123",
        "$1.0000",
        "$1,234.50",
    ]
    assert [duration(seconds) for seconds in (0, 0.01, 9.94, 59.4, 59.6, 3599, 3661)] == [
        "0.0s",
        "<0.1s",
        "9.9s",
        "59s",
        "1:00",
        "59:59",
        "1:01:01",
    ]
    assert [count(number) for number in (0, 9999, 10_000, 123_456, 1_234_567, 98_765_432_100)] == [
        "0",
        "9999",
        "10.0k",
        "123k",
        "1.2M",
        "98.8G",
    ]
    assert [roughly(seconds) for seconds in (0.2, 59, 61, 3540, 5000)] == [
        "1 s",
        "59 s",
        "1 min",
        "59 min",
        "1 h 23 min",
    ]


def on_terminal(shell: Any, columns: int, rows: int, *words: str, **environment: str) -> tuple[int, str]:
    """Run a command on a terminal of its own and collect all that it was sent."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("stagebook")), *words],
        cwd=shell.folder,
        env={**shell.env, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    sent = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux says EIO when the last writer is gone
            break
        if not part:
            break
        sent += part
    os.close(main)
    return process.wait(), sent.decode()


def test_a_terminal_gets_live_progress_and_its_cursor_back(shell: Any) -> None:
    code, sent = on_terminal(shell, 80, 24, "run", "talk.py", "talk.txt")
    assert code == 0
    assert "tokens" in sent
    assert "\x1b[?25l" in sent
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")
    assert re.search(r"\x1b\[3\dm", sent)
    assert "The finished text:" in sent


def test_no_color_is_respected(shell: Any) -> None:
    code, sent = on_terminal(shell, 60, 24, "run", "talk.py", "talk.txt", NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[[\d;]*3\dm", sent)


def test_a_dumb_terminal_gets_plain_lines(shell: Any) -> None:
    code, sent = on_terminal(shell, 80, 24, "run", "talk.py", "talk.txt", TERM="dumb")
    assert code == 0
    assert "\x1b" not in sent
    assert "1 quotes: completed, 3 steps" in sent
