"""Draws docs/run.svg: what a terminal shows at the end of a run. Give it what `stagebook run` printed, colours kept.

script -qec "stagebook run episode-content examples/interview.txt ..." /dev/null | python docs/draw_run.py
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 92


def main() -> None:
    """Read a terminal's output, keep what stood there at the end, and draw it."""
    shown = sys.stdin.read().replace("\r\n", "\n")
    last = shown[shown.rfind("\x1b[?25h") :] if "\x1b[?25h" in shown else shown
    last = re.sub(r"\x1b\[\?25[hl]|\x1b\[[0-9]*[AJK]|\r", "", last).strip("\n")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in last.split("\n"):
        if line.startswith(("make: ", "make[", "Script done")):
            continue
        console.print(Text.from_ansi(line), overflow="fold")
    svg = console.export_svg(title="stagebook run episode-content examples/interview.txt --model local:smollm2")
    Path(__file__).with_name("run.svg").write_text(svg)


if __name__ == "__main__":
    main()
