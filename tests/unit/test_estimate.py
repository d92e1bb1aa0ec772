"""What an estimate is made of: the trend over input sizes, and the longest document that a schema allows."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from stagebook.door.rate import Limit
from stagebook.insight.limited_time import limited_time
from stagebook.insight.longest_answer import longest
from stagebook.insight.trend import Range, predict


class Part(BaseModel):
    name: str = Field(max_length=10)
    good: bool | None = None


class Whole(BaseModel):
    parts: list[Part] = Field(max_length=3)
    count: int
    kind: str = Field(pattern="^(a|b)$", max_length=1)


class Nested(BaseModel):
    inner: "Nested | None" = None


class Open(BaseModel):
    text: str


def test_an_amount_that_falls_or_stays_is_not_scaled() -> None:
    assert predict([(10, 5), (20, 5), (30, 5)], 1000, grows=True) == Range.exactly(5.0)
    falling = predict([(10, 9), (20, 7), (30, 5)], 1000, grows=True)
    assert falling is not None
    assert falling.expected == 7


def test_one_odd_run_does_not_move_the_line() -> None:
    straight = [(size, 3.0 + 2 * size) for size in range(10, 100, 10)]
    found = predict([*straight, (50, 100_000.0)], 200, grows=True)
    assert found is not None
    assert found.expected == pytest.approx(403, rel=0.02)
    assert found.high > 90_000, "but it is told that one strayed so far"


def test_one_size_scales_a_count_of_items_and_leaves_the_rest_open() -> None:
    assert predict([(100, 8), (100, 12)], 300, grows=True) == Range(24, 30, 36)
    assert predict([(100, 8), (100, 12)], 300, grows=False) == Range(8, 20, 36)
    assert predict([(100, 8), (100, 12)], 100, grows=False) == Range(8, 10, 12)
    assert predict([], 100, grows=True) is None


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1e6)), min_size=1, max_size=12),
    st.integers(1, 100_000),
    st.booleans(),
)
def test_a_range_is_in_order_and_never_negative(points: list[tuple[int, float]], size: int, grows: bool) -> None:  # noqa: FBT001  drawn
    found = predict(points, size, grows=grows)
    assert found is not None
    assert 0 <= found.low <= found.expected * (1 + 1e-9) + 1e-6
    assert found.expected <= found.high * (1 + 1e-9) + 1e-6


def test_the_longest_document_is_as_long_as_one_that_uses_all_its_room() -> None:
    most = longest(Whole.model_json_schema())
    assert most is not None
    full = Whole(parts=[Part(name="n" * 10, good=False)] * 3, count=-(10**20), kind="a")
    assert len(full.model_dump_json()) <= most <= 2 * len(full.model_dump_json())


@pytest.mark.parametrize("model", [Nested, Open])
def test_what_nothing_limits_has_no_longest(model: type[BaseModel]) -> None:
    assert longest(model.model_json_schema()) is None


def test_choices_are_as_long_as_their_longest() -> None:
    schema = orjson.loads(b'{"anyOf":[{"type":"null"},{"enum":["a","banana"]},{"const":"kiwi"}]}')
    assert longest(schema) == len('"banana"')


def asked(calls: float, read: float, model: str = "openai:m") -> tuple[str, Range, Range, Range]:
    return model, Range.exactly(calls), Range.exactly(read), Range.exactly(0.0)


def test_limits_tell_the_least_time() -> None:
    limits = {"openai": Limit(100, 10_000)}
    assert limited_time([asked(1000, 0)], limits) == Range.exactly(540.0), "the first hundred leave at once"
    assert limited_time([asked(10, 40_000)], limits) == Range.exactly(180.0), "the tokens are scarcer"
    assert limited_time([asked(50, 0), asked(150, 0)], limits) == Range.exactly(60.0), "stages share a provider's limit"
    assert limited_time([asked(50, 0)], limits) == Range.exactly(0.0)


def test_limits_of_others_tell_nothing() -> None:
    assert limited_time([asked(1000, 0, "local:m")], {"openai": Limit(1, None)}) is None
    assert limited_time([("openai:m", None, None, None)], {"openai": Limit(1, None)}) is None
    fits_the_model = {"openai:m": Limit(500, None), "openai": Limit(1, None)}
    assert limited_time([asked(1000, 0)], fits_the_model) == Range.exactly(60.0)
