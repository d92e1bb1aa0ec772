"""Every page under docs/ runs as it stands, and what it shows is what comes out.

A block says by its first line what it is. One with `file=NAME` is a file. `sh` is typed in the page's own folder and
ends with 0, or with what `exit=N` says. `python` is run. `text` is what the block before it printed, line by line;
other digits and more lines are allowed. The embedded model has tests of its own, so a fake provider takes its place.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Script

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```", re.MULTILINE)
ELSEWHERE = {
    "howto/any-sdk.md": "tests/engine/test_sdk_kill.py",
    "howto/costs.md": "tests/unit/test_docs_ledger.py",
    "howto/postgresql.md": "tests/unit/test_docs_ledger.py",
    "howto/providers.md": "tests/unit/test_howto_providers.py",
    "howto/sql.md": "tests/unit/test_docs_ledger.py",
}
"""Pages that need more than this runner gives, and the test that runs them."""
UNRUN = ("benchmarks.md", "decisions/", "reference/")
"""Pages that report what was measured and decided, and those that a script makes."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page."""

    language: str
    options: dict[str, str]
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = [
        Block(one["language"], dict(part.split("=", 1) for part in one["options"].split()), one["text"])
        for one in BLOCK.finditer(text)
    ]
    assert len(FENCE.findall(text)) == 2 * len(found), f"{page.name} has a block that does not say what it is"
    return found


def pages() -> list[str]:
    named = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    return [name for name in named if name not in ELSEWHERE and not name.startswith(UNRUN)]


class Reader:
    """Does what a page says, in a folder of its own."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        self.environment = {
            **kept,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "OPENAI_BASE_URL": base_url,
            "OPENAI_API_KEY": "any",
        }
        self.said = ""

    def do(self, block: Block) -> None:
        if "file" in block.options:
            path = self.folder / block.options["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "sh":
            hosted = block.text.replace("local:smollm2", "openai:gpt-4.1-mini")
            self.type(["bash", "-e", "-o", "pipefail", "-c", hosted], int(block.options.get("exit", "0")))
        elif block.language == "python":
            self.type([sys.executable, "-c", block.text], 0)
        else:
            assert block.language == "text", f"nothing is known about a block of {block.language}"
            self.compare(block.text)

    def type(self, words: list[str], code: int) -> None:
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        self.said = done.stdout + done.stderr
        assert done.returncode == code, f"{words[-1]}\n{self.said}"

    def compare(self, shown: str) -> None:
        printed = like(self.said)
        for line in shown.splitlines():
            assert like(line) in printed, f"{line!r} is not in\n{self.said}"


def follow(reader: Reader, page: Path) -> None:
    for block in blocks(page):
        reader.do(block)


def like(text: str) -> str:
    """Take out what differs from run to run: digits, and how wide a column is."""
    return re.sub(r"[^\S\n]+", " ", re.sub(r"\d+", "0", text)).strip()


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderProcess]:
    with ProviderProcess() as started:
        yield started


@pytest.fixture
def reader(tmp_path: Path, provider: ProviderProcess) -> Reader:
    provider.use(Script())
    return Reader(tmp_path, provider.base_url)


@pytest.mark.parametrize("name", [name for name in pages() if blocks(DOCS / name)])
def test_every_block_of_the_page_runs(reader: Reader, name: str) -> None:
    follow(reader, DOCS / name)


def test_pages_that_are_run_elsewhere_are_named_there() -> None:
    for page, test in ELSEWHERE.items():
        assert (DOCS / page).is_file()
        assert Path(page).stem in (ROOT / test).read_text()


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("```sh\nfalse\n```\n", "AssertionError"),
        ("```sh exit=2\ntrue\n```\n", "AssertionError"),
        ("```sh\necho run 12\n```\n\n```text\nwalk 12\n```\n", "'walk 12' is not in"),
        ("```sh\ncat gone.txt | sort\n```\n", "gone.txt"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```rust\nfn main() {}\n```\n", "nothing is known about a block of rust"),
        ("```\nstagebook run\n```\n", "does not say what it is"),
    ],
)
def test_the_runner_notices_what_does_not_hold(reader: Any, tmp_path: Path, written: str, why: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(written)
    with pytest.raises(AssertionError) as caught:
        follow(reader, page)
    assert why in f"AssertionError {caught.value}"


def test_every_page_is_linked_from_the_index() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)\)", (DOCS / "index.md").read_text()))
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert {page for page in there - linked if not page.startswith("decisions/")} == {"index.md"}


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "make_reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}make it anew: python docs/make_reference.py"
