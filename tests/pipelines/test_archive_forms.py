"""Tables, Parquet, plain text and packed files give the prompts that are in them."""

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from stagebook_pipelines.prompt_batch import ExtractedPrompt, FileError, extract_prompts, read_prompts

ROWS = [
    {"id": "a", "question": 'Say "yes", or no?', "answer": "yes"},
    {"id": "b", "question": "Two\nlines?", "answer": "no"},
    {"id": "c", "question": "Grüße?", "answer": ""},
]


def read(path: Path, **options: Any) -> tuple[list[ExtractedPrompt], list[FileError]]:
    given = list(read_prompts(path, **options))
    return (
        [one for one in given if isinstance(one, ExtractedPrompt)],
        [one for one in given if isinstance(one, FileError)],
    )


def table(separator: str, rows: list[dict[str, str]] | None = None) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "question", "answer"], delimiter=separator)
    writer.writeheader()
    writer.writerows(rows if rows is not None else ROWS)
    return text.getvalue()


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"], ids=["comma", "tab", "semicolon", "bar"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_table_is_read_whatever_its_name_separator_and_encoding(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(table(separator).encode(encoding))
    prompts, errors = read(path)
    assert [(one.text, one.conversation, one.reference) for one in prompts] == [
        ('Say "yes", or no?', "a", "yes"),
        ("Two\nlines?", "b", "no"),
        ("Grüße?", "c", None),
    ]
    assert [one.lost for one in errors] == ([False] if encoding == "latin-1" else [])


def test_a_row_with_too_many_cells_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Prompt , other\nOne?,1\nTwo?,2,3\n\nThree?\n")
    prompts, errors = read(path)
    assert [one.text for one in prompts] == ["One?", "Three?"]
    assert [one.line for one in errors] == [3]
    assert "has 3 cells, and the header has 2" in errors[0].message


def test_a_cell_may_be_long_and_an_open_quote_ends_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    long = "x" * 300_000
    path.write_text(table(",", [{"id": "a", "question": long, "answer": ""}]))
    assert [one.text for one in read(path)[0]] == [long]
    path.write_text('prompt\nOne?\n"open\n' + "word\n" * 100_000)
    prompts, errors = read(path, largest_record=400_000)
    assert [one.text for one in prompts[:3]] == ["One?", "word", "word"]
    assert len(prompts) == 100_001
    assert [(one.line, one.lost) for one in errors] == [(3, True)]
    assert "opens a quote that is not closed: is it missing?" in errors[0].message


@pytest.mark.parametrize(
    ("rows", "given", "told"),
    [
        (['"One?,1', "Two?,2", "Three?,3"], ["Two?", "Three?"], [(2, True)]),
        (["One?,1", '"Two?,2', '"Three?",3', "Four?,4"], ["One?", "Three?", "Four?"], [(3, True)]),
        (["One?,1", '"Two?,2', '"three?,3', "Four?,4"], ["One?", "Four?"], [(3, True), (4, True)]),
        (["One?,1", '"Two? was cut'], ["One?"], [(3, True)]),
        (["One?,1", '"Two?', "has more", "lines, three"], ["One?", "lines"], [(3, True), (4, True)]),
        (["One?,1", '"Two?', "has more", "lin"], ["One?"], [(3, True), (4, True)]),
        (["One?,1", "Two?"], ["One?", "Two?"], [(3, False)]),
        (['"He said "hi" to me",1', "Two?,2"], ['He said hi" to me"', "Two?"], [(2, False)]),
        (['"One, ""or', '"" two?",1', "Three?,3"], ['One, "or\n" two?', "Three?"], []),
    ],
    ids=range(9),
)
def test_a_missing_quote_costs_its_own_row_and_is_told(
    tmp_path: Path, rows: list[str], given: list[str], told: list[tuple[int, bool]]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["prompt,answer", *rows]))
    prompts, errors = read(path)
    assert [one.text for one in prompts] == given
    assert [(one.line, one.lost) for one in errors] == told


def test_many_missing_quotes_cost_their_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,answer\n" + '"open,1\n' * 2_000 + "\n".join(f"{n}?,1" for n in range(10_000)))
    prompts, errors = read(path)
    assert [prompts[0].text, prompts[-1].text, len(prompts)] == ["0?", "9999?", 10_000]
    assert errors[0].line == 2
    assert "1,900 more errors" in errors[-1].message


def test_a_table_of_other_columns_is_named_and_read_when_the_column_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("ID,Dialogue\n1,Well?\n2,Better?\n")
    prompts, errors = read(path)
    assert not prompts
    assert "'id', 'dialogue'" in errors[0].message
    prompts, errors = read(path, column="Dialogue")
    assert [(one.text, one.conversation) for one in prompts] == [("Well?", "1"), ("Better?", "2")]
    assert not errors


def test_conversations_in_cells_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    messages = json.dumps([{"role": "user", "content": "Why?"}])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "messages"], ["1", messages], ["2", "[not json"]])
    prompts, errors = read(path)
    assert [one.text for one in prompts] == ["Why?"]
    assert "no known shape" in errors[0].message


