"""`run --reuse`: what other runs of the pipeline were answered is not asked again."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stagebook.testing.provider_faults import Delay
from stagebook.testing.provider_script import Rule, Script

PIPELINE = '''"""Notes of a folder are labelled, and each label is explained."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from stagebook import Key, Pipeline, Text


class Folder(BaseModel):
    path: str


class Note(BaseModel):
    name: Annotated[str, Key]
    text: str


class Label(BaseModel):
    word: str
    length: int


class Reason(BaseModel):
    text: Text


class Report(BaseModel):
    words: list[str]


notes = Pipeline("notes", input=Folder, model="openai:gpt-4.1-mini")


@notes.stage()
def read(folder: Folder) -> Iterator[Note]:
    for one in sorted(Path(folder.path).iterdir()):
        yield Note(name=one.name, text=one.read_text())


@notes.prompt(each=Note, returns=Label, text="Label: {{ note.text }}")
def label(note: Note) -> None: ...


@notes.prompt(each=Note, returns=Reason, text="Why {{ label.word }}?")
def reason(label: Label) -> None: ...


@notes.stage()
def report(labels: list[Label]) -> Report:
    return Report(words=[one.word for one in labels])
'''
NAMES = ("ash", "elm", "oak")
WORDS = {"ash": "grey", "elm": "tall", "oak": "broad", "fir": "green", "yew": "old"}


ANSWERS = tuple(Rule(contains=f"Label: {name}", answer={"word": word, "length": 3}) for name, word in WORDS.items())


@pytest.fixture
def folder(shell: Any) -> Path:
    shell.write("notes.py", PIPELINE)
    shell.provider.use(Script(rules=ANSWERS))
    (shell.folder / "in").mkdir()
    for name in NAMES:
        (shell.folder / "in" / name).write_text(name)
    found: Path = shell.folder
    return found


def run(shell: Any, *more: str, code: int = 0) -> Any:
    done = shell("run", "notes.py", "--set", "path=in", "--json", *more)
    assert done.code == code, done.err
    return done.json()


def asked(shell: Any) -> int:
    return len(shell.provider.bill().charged)


def reused(document: Any) -> dict[str, int]:
    return {stage["name"]: stage["steps"]["reused"] for stage in document["stages"] if stage["steps"]["reused"]}


def test_only_what_is_new_is_asked_and_the_rest_costs_nothing(shell: Any, here: Any, folder: Path) -> None:
    first = run(shell)
    assert asked(shell) == 6
    (folder / "in" / "fir").write_text("fir")
    second = run(shell, "--reuse")
    assert asked(shell) == 8
    assert (second["status"], reused(second)) == ("completed", {"label": 3, "reason": 3})
    assert second["avoided_cost_usd"] == first["cost_usd"]
    assert 0 < float(second["cost_usd"]) < float(first["cost_usd"])
    table = here("sql", "SELECT output_data FROM stage_outputs WHERE stage = 'report' ORDER BY run_id DESC")
    assert "grey" in table.out
    shown = here("show", "last", "--stage", "label", "--item", "ash")
    assert f"reused from {first['run_id']}, label[ash]" in shown.out
    step = here("show", "last", "--stage", "label", "--item", "ash", "--json").json()["steps"][0]
    assert step["reused_from"] == {"run_id": first["run_id"], "stage": "label", "item": "ash"}
    assert (step["exchanges"], step["output"]["word"], step["cost_usd"]) == ([], "grey", "0")
    out = here("show", "last").out
    assert "4/4, 3 reused" in out
    assert " avoided" in out
    third = run(shell, "--reuse")
    assert (asked(shell), reused(third)) == (8, {"label": 4, "reason": 4})
    assert third["cost_usd"] == "0"


def test_a_killed_run_goes_on_reusing_and_pays_nothing_twice(shell: Any, folder: Path) -> None:
    run(shell)
    for name in ("fir", "yew"):
        (folder / "in" / name).write_text(name)
    slow = Rule(contains="Label: yew", answer={"word": "old", "length": 3}, faults=(Delay(seconds=30),))
    shell.provider.use(Script(rules=(slow, *ANSWERS)))
    process = shell.start("run", "notes.py", "--set", "path=in", "--reuse")
    shell.wait_for_requests(9)  # fir's label and reason, and yew's label, which is not answered
    shell.end(process, signal.SIGKILL)
    shell.provider.use(Script(rules=ANSWERS))
    document = shell("resume", "last", "--json").json()
    assert (document["status"], reused(document)) == ("completed", {"label": 3, "reason": 3})
    sent = Counter(entry.sha256 for entry in shell.provider.bill().charged)
    assert len(sent) == 10
    assert sum(sent.values()) - len(sent) <= document["possibly_paid"] == 1


def test_a_reusing_run_stays_whole_when_the_run_that_paid_is_deleted(shell: Any, here: Any, folder: Path) -> None:
    first = run(shell)
    second = run(shell, "--reuse")
    assert here("delete", first["run_id"], "--yes").code == 0
    assert here("check").code == 0
    shown = here("show", second["run_id"], "--stage", "label", "--item", "ash")
    assert "reused from a run that was deleted" in shown.out
    assert '"word": "grey"' in shown.out
    third = run(shell, "--reuse")
    assert (asked(shell), reused(third)) == (6, {"label": 3, "reason": 3})


def test_an_estimate_says_that_it_takes_nothing_off(shell: Any, here: Any, folder: Path) -> None:
    run(shell)
    assert (
        "What --reuse would take over is not taken off"
        in here("run", "notes.py", "--set", "path=in", "--reuse", "--estimate").out
    )
