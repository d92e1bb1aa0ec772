import random

from hypothesis import given
from hypothesis import strategies as st

from stagebook.door.httpx2_chunks import LONGEST, SHORTEST, chunks

WORDS = ("lock", "weir", "tide", "canal", "harbour", "ledger", "depth", "gate", "water", "level", "measure", "season")


def prose(words: int, seed: int) -> bytes:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) + str(rng.randrange(1000)) for _ in range(words)).encode()


@given(st.binary(max_size=40_000))
def test_the_parts_of_a_body_are_the_body(body: bytes) -> None:
    parts = chunks(body)
    assert b"".join(parts) == body
    assert all(SHORTEST <= len(part) <= LONGEST for part in parts[:-1])


def test_an_empty_body_has_no_parts() -> None:
    assert chunks(b"") == ()


def test_a_conversation_that_has_grown_is_the_parts_of_before_and_a_few_new_ones() -> None:
    head, tools = prose(8000, seed=1), prose(1500, seed=2)
    before, after = chunks(head + tools), chunks(head + prose(300, seed=3) + tools)
    new = [part for part in after if part not in before]
    assert len(after) > 15
    assert sum(map(len, new)) < 0.25 * len(head + tools)