def test_every_line_of_plain_text_is_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"First, with a comma?\r\n\r\n  Second, too?  \ncaf\xe9?")
    prompts, errors = read(path)
    assert [one.text for one in prompts] == ["First, with a comma?", "Second, too?", "café?"]
    assert [(one.line, one.lost) for one in errors] == [(4, False)]


@pytest.mark.parametrize(
    ("name", "text", "given"),
    [
        ("a.txt", "[INST] hello [/INST]\nsecond\n", ["[INST] hello [/INST]", "second"]),
        ("a.txt", '"Hello" she said, translate\nsecond\n', ['"Hello" she said, translate', "second"]),
        ("a.txt", "<b>bold</b>?\nsecond\n", ["<b>bold</b>?", "second"]),
        ("a.txt", 'What?\n{"a": 1}\nthird\n', ["What?", '{"a": 1}', "third"]),
        ("a.txt", "Explain this, question, please\nsecond\n", ["Explain this, question, please", "second"]),
        ("a.txt", "text\nsecond\n", ["text", "second"]),
        ("a.txt", '{"prompt": "One?"}\n{"prompt": "Two?"}\n', ["One?", "Two?"]),
        ("a.txt", '[\n{"prompt": "One?"}\n]\n', ["One?"]),
        ("a.txt", '[{"prompt": "One?"}]', ["One?"]),
        ("a.txt", "id,question\n1,One?\n2,Two?\n", ["One?", "Two?"]),
        ("a", "Explain this, question, please\nsecond prompt\n", []),
        ("a.csv", '"prompt","answer"\n"One?","1"\n', ["One?"]),
        ("a.csv", "Question text,Prompt\nx,One?\n", ["One?"]),
        ("a.csv", "prompt\nOne?\nTwo, or more?\n", ["One?"]),
        ("a", '"One?"\n"Two?"\n', ["One?", "Two?"]),
    ],
    ids=range(15),
)
def test_a_name_in_txt_decides_and_a_table_has_a_header(tmp_path: Path, name: str, text: str, given: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert [one.text for one in read(tmp_path / name)[0]] == given


def parquet(rows: list[dict[str, Any]], path: Path, **options: Any) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    write_table(pa.Table.from_pylist(rows), path, **options)


def test_parquet_is_read_row_group_by_row_group(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    parquet([{"conversation": turns, "picture": b"\0" * 99}] * 10, tmp_path / "turns.bin", row_group_size=3)
    parquet(
        [{"question": f"Which {number}?", "choices": ["this", "that"], "answer": 1} for number in range(5)],
        tmp_path / "choices.bin",
    )
    found = extract_prompts(tmp_path)
    assert [one.text for one in found.prompts[5:]] == ["Why?"] * 10
    assert found.prompts[4].text == "Which 4?\nA. this\nB. that"
    assert found.prompts[4].reference == "B"
    assert not found.errors


def test_parquet_without_a_column_that_asks_is_named(tmp_path: Path) -> None:
    parquet([{"colour": "red", "size": 4}] * 3, tmp_path / "a.parquet")
    prompts, errors = read(tmp_path / "a.parquet")
    assert not prompts
    assert "'colour', 'size'" in errors[0].message
    assert [one.text for one in read(tmp_path / "a.parquet", column="colour")[0]] == ["red"] * 3


@pytest.mark.parametrize("name", ["chat.json", "chat.jsonl", "table.csv", "lines.txt", "rows.parquet"])
@pytest.mark.parametrize("packing", ["gzip", "zip", "gzip-in-zip", "two-members"])
def test_every_form_is_read_packed(tmp_path: Path, name: str, packing: str) -> None:
    raw = tmp_path / "raw"
    if name == "rows.parquet":
        parquet([{"prompt": "Why?"}], raw)
    else:
        text = {
            "chat.json": '[{"prompt": "Why?"}]',
            "chat.jsonl": '{"prompt": "Why?"}\n',
            "table.csv": "prompt\nWhy?\n",
            "lines.txt": "Why?\n",
        }[name]
        raw.write_text(text)
    data = raw.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"inner/{name}", gzip.compress(data) if packing == "gzip-in-zip" else data)
    half = len(data) // 2
    path = tmp_path / (f"{name}.gz" if packing in {"gzip", "two-members"} else "packed.zip")
    path.write_bytes(
        {
            "gzip": gzip.compress(data),
            "two-members": gzip.compress(data[:half]) + gzip.compress(data[half:]) + bytes(512),
        }.get(packing, packed.getvalue())
    )
    prompts, errors = read(path)
    assert [one.text for one in prompts] == ["Why?"]
    assert prompts[0].file == (path.name if path.suffix == ".gz" else f"packed.zip/inner/{name}")
    assert not errors
    assert {one.name for one in tmp_path.iterdir()} == {"raw", path.name}


def test_what_is_packed_too_often_is_told(tmp_path: Path) -> None:
    data = b'[{"prompt": "Why?"}]'
    for _ in range(4):
        data = gzip.compress(data)
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    prompts, errors = read(path)
    assert not prompts
    assert "packed more than 3 times" in errors[0].message
