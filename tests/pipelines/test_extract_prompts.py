"""`extract_prompts`: a whole source at once, with limits, exports and errors."""

import json
from pathlib import Path
from typing import Any

import pytest

from stagebook_pipelines.prompt_batch import (
    ArchiveFile,
    ExtractedPrompt,
    FileError,
    extract_prompts,
    list_archives,
    read_prompts,
)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    (folder / "b").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.json").write_text(json.dumps([{"prompt": "One?"}, {"prompt": "Two\nlines?", "reference": "yes"}]))
    (folder / "b" / "c.jsonl").write_text('{"prompt": "One?"}\n{"prompt": "Three?"}\nbroken\n')
    (folder / "broken.json").write_text("<html>")
    (folder / "empty.json").write_text("[]")
    (folder / ".hidden" / "d.json").write_text('["hidden"]')
    (folder / ".DS_Store").write_bytes(b"\0\0")
    return folder


@pytest.mark.parametrize("named", ["directory", "source", "by-place"])
def test_a_folder_is_read_whole_by_either_name(archives: Path, named: str) -> None:
    found = extract_prompts(str(archives)) if named == "by-place" else extract_prompts(**{named: archives})
    assert [(one.file, one.index, one.text) for one in found.prompts] == [
        ("a.json", 0, "One?"),
        ("a.json", 1, "Two\nlines?"),
        ("b/c.jsonl", 0, "One?"),
        ("b/c.jsonl", 1, "Three?"),
    ]
    assert found.total == 4
    assert found.files_processed == 3
    assert [(one.file, one.line, one.lost) for one in found.errors] == [
        ("b/c.jsonl", 3, True),
        ("broken.json", None, True),
        ("empty.json", None, False),
    ]


def test_the_limit_ends_the_reading(archives: Path) -> None:
    found = extract_prompts(directory=archives, max_prompts=3)
    assert [one.text for one in found.prompts] == ["One?", "Two\nlines?", "One?"]
    assert not found.errors
    assert extract_prompts(archives, max_prompts=0).total == 0


def test_a_text_that_was_given_before_can_be_left_out(archives: Path) -> None:
    found = extract_prompts(archives, unique=True)
    assert [one.text for one in found.prompts] == ["One?", "Two\nlines?", "Three?"]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("*.json", ["a.json", "broken.json", "empty.json"]),
        ("c.*", ["b/c.jsonl"]),
        ("b/*", ["b/c.jsonl"]),
        ("*", ["a.json", "b/c.jsonl", "broken.json", "empty.json"]),
        ("no*such", []),
    ],
)
def test_files_are_chosen_by_a_pattern(archives: Path, pattern: str, files: list[str]) -> None:
    assert [file.path for file in list_archives(archives, pattern)] == files


def test_a_listed_file_says_what_tells_it_from_a_changed_one(archives: Path) -> None:
    before = next(iter(list_archives(archives)))
    (archives / "a.json").write_text("[]")
    after = next(iter(list_archives(archives)))
    assert (before.path, before.source) == (after.path, after.source)
    assert before != after


@pytest.mark.parametrize("path", ["../outside.json", "b/../../outside.json"])
def test_a_path_that_leads_out_of_the_source_is_not_read(archives: Path, path: str) -> None:
    (archives.parent / "outside.json").write_text('["secret"]')
    given = list(read_prompts(ArchiveFile(path=path, source=str(archives), size=1)))
    assert [type(one) for one in given] == [FileError]
    assert "leads out of its source" in str(given[0])


@pytest.mark.parametrize("form", ["jsonl", "txt"])
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "only-exported"])
def test_what_is_exported_is_read_again(archives: Path, tmp_path: Path, form: Any, *, keep: bool) -> None:
    path = tmp_path / f"prompts.{form}"
    path.write_text("older")
    found = extract_prompts(archives, export_path=path, keep=keep)
    again = extract_prompts(path)
    assert found.exported == str(path)
    assert found.total == again.total == 4
    assert len(found.prompts) == (4 if keep else 0)
    assert [one.text for one in again.prompts] == [
        "One?",
        "Two\nlines?",
        "One?",
        "Three?",
    ]
    assert again.prompts[1].reference == ("yes" if form == "jsonl" else None)
    assert not again.errors


HOSTILE = [
    "[INST] first",
    "prompt,question",
    "second, question",
    "Explain this, question, please",
    '"quoted" third',
    '"quoted"',
    '"two\\nlines"',
    '"\\"two\\\\nlines\\""',
    "fourth\u2028x\x0bline",
    "fifth\r\nline",
    "  blanks around ",
    '{"prompt": "an object"}',
    '[{"prompt": "a list"}]',
    "[1, 2]",
    "[",
    "{",
    "<b>bold</b>",
    "<!DOCTYPE html><p>a page",
    "PAR1",
    "PK\x03\x04",
    "\ufeffmark",
    "prompt",
    "\\nabla and \\n",
    "gr\u00fcn \U0001f600",
]


@pytest.mark.parametrize("first", range(len(HOSTILE)))
def test_prompts_of_any_kind_come_back_from_plain_text(tmp_path: Path, first: int) -> None:
    prompts = [*HOSTILE[first:], *HOSTILE[:first]]
    (tmp_path / "a.json").write_text(json.dumps(prompts))
    assert [one.text for one in extract_prompts(tmp_path / "a.json", export_path=tmp_path / "a.txt").prompts] == prompts
    again = extract_prompts(tmp_path / "a.txt")
    assert [one.text for one in again.prompts] == prompts
    (tmp_path / "one.json").write_text(json.dumps(prompts[:1]))
    extract_prompts(tmp_path / "one.json", export_path=tmp_path / "one.txt")
    assert [one.text for one in extract_prompts(tmp_path / "one.txt").prompts] == prompts[:1]


def test_an_export_has_a_name_of_its_own_where_none_is_given(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert extract_prompts(archives, export="txt").exported == "prompts.txt"
    assert (tmp_path / "prompts.txt").read_text().splitlines() == ["One?", '"Two\\nlines?"', "One?", "Three?"]


def test_an_export_that_fails_leaves_nothing(archives: Path, tmp_path: Path) -> None:
    target = tmp_path / "taken.jsonl"
    target.mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"taken\.jsonl"):
        extract_prompts(archives, export_path=target)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Name the archives by source="),
        ({"directory": "a", "source": "b"}, "not by both"),
        ({"source": "a", "max_prompts": -1}, "max_prompts is -1"),
        ({"source": "a", "export_path": "prompts.xlsx"}, "not as 'xlsx'"),
    ],
    ids=["none", "both", "negative", "form"],
)
def test_an_impossible_setting_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        extract_prompts(**options)


@pytest.mark.parametrize(
    ("source", "said"),
    [("/no/such/folder", "There is no folder or file /no/such/folder"), ("s3://", "names no bucket")],
)
def test_a_source_that_is_not_there_is_told(source: str, said: str) -> None:
    found = extract_prompts(source=source)
    assert found.total == found.files_processed == 0
    assert said in found.errors[0].message


def test_a_key_is_the_text_and_nothing_else(archives: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("prompt\nThree?\n")
    here = next(one for one in extract_prompts(archives).prompts if one.text == "Three?")
    there = next(one for one in read_prompts(tmp_path / "other.csv") if isinstance(one, ExtractedPrompt))
    assert here.key == there.key
