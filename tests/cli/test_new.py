"""`new` writes a pipeline that runs and passes its own test and lint, exactly as the printed commands are typed."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stagebook.llm.weights import find_weights
from stagebook.model.errors import ModelNotInstalled

LONG = "name-of-forty-letters-that-just-fits-now"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def typed(shell: Any, line: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        line, shell=True, cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def empty(shell: Any, tmp_path: Path) -> Any:
    shell.folder = tmp_path / "mine"
    shell.folder.mkdir()
    return shell


def weights_are_here() -> bool:
    try:
        find_weights("smollm2")
    except ModelNotInstalled:
        return False
    return True


@pytest.mark.parametrize("name", ["my-pipeline", LONG])
def test_what_new_proposes_works_as_it_is_printed(empty: Any, name: str) -> None:
    done = empty("new", name)
    assert (done.code, done.err) == (0, "")
    commands = [line.strip() for line in done.out.partition("Next:\n")[2].splitlines()]
    module = name.replace("-", "_")
    assert commands[0] == f"stagebook run {module}.py"
    assert commands[1] == f"stagebook run {module}.py {module}.txt --model openai:gpt-4.1-mini"
    for line in commands[1:]:
        ended = typed(empty, line)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
    assert "3 passed" in typed(empty, commands[2]).stdout
    assert typed(empty, "ruff format --check").returncode == 0
    [text] = (empty.folder / ".stagebook" / "runs").glob("*/report.md")
    assert text.read_text().startswith("# 3 reviews, ")


@pytest.mark.local_model
@pytest.mark.skipif(not weights_are_here(), reason="the small model's weights are not on this machine")
def test_a_new_pipeline_runs_without_a_key_or_an_input(empty: Any) -> None:
    assert empty("new", "my-pipeline").code == 0
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        del empty.env[name]
    document = empty("run", "my_pipeline.py", "--json").json()
    assert (document["status"], document["cost_usd"]) == ("completed", "0")
    assert [stage["steps"]["completed"] for stage in document["stages"]] == [1, 3, 1]


def test_a_text_of_ones_own_takes_the_place_of_the_sample(empty: Any) -> None:
    empty("new", "my-pipeline")
    empty.write("own.txt", "One review.\nAnother.\n")
    done = empty("run", "my_pipeline.py", "own.txt", "--model", "openai:gpt-4.1-mini", "--json")
    assert done.code == 0, done.err
    assert [stage["steps"]["completed"] for stage in done.json()["stages"]] == [1, 2, 1]


def test_nothing_is_overwritten(empty: Any) -> None:
    empty("new", "my-pipeline")
    before = tree(empty.folder)
    done = empty("new", "my-pipeline")
    assert done.code == 2
    assert done.err == (
        "error: my_pipeline.py is there already and is not overwritten; choose another name or another folder\n"
    )
    assert tree(empty.folder) == before


@pytest.mark.parametrize("place", ["test_other.py", "other.txt", "templates/other/opinion.md"])
def test_one_file_in_the_way_keeps_all_from_being_written(empty: Any, place: str) -> None:
    (empty.folder / place).parent.mkdir(parents=True, exist_ok=True)
    empty.write(place, "mine")
    assert empty("new", "other").code == 2
    assert tree(empty.folder) == {place: b"mine"}


def test_two_pipelines_live_side_by_side_and_a_projects_settings_are_kept(empty: Any) -> None:
    empty.write("pyproject.toml", "[tool.ruff]\nline-length = 120\n")
    assert "kept your own pyproject.toml" in empty("new", "one").out
    assert "kept your own pyproject.toml" in empty("new", "two").out
    assert (empty.folder / "pyproject.toml").read_text() == "[tool.ruff]\nline-length = 120\n"
    assert empty("run", "two.py", "--model", "openai:gpt-4.1-mini").code == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("My_Pipeline", "such as my-pipeline"),
        ("über uns", "such as ber-uns"),
        ("../up", "such as up"),
        ("3d", "such as d"),
        ("", "such as my-pipeline"),
        ("x" * 300, "40 characters at most"),
        ("a\nb\x1b[31m", "such as a-b-31m"),
        ("json", "json is a word or a module of Python already"),
        ("class", "such as class-pipeline"),
        ("stagebook", "such as stagebook-pipeline"),
    ],
)
def test_a_name_that_cannot_be_used_is_told_with_one_that_can(here: Any, shell: Any, name: str, sentence: str) -> None:
    before = tree(shell.folder)
    done = here("new", name)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert sentence in done.err
    assert "\x1b" not in done.err
    assert tree(shell.folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system that is full")
def test_on_a_full_disk_nothing_is_left_half_written(empty: Any, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        empty.folder = small
        done = empty("new", "my-pipeline")
        assert done.code == 2
        assert "No space left on device; nothing was made" in done.err
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
