"""Archives are cut into records rightly wherever their chunks end, and in constant memory."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagebook_pipelines.prompt_batch.archives.balance import Balance
from stagebook_pipelines.prompt_batch.archives.lines import json_lines
from stagebook_pipelines.prompt_batch.archives.seen import SeenKeys
from stagebook_pipelines.prompt_batch.archives.stream import ByteStream, Record, Trouble
from stagebook_pipelines.prompt_batch.archives.values import Values

TEXTS = st.text(st.sampled_from('ab"\\{}[],: \n/é😀'), max_size=12)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(-9, 9), st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
RECORDS = st.lists(
    st.one_of(VALUES.filter(lambda one: not isinstance(one, list)), st.dictionaries(st.just("id"), VALUES)), max_size=12
)


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def values(found: Iterator[Record | Trouble]) -> list[Any]:
    said = list(found)
    assert [one for one in said if isinstance(one, Trouble)] == []
    return [one.value for one in said if isinstance(one, Record)]


@settings(max_examples=100, deadline=None)
@given(records=RECORDS, size=st.integers(1, 40), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_an_array_is_cut_rightly_wherever_chunks_end(
    records: list[Any], size: int, indent: int | None, *, ascii_only: bool
) -> None:
    data = json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode()
    assert values(iter(Values(ByteStream(chunks(data, size)), 1 << 20))) == records


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, size=st.integers(1, 40))
def test_values_side_by_side_are_cut_rightly_wherever_chunks_end(records: list[Any], size: int) -> None:
    data = "\n".join(json.dumps(one, indent=2) for one in records).encode()
    assert values(iter(Values(ByteStream(chunks(data, size)), 1 << 20))) == records


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, size=st.integers(1, 40))
def test_lines_are_cut_rightly_wherever_chunks_end(records: list[Any], size: int) -> None:
    data = "\r\n".join(json.dumps(one, ensure_ascii=False) for one in records).encode()
    assert values(json_lines(ByteStream(chunks(data, size)), 1 << 20)) == records


@settings(max_examples=100, deadline=None)
@given(value=VALUES.filter(lambda one: isinstance(one, (dict, list, str))), size=st.integers(1, 20))
def test_the_end_of_a_value_is_found_wherever_chunks_end(value: Any, size: int) -> None:
    data = json.dumps(value).encode()
    balance, before = Balance(), 0
    for chunk in chunks(data + b"]}, {", size):
        end = balance.end(chunk, 0)
        if end >= 0:
            assert before + end == len(data)
            return
        before += len(chunk)
    pytest.fail("no end was found")


def test_what_stands_between_records_may_stand_inside_one() -> None:
    inner = {"id": 1, "list": [{"id": 2}, {"id": 3}], "text": '}, {"id": '}
    records = [{"id": 0}, inner, {"id": 4, "last": {}}, inner, {"other": 5}, inner, {"id": 6}] * 50
    data = json.dumps(records).encode()
    assert values(iter(Values(ByteStream(chunks(data, 999)), 1 << 20))) == records


def test_hashes_are_counted_as_a_dict_counts_them() -> None:
    seen, counts = SeenKeys(), dict[int, int]()
    for number in range(30_000):
        hashed = (number * 2654435761 % 9973) << 32 | (number % 7 + 1)
        counts[hashed] = counts.get(hashed, 0) + 1
        assert seen.count(hashed) == counts[hashed]


PEAK = """
import resource, sys
from stagebook_pipelines.prompt_batch import extract_prompts
given = extract_prompts(source=sys.argv[1], export_path=sys.argv[1] + ".out.jsonl", keep=False)
print(given.total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("form", ["array", "lines"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    answer = {"role": "assistant", "content": "So. " * 1000}
    record = json.dumps({"title": "t", "messages": [{"role": "user", "content": "Why?"}, answer]})
    peaks = []
    for times in (100, 5_000):
        path = tmp_path / f"{times}.json"
        with path.open("w") as file:
            file.write("[" if form == "array" else "")
            for number in range(times):
                file.write((", " if form == "array" else "\n") * (number > 0) + record)
            file.write("]" if form == "array" else "\n")
        done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
        total, peak = map(int, done.stdout.split())
        assert total == times
        peaks.append(peak)
        path.unlink()
    assert peaks[1] - peaks[0] < 10
