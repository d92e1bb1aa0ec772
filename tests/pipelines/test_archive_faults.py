"""Whatever is wrong with a file is told with its place, and nothing else is stopped by it."""

import gzip
import json
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from stagebook_pipelines.prompt_batch import ExtractedPrompt, FileError, extract_prompts, read_prompts
from stagebook_pipelines.prompt_batch.archives.packed import Ration, gunzipped
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream
from stagebook_pipelines.prompt_batch.files import prompts_of, wanted_files
from stagebook_pipelines.prompt_batch.models import Batch


def record(words: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": words}, {"role": "assistant", "content": "So [it] is: }"}]}


GOOD = json.dumps(record("Why?")).encode()


def read(tmp_path: Path, data: bytes, name: str = "given.json", **options: Any) -> tuple[list[str], list[FileError]]:
    path = tmp_path / name
    path.write_bytes(data)
    given = list(read_prompts(path, **options))
    texts = [one.text for one in given if isinstance(one, ExtractedPrompt)]
    return texts, [one for one in given if isinstance(one, FileError)]


def test_everything_before_a_cut_is_given(tmp_path: Path) -> None:
    texts, errors = read(tmp_path, b"[" + GOOD + b", " + GOOD + b", " + GOOD[:50])
    assert texts == ["Why?", "Why?"]
    assert [one.record for one in errors] == [2]
    assert "was cut off" in errors[0].message
    assert errors[0].byte == 1 + 2 * (len(GOOD) + 2)


def test_a_list_that_lacks_its_end_is_told(tmp_path: Path) -> None:
    texts, errors = read(tmp_path, b"[" + GOOD + b", ")
    assert texts == ["Why?"]
    assert "ends before its list does" in errors[0].message


@pytest.mark.parametrize("missing", [b"}", b'"', b"]"])
def test_a_record_that_lacks_a_bracket_or_a_quote_does_not_take_the_others_with_it(
    tmp_path: Path, missing: bytes
) -> None:
    begun, _, rest = GOOD.rpartition(missing)
    data = b"[" + b", ".join([GOOD] * 5 + [begun + rest] + [GOOD] * 5) + b"]"
    texts, errors = read(tmp_path, data)
    assert len(texts) >= 9
    assert set(texts) == {"Why?"}
    assert 5 in [one.record for one in errors]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n\n ", "holds nothing but blanks"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"[]", "is sound and holds no prompt"),
        (b"<!doctype html><title>403</title>", "is a web page or XML"),
        (b"hello, world\nand more\n", "is text of no known form, beginning with 'hello, world"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not text"),
        (b"PAR1 and nothing", "is Parquet that cannot be read"),
        (b"PK\x03\x04 and nothing", "is a zip archive that cannot be opened"),
        (b"\x1f\x8b and nothing", "gzip data cannot be unpacked"),
        (b"colour,size\nred,4\n", "is a table with the columns 'colour', 'size'"),
        (b"null", "is text of no known form"),
        (b"[1, 2]", "is of no known shape: a number"),
    ],
    ids=[
        "empty",
        "blank",
        "bom",
        "list",
        "html",
        "prose",
        "binary",
        "parquet",
        "zip",
        "gzip",
        "table",
        "null",
        "numbers",
    ],
)
def test_a_file_without_prompts_is_named_with_the_reason(tmp_path: Path, data: bytes, said: str) -> None:
    texts, errors = read(tmp_path, data)
    assert not texts
    assert said in errors[0].message
    assert "given.json" in errors[0].message


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (b"\xef\xbb\xbf[" + GOOD + b"]", None),
        (b"[" + GOOD + b",]", None),
        (GOOD + b"\n" + GOOD + b"\n", None),
        (json.dumps(record("Why?"), indent=2).encode() * 2, None),
        (b'[{"prompt": "Why?", "tags": ["a",],}]', "not strict JSON"),
        (b'[{"prompt": "Why?", "score": NaN, "large": 1e999}]', "not strict JSON"),
        (b'[{"prompt": "Why?", "x": "\\ud800"}]', "not strict JSON"),
        ('[{"prompt": "Why?", "name": "é"}]'.encode("latin-1"), "Windows-1252"),
        ('[{"prompt": "Why?"}]'.encode("utf-16"), None),
    ],
    ids=["bom", "comma", "lines", "side-by-side", "commas", "numbers", "surrogate", "latin-1", "utf-16"],
)
def test_what_can_be_told_is_read_nevertheless(tmp_path: Path, data: bytes, remark: str | None) -> None:
    texts, errors = read(tmp_path, data)
    assert set(texts) == {"Why?"}
    assert [one.lost for one in errors] == ([] if remark is None else [False])
    assert remark is None or remark in errors[0].message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'["a \\ud800 b"]', "a \ufffd b"),
        (b'["a \\ud83d\\ude00 \\udc00"]', "a \U0001f600 \ufffd"),
        (b'["caf\xe9"]', "café"),
        (b'["a\\u0000b"]', "a\ufffdb"),
        ('["Zürich caf'.encode() + b'\xe9"]', "Zürich caf\ufffd"),
    ],
    ids=["lone", "pair-and-lone", "latin-1", "nul", "damaged"],
)
def test_what_no_text_can_hold_is_replaced_and_told(tmp_path: Path, data: bytes, text: str) -> None:
    texts, errors = read(tmp_path, data)
    assert texts == [text]
    assert len(errors) == 1


