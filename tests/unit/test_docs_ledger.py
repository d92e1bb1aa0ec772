"""The commands in the pages about costs and SQL do what the pages say."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from stagebook.testing.provider_process import ProviderProcess

ROOT = Path(__file__).resolve().parents[2]
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PIPELINE = re.compile(r"^```python file=reviews\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [("file", "costs"), ("file", "sql"), ("postgresql", "postgresql"), ("postgresql", "sql")]

Typed = Callable[[str], str]


@pytest.fixture(scope="module", params=["file", "postgresql"])
def typed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typed]:
    """Types commands in a folder where the README's pipeline was run once, on each kind of ledger."""
    folder = tmp_path_factory.mktemp("docs")
    found = PIPELINE.search((ROOT / "README.md").read_text())
    assert found is not None
    (folder / "reviews.py").write_text(found[1])
    (folder / "reviews.txt").write_text("The strap broke in a week.\nLovely sound, deep bass.\n")
    with ProviderProcess() as provider:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "any",
        }
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
            environment["STAGEBOOK_LEDGER"] = f"{server.address}?schema=docs{uuid4().hex[:12]}"

        def run(command: str) -> str:
            done = subprocess.run(
                command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            return done.stdout

        run("stagebook run reviews.py reviews.txt")
        yield run


def commands(page: str) -> list[str]:
    text = (ROOT / "docs" / "howto" / f"{page}.md").read_text()
    return [line for block in SHELL.findall(text) for line in block.strip().splitlines()]


@pytest.mark.parametrize(("typed", "page"), PAGES, indirect=["typed"])
def test_the_commands_of_the_page_work_one_after_the_other(typed: Typed, page: str) -> None:
    no_sqlite = shutil.which("sqlite3") is None or "postgresql" in typed("echo $STAGEBOOK_LEDGER")
    for command in commands(page):
        if not (command.startswith("sqlite3") and no_sqlite):
            typed(command)


def test_the_pages_name_every_key_and_every_column_of_ours(typed: Typed) -> None:
    page = (ROOT / "docs" / "howto" / "costs.md").read_text()
    listed = re.search(r"\[([a-z|]+)\]", typed("stagebook costs --help"))
    assert listed is not None
    assert all(f"`{key}`" in page for key in listed[1].split("|"))
    sql = (ROOT / "docs" / "howto" / "sql.md").read_text()
    views = typed("stagebook sql --views").splitlines()
    ours = {column for line in views for column in line.partition(": ")[2].split(", ") if column.startswith("_")}
    assert all(f"`{column}`" in sql for column in ours)


def test_the_views_that_the_page_asks_hold_what_it_says(typed: Typed) -> None:
    assert len(typed("stagebook sql --csv 'SELECT DISTINCT topic, mood FROM reviews__opinion'").splitlines()) == 3
    views = {line.partition(":")[0] for line in typed("stagebook sql --views").splitlines()}
    assert views == {"reviews__lines", "reviews__opinion", "reviews__summary", "reviews__summary__complaints"}
