"""What cannot be used is told in one sentence, with its mend, and everything stays byte for byte as it was."""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PIPELINE = '''"""A talk becomes a digest."""

from pydantic import BaseModel

from stagebook import Pipeline


class Voice(BaseModel):
    tone: str = "warm"


class Talk(BaseModel):
    transcript: str
    parts: int = 1
    share: float = 0.5
    voice: Voice = Voice()


class Digest(BaseModel):
    points: list[str]


digest = Pipeline("digest", input=Talk, model="openai:gpt-4.1-mini")


@digest.prompt(returns=Digest)
def points(talk: Talk) -> None: ...


@digest.stage()
def count(digest: Digest) -> Voice:
    return Voice(tone=str(len(digest.points)))
'''
KEY = "sk-proj-CanaryCanaryCanaryCanary0123456789"
LEDGER = ".stagebook/ledger.db"
Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One thing that cannot be used."""

    words: tuple[str, ...]
    """What is typed after `stagebook`."""
    told: tuple[str, ...]
    """Parts of the sentence: what it is, and what to do."""
    prepare: Prepare | None = None
    """Makes it."""
    code: int = 2
    after_a_run: bool = False
    """Whether a run was made there before."""
    environment: dict[str, str] = field(default_factory=dict)
    """Changed variables; an empty text takes one away."""


def text(name: str, content: str | bytes) -> Prepare:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def folder(name: str) -> Prepare:
    return lambda inside: (inside / name).mkdir()


def gone(name: str) -> Prepare:
    return lambda inside: (inside / name).unlink()


def sparse(name: str, size: int) -> Prepare:
    def make(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return make


def sql(statement: str) -> Prepare:
    def execute(folder: Path) -> None:
        with closing(sqlite3.connect(folder / LEDGER)) as connection:
            connection.execute(statement)
            connection.commit()

    return execute


def another_program(folder: Path) -> None:
    (folder / ".stagebook").mkdir()
    sql("CREATE TABLE contacts (name TEXT)")(folder)


def no_database(folder: Path) -> None:
    (folder / ".stagebook").mkdir()
    (folder / LEDGER).write_text("Call me Ishmael. " * 100)


def cut(part: float) -> Prepare:
    def shorten(folder: Path) -> None:
        path = folder / LEDGER
        os.truncate(path, int(path.stat().st_size * part))

    return shorten


def scribbled(folder: Path) -> None:
    path = folder / LEDGER
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x5a" * (len(data) - 4096)
    path.write_bytes(data)


RUN = ("run", "digest.py", "talk.txt")
JSON = ("run", "digest.py", "in.json")
ODD = "a\n\x1b[31m\x07b"


def document(more: str) -> Prepare:
    return text("in.json", f'{{"transcript": "Hello there."{more}}}')


def file(name: str, content: str | bytes, *told: str) -> Case:
    return Case(("run", "digest.py", name), (f"the input {name}", *told), text(name, content))


def template(content: str | bytes, *told: str) -> Case:
    return Case(RUN, ("digest.py:26: in stage 'points'", *told), text("templates/points.md", content))


def ledger(prepare: Prepare, *told: str, words: tuple[str, ...] = RUN, after: bool = True) -> Case:
    return Case(words, (LEDGER, *told), prepare, after_a_run=after)


CASES = {
    "an empty transcript": file("e.txt", "", "is empty", "write something into it"),
    "a blank transcript": file("e.txt", " \n\t\r\n", "is empty"),
    "a byte order mark and nothing else": file("e.txt", b"\xef\xbb\xbf", "is empty"),
    "a transcript in latin-1": file("l.txt", b"caf\xe9", "is not UTF-8 text (byte 3 is 0xe9)", "iconv"),
    "a transcript in utf-16": file("l.txt", "Hello".encode("utf-16"), "is not UTF-8 text", "iconv"),
    "a transcript with a NUL": file("n.txt", "a\0b", "is not text: character 1 is a NUL", "save it as plain text"),
    "a transcript of 50 MB": Case(
        ("run", "digest.py", "b.txt"), ("the input b.txt is larger than 20 MB", "split it"), sparse("b.txt", 50 << 20)
    ),
    "a folder as transcript": Case(
        ("run", "digest.py", "d"), ("the input d is a folder", "name a file in it"), folder("d")
    ),
    "no such transcript": Case(("run", "digest.py", "no.txt"), ("the input no.txt is not there", "no file 'no.txt'")),
    "a name that would move the cursor": Case(
        ("run", "digest.py", ODD), ("the input a \ufffd[31m\ufffdb", "not there")
    ),
    "an empty file whose name would": Case(
        ("run", "digest.py", "\x1b[2Jx"), ("\ufffd[2Jx is empty",), text("\x1b[2Jx", "")
    ),
    # an input in JSON
    "JSON cut short": Case(JSON, ("in.json is not JSON", "line 1, column 2", "correct it"), text("in.json", "{")),
    "JSON of 10,000 levels": Case(
        JSON, ("in.json is not JSON: depth limit",), text("in.json", "[" * 10_000 + "]" * 10_000)
    ),
    "JSON with NaN": Case(JSON, ("in.json is not JSON", "correct it there"), document(', "share": NaN')),
    "JSON with an infinite number": Case(JSON, ("number is infinity",), document(', "share": 1e999')),
    "JSON with a NUL": Case(JSON, ("in.json is not text", "is a NUL"), document(', "voice": {"tone": "\0"}')),
    "JSON with half a character": Case(JSON, ("in.json is not JSON", "surrogate"), document(', "a": "\\ud800"')),
    "a key given twice": Case(
        JSON, ("in.json has the key 'parts' twice", "keep one"), document(', "parts": 1, "parts": 2')
    ),
    "a key given twice inside": Case(
        JSON, ("has the key 'tone' twice",), document(', "voice": {"tone": "a", "tone": "b"}')
    ),
    "a key given twice by --set": Case(
        (*RUN, "--set", 'voice={"tone": "a", "tone": "b"}'),
        ("--set voice has the key 'tone' twice", "keep one of them"),
    ),
    "a list instead of an object": Case(JSON, ("in.json is a list", "an object"), text("in.json", "[1]")),
    "a wrong type": Case(
        JSON, ("the input of digest", "parts: input should be a valid integer"), document(', "parts": "x"')
    ),
    "a number too large": Case(JSON, ("parts: unable to parse",), document(f', "parts": {"9" * 40}')),
    "a missing field": Case(("run", "digest.py"), ("transcript is missing", "--set transcript=@FILE")),
    "an unknown field": Case(JSON, ("has no field 'part'", "did you mean parts?"), document(', "part": 1')),
    "NaN by --set": Case((*RUN, "--set", "share=NaN"), ("A number is NaN or infinite", "use null or a finite number")),
    "an unknown field by --set": Case((*RUN, "--set", "voice.tune=x"), ("has no field 'voice.tune'", "mean tone?")),
    "a secret in JSON": Case(JSON, ("a literal key", "write env:NAME"), document(f', "voice": {{"tone": "{KEY}"}}')),
    "a secret in a text": Case(
        ("run", "digest.py", "key.txt"), ("a literal key", "write env:NAME"), text("key.txt", f"use {KEY}\n")
    ),
    "a secret by --set": Case((*RUN, "--set", f"voice.tone={KEY}"), ("a literal key", "write env:NAME instead")),
    # names
    "an unknown pipeline": Case(
        ("run", "episode-contents", "talk.txt"), ("'episode-contents'", "mean 'episode-content'")
    ),
    "a pipeline that is a file": Case(("run", "digest", "talk.txt"), ("no pipeline 'digest'", "write digest.py")),
    "an unknown file": Case(("run", "digets.py", "talk.txt"), ("no file digets.py", "did you mean 'digest.py'?")),
    "an unknown pipeline in a file": Case(("run", "digest.py:dig", "talk.txt"), ("no pipeline 'dig'", "digest")),
    "a folder as pipeline": Case(("run", "templates/", "talk.txt"), ("templates is a folder", "name a file in it")),
    "a stage that is not there": Case((*RUN, "--until", "point"), ("has no stage 'point'", "it has: points, count")),
    "a model for no stage": Case(
        (*RUN, "--model", "point=openai:x"), ("has no stage 'point'", "it has: points, count")
    ),
    "a model for a stage that asks none": Case(
        (*RUN, "--model", "count=openai:x"), ("the stage count asks no model", "those that do: points")
    ),
    "a model without a name": Case((*RUN, "--model", ""), ("a model is written provider:name", "openai:gpt-4.1-mini")),
    "a model without a provider": Case((*RUN, "--model", "gpt-4.1"), ("provider:name", "'gpt-4.1'")),
    "an unknown provider": Case((*RUN, "--model", "opnai:x"), ("no provider is called 'opnai'", "there are: openai")),
    "an unknown local model": Case((*RUN, "--model", "local:big"), ("no local model 'big'", "there is local:smollm2")),
    "a missing key": Case((*RUN, "--model", "groq:x"), ("no key for groq", "set GROQ_API_KEY")),
    "an address that is none": Case(
        RUN,
        ("OPENAI_BASE_URL is not an address", "https://api.openai.com/v1"),
        environment={"OPENAI_BASE_URL": "my host"},
    ),
    "an unknown option": Case((*RUN, "--modle", "x"), ("no such option '--modle'", "--model")),
    "a run that is not there": Case(("show", "RUN_x"), ("no run 'RUN_x'", "`stagebook runs`"), after_a_run=True),
    "no run at all": Case(("show", "last"), ("no ledger is at", "--ledger")),
    "a step that is not there": Case(
        ("show", "last", "--stage", "points", "--item", ODD), ("points runs once", "leave --item out"), after_a_run=True
    ),
    # files of the pipeline
    "a template that is missing": Case(
        RUN, ("template 'points' is not there", "templates/points.md", "write that file"), gone("templates/points.md")
    ),
    "an unknown variable": template("{{ tolk.transcript }}", "templates/points.md:1", "'tolk'", "did you mean 'talk'?"),
    "an unknown field in a template": template("{{ talk.transcrip }}", "'transcrip'", "did you mean 'transcript'?"),
    "a template that does not parse": template("{{ talk.", "templates/points.md:1", "correct the template there"),
    "a template not in UTF-8": template(b"\xff{{ talk }}", "templates/points.md cannot be read", "save it as UTF-8"),
    "an import that is missing": Case(
        RUN, ("digest.py:1", "'nothing_such'", "install it"), text("digest.py", "import nothing_such")
    ),
    "a file that does not parse": Case(RUN, ("digest.py:1", "correct the file"), text("digest.py", "def (:\n")),
    "a file without a pipeline": Case(
        RUN, ("digest.py declares no pipeline", "write one as"), text("digest.py", "x = 1\n")
    ),
    "a pipeline that is gone": Case(
        ("resume", "last"), ("no file digest.py", "put it there"), gone("digest.py"), after_a_run=True
    ),
    # the ledger
    "a ledger of a newer version": ledger(sql("PRAGMA user_version = 99"), "by a newer Stagebook", "update stagebook"),
    "the same, only looked at": ledger(sql("PRAGMA user_version = 99"), "update stagebook", words=("runs",)),
    "half a ledger": ledger(cut(0.5), "is truncated", "restore it from a backup"),
    "the same, looked at": ledger(cut(0.5), "is truncated", "restore it from a backup", words=("show", "last")),
    "forty bytes of a ledger": ledger(cut(0.0003), "is truncated", words=("sql", "SELECT 1")),
    "a ledger scribbled over": ledger(scribbled, "damaged or truncated", "restore it from a backup"),
    "no database": ledger(no_database, "is not an SQLite database", "name another with --ledger", after=False),
    "no database, looked at": ledger(no_database, "is not an SQLite database", words=("costs",), after=False),
    "another program's database": ledger(another_program, "database of another program", "--ledger", after=False),
    "a folder as ledger": Case(
        (*RUN, "--ledger", "templates"), ("templates is a folder, not a ledger", "name a file in it")
    ),
    "a ledger below a file": Case(
        (*RUN, "--ledger", "talk.txt/l.db"), ("talk.txt/l.db cannot be made", "another place")
    ),
    "an unknown kind of ledger": Case((*RUN, "--ledger", "mysql://h/x"), ("mysql:// is not known", "sqlite:///PATH")),
    "an import of no file": Case(("import", "no.json"), ("no.json cannot be read", "name a file")),
    "an import of no run": Case(("import", "talk.txt"), ("talk.txt cannot be imported", "not JSON")),
}


class Place:
    """A folder with a pipeline in it, and the command in it."""

    def __init__(self, shell: Any, tmp_path: Path) -> None:
        self.folder = shell.folder = tmp_path / "here"
        self.folder.mkdir()
        (self.folder / "templates").mkdir()
        text("digest.py", PIPELINE)(self.folder)
        text("templates/points.md", "Points of: {{ talk.transcript }}\n")(self.folder)
        text("talk.txt", "Hello there.\n")(self.folder)
        self.command = shell

    def holds(self) -> dict[str, object]:
        """Everything in the folder, byte for byte; what SQLite keeps beside a database while it is read left out."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else path.stat().st_mode
            for path in self.folder.rglob("*")
            if not (path.name.endswith("-shm") or (path.name.endswith("-wal") and not path.stat().st_size))
            and "__pycache__" not in path.parts
        }

    def refused(self, *words: str, code: int = 2, **environment: str) -> str:
        """Type what cannot be done; gives the one sentence."""
        before = self.holds()
        done = self.command(*words, **environment)
        assert done.code == code, done.err
        assert done.out == ""
        sentence, *more = done.err.rstrip("\n").split("\n")
        assert sentence.startswith("error: ")
        assert all(line.startswith("try: stagebook ") for line in more)
        assert "Traceback" not in done.err
        assert KEY not in done.err
        assert not [letter for letter in done.err if ord(letter) < 32 and letter != "\n"]
        assert self.holds() == before
        return sentence