def test_a_bad_line_costs_itself_only(tmp_path: Path) -> None:
    data = b"\n".join([GOOD, b'{"messages": [', b"", GOOD, b"null", b"[]", b'"text"', b"not json", GOOD])
    texts, errors = read(tmp_path, data, "given.jsonl")
    assert texts == ["Why?"] * 3
    assert [one.line for one in errors] == [2, 5, 6, 7, 8]


def test_a_file_of_lines_may_begin_with_a_bad_one(tmp_path: Path) -> None:
    texts, errors = read(tmp_path, b"not json\n" + GOOD + b"\n")
    assert texts == ["Why?"]
    assert [one.line for one in errors] == [1]


@pytest.mark.parametrize("depth", [1100, 10_000, 200_000])
def test_what_is_nested_too_deep_is_told_and_the_next_one_read(tmp_path: Path, depth: int) -> None:
    deep = b'{"messages": ' + b"[" * depth + b"]" * depth + b"}"
    for data in (b"[" + deep + b"," + GOOD + b"]", deep + b"\n" + GOOD):
        texts, errors = read(tmp_path, data)
        assert texts == ["Why?"]
        assert "nested deeper than 1,024 levels" in errors[0].message


@pytest.mark.parametrize("form", ["array", "lines", "string"])
def test_a_record_beyond_the_limit_is_left_out_and_the_next_one_read(tmp_path: Path, form: str) -> None:
    large = json.dumps(record('"}]\\' * 400_000)).encode()
    data = {
        "array": b"[" + b",\n".join([GOOD, large, GOOD, large, GOOD]) + b"]",
        "lines": b"\n".join([GOOD, large, GOOD, large, GOOD]),
        "string": b"[" + b", ".join([b'"Why?"', json.dumps("x" * 2_000_000).encode(), b'"Why?"', b'"Why?"']) + b"]",
    }[form]
    texts, errors = read(tmp_path, data, largest_record=1_000_000)
    assert texts == ["Why?"] * 3
    assert {one.message.partition(", and")[0].rpartition("is ")[2] for one in errors} <= {
        "larger than 1,000,000 bytes",
        "longer than 1,000,000 bytes",
    }
    assert len(errors) == (1 if form == "string" else 2)


def test_blank_and_missing_words_are_told(tmp_path: Path) -> None:
    messages = [
        {"role": "Human", "content": "Why?"},
        {"role": "AI", "content": "So."},
        {"role": "user", "content": None},
        {"role": "user"},
        {"content": "no role"},
        {"role": "user", "content": "  "},
    ]
    texts, errors = read(tmp_path, json.dumps([{"messages": messages}]).encode())
    assert texts == ["Why?"]
    assert len(errors) == 4
    for number, error in enumerate(errors, 2):
        assert f"messages[{number}]" in error.message


def test_the_same_record_twice_has_keys_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    path.write_bytes(b"\n".join([GOOD] * 3))
    prompts = [one for one in read_prompts(path) if isinstance(one, ExtractedPrompt)]
    first = prompts[0].key
    assert [one.key for one in prompts] == [first, f"{first}.2", f"{first}.3"]
    assert len(first) == 16


