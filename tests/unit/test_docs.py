"""What the README shows is what the command does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stagebook.testing.provider_process import ProviderProcess

STAGEBOOK = str(Path(sys.executable).with_name("stagebook"))
ROOT = Path(__file__).resolve().parents[2]
FILES = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def readme() -> str:
    return (ROOT / "README.md").read_text()


def test_the_pipeline_in_the_readme_runs_as_it_stands(readme: str, tmp_path: Path) -> None:
    for name, text in FILES.findall(readme):
        (tmp_path / name).write_text(text)
    commands = next(block for block in SHELL.findall(readme) if "reviews.txt" in block)
    with ProviderProcess() as provider:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "any",
        }
        for command in commands.strip().splitlines():
            hosted = command.replace("local:smollm2", "openai:gpt-4.1-mini")  # the model itself has tests of its own
            done = subprocess.run(
                hosted, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        shown = subprocess.run(
            [STAGEBOOK, "show", "last", "--json"], cwd=tmp_path, env=environment, capture_output=True, check=True
        )
    document = json.loads(shown.stdout)
    assert document["status"] == "completed"
    assert {stage["name"]: stage["steps"]["completed"] for stage in document["stages"]} == {
        "lines": 1,
        "opinion": 2,
        "summary": 1,
    }


def test_every_target_that_the_readme_names_is_in_the_makefile(readme: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"^make (\w+)", readme, re.MULTILINE))
    assert named >= {"setup", "demo", "test", "lint"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_that_the_readme_names_is_there(readme: str) -> None:
    listed = re.search(r"`stagebook (new \|[^`]*)`", readme)
    assert listed is not None
    helped = subprocess.run([STAGEBOOK, "--help"], capture_output=True, text=True, check=True).stdout
    for command in listed[1].replace("\n", " ").split("|"):
        assert re.search(rf"^  {command.split()[0]} ", helped, re.MULTILINE), command


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