@pytest.fixture
def place(shell: Any, tmp_path: Path) -> Place:
    return Place(shell, tmp_path)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_cannot_be_used_is_told_in_one_sentence_and_changes_nothing(case: Case, place: Place) -> None:
    if case.after_a_run:
        assert place.command(*RUN).code == 0
    if case.prepare is not None:
        case.prepare(place.folder)
    sentence = place.refused(*case.words, code=case.code, **case.environment)
    for part in case.told:
        assert part in sentence
    assert not place.command.provider.bill().entries[1 if case.after_a_run else 0 :]


def test_line_ends_of_windows_and_a_byte_order_mark_are_read(place: Place) -> None:
    text("w.txt", b"\xef\xbb\xbfone\r\ntwo\r\n")(place.folder)
    text("w.json", b'\xef\xbb\xbf{\r\n"transcript": "one\\r\\ntwo"\r\n}\r\n')(place.folder)
    for name in ("w.txt", "w.json"):
        done = place.command("run", "digest.py", name, "--json")
        assert (done.code, done.json()["status"], done.json()["warnings"]) == (0, "completed", [])


def test_a_ledger_that_another_process_has_locked_is_told_after_a_while(place: Place) -> None:
    assert place.command(*RUN).code == 0
    with closing(sqlite3.connect(place.folder / LEDGER, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        sentence = place.refused(*RUN)
    assert "another process keeps it locked: end that process or wait for it" in sentence


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something there, or skip."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *options, str(folder)], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("words", [RUN, ("resume", "last"), ("cancel", "last"), ("delete", "last", "--yes")])
def test_a_read_only_ledger_is_told_and_can_still_be_read(place: Place, words: tuple[str, ...]) -> None:
    assert place.command(*RUN).code == 0
    inside = place.folder / ".stagebook"
    with mounted(inside, "--bind", str(inside)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(inside)], check=True)
        sentence = place.refused(*words)
        assert "is read-only: check the permissions of the file and its folder" in sentence
        assert len(place.command("runs", "--json").json()["runs"]) == 1


@pytest.mark.parametrize("size", ["4k", "64k", "200k", "260k"])
def test_a_disk_without_room_for_a_ledger_is_left_empty(place: Place, size: str) -> None:
    inside = place.folder / ".stagebook"
    inside.mkdir()
    with mounted(inside, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        assert "the disk is full: free some space" in place.refused(*RUN)
        assert list(inside.iterdir()) == []


def test_a_disk_that_is_full_ends_a_run_with_a_sentence_and_nothing_of_the_ledger_is_lost(place: Place) -> None:
    inside = place.folder / ".stagebook"
    inside.mkdir()
    with mounted(inside, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        first = place.command(*RUN, "--json").json()
        filler = inside / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        done = place.command(*RUN)
        assert done.code in {1, 2}
        assert "the disk is full: free some space and resume; what was acknowledged is kept" in done.err
        assert "Traceback" not in done.err
        filler.unlink()
        assert place.command("check").code == 0
        assert first in place.command("runs", "--json").json()["runs"]
        assert place.command("resume", "last").code == 0