@pytest.mark.parametrize("cut", [30, -6])
def test_what_a_damaged_gzip_file_gives_before_the_damage_is_read(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(b"".join(json.dumps(record(os.urandom(99).hex())).encode() + b"\n" for _ in range(2000)))
    texts, errors = read(tmp_path, packed[: cut if cut < 0 else len(packed) // 2])
    assert len(texts) == 2000 if cut < 0 else 500 < len(texts) < 1500
    assert "gzip data has no end" in errors[-1].message


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_a_line_that_was_cut_off_is_no_prompt(tmp_path: Path, name: str) -> None:
    packing = zlib.compressobj(wbits=31)
    data = packing.compress(b"prompt\nOne?\nTwo? An") + packing.flush(zlib.Z_SYNC_FLUSH)
    texts, errors = read(tmp_path, data, f"{name}.gz")
    assert texts[-1] == "One?"
    assert [(one.line, one.lost) for one in errors] == [(3, True), (None, True)]


def test_a_gzip_bomb_is_stopped() -> None:
    bomb = zlib.compress(bytes(30_000_000), 9, wbits=31)
    unpacked = ByteStream(gunzipped(ByteStream(iter([bomb])), Ration(always=1_000_000)))
    while unpacked.more():
        unpacked.at = len(unpacked.data)
    assert "200 times its bytes" in (unpacked.problem or "")
    assert 1_000_000 <= unpacked.place < 8_000_000


def test_names_within_a_zip_archive_lead_nowhere(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../../etc/passwd", "/root.json", "..\\up.json", "__MACOSX/._x", "folder/"):
            archive.writestr(name, GOOD)
    found = extract_prompts(tmp_path)
    assert [one.file for one in found.prompts] == ["a.zip/etc/passwd", "a.zip/root.json", "a.zip/up.json"]
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_members_of_one_name_are_numbered(tmp_path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of what is tested here
        for name in ("a.json", "a.json", "../a.json", "b.txt", "b.txt", "a.json#2"):
            archive.writestr(name, '"Why?"')
    found = extract_prompts(tmp_path)
    names = ["a.json", "a.json#2", "a.json#3", "b.txt", "b.txt#2", "a.json#2#2"]
    assert [one.file for one in found.prompts] == [f"a.zip/{name}" for name in names]
    given = Batch(source=str(tmp_path))
    keys = [one.key for file in wanted_files(given) for one in prompts_of(file, given, pytest.fail)]
    assert len(set(keys)) == len(keys) == 6


@pytest.mark.parametrize(("name", "why"), [(None, "holds no file"), (".hidden", "holds no file but hidden ones")])
def test_an_empty_zip_archive_is_told(tmp_path: Path, name: str | None, why: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        if name:
            archive.writestr(name, GOOD)
    found = extract_prompts(tmp_path)
    assert [one.message for one in found.errors] == [f"a.zip is a zip archive that {why}"]


def test_a_damaged_member_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.json", "b.json", "c.json"):
            archive.writestr(name, GOOD)
    data = bytearray(path.read_bytes())
    data[data.index(b"Why?", data.index(b"b.json"))] = ord("w")  # its checksum no longer fits
    texts, errors = read(tmp_path, bytes(data), "a.zip")
    assert texts.count("Why?") == 2
    assert "a.zip/b.json" in errors[0].message


def test_links_that_lead_out_of_the_source_are_told_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_bytes(GOOD)
    folder = tmp_path / "archives"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.json").write_bytes(GOOD)
    (folder / "out.json").symlink_to(tmp_path / "outside.json")
    (folder / "same.json").symlink_to(folder / "inner" / "a.json")
    (folder / "up").symlink_to(tmp_path)
    (folder / "gone.json").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.json")
    found = extract_prompts(folder)
    assert [one.file for one in found.prompts] == ["inner/a.json", "same.json"]
    assert {one.file: one.message.partition(" ")[2].partition(",")[0] for one in found.errors} == {
        "gone.json": "cannot be read (No such file or directory)",
        "out.json": "leads out of its source",
        "pipe.json": "is no file",
        "up": "leads out of its source",
    }
