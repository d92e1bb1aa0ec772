"""Who asks a model when."""

import asyncio
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook.door import rate
from stagebook.door.rate import SLACK_SECONDS, WEIGHTLESS, WINDOW_SECONDS, Lane, Lanes, Limit, Turn, Weight, read_limit
from stagebook.llm.weight import weigh
from stagebook.model.exchange import Request


class Clock:
    """A clock that goes when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 8),
    st.integers(50, 400),
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 300), st.integers(0, 60)), max_size=120),
)
def test_no_minute_has_more_than_the_limit(requests: int, tokens: int, asked: list[tuple[float, int, int]]) -> None:
    clock = Clock()
    lane = Lane("m", Limit(requests, tokens), clock)
    passed: list[tuple[float, int]] = []
    for wait, size, most in asked:
        clock.now += wait
        if lane.enter(Weight(size, most)) is not None:
            passed.append((clock.now, math.ceil(size * rate.FIRST_GUESS) + most))
    for start, _ in passed:
        inside = [count for at, count in passed if start <= at < start + WINDOW_SECONDS]
        assert len(inside) <= requests
        assert (
            sum(inside) <= tokens or len(inside) == 1
        )  # one that is too large by itself is for the provider to refuse


def test_the_next_request_leaves_as_soon_as_the_first_of_the_window_has_gone() -> None:
    clock = Clock()
    lane = Lane("m", Limit(requests=2), clock)
    for _ in range(2):
        assert lane.enter(WEIGHTLESS) is not None
        clock.now += 10
    assert lane.enter(WEIGHTLESS) is None
    clock.now = 1000 + WINDOW_SECONDS + SLACK_SECONDS
    assert lane.enter(WEIGHTLESS) is not None
    assert lane.enter(WEIGHTLESS) is None


def test_answers_teach_how_many_tokens_a_byte_has() -> None:
    lane = Lane("m", Limit(tokens=1000), Clock())
    for _ in range(200):
        lane.learn(1000, 500)
    assert lane.enter(Weight(1800, 0)) is not None  # 900 tokens, of 980
    assert lane.enter(Weight(400, 0)) is None


def test_a_429_without_a_word_halves_what_is_under_way_and_answers_let_it_grow() -> None:
    lane = Lane("m", clock=Clock())
    turns = [lane.enter(WEIGHTLESS) for _ in range(16)]
    assert lane.at_once == math.inf
    for turn in turns[:4]:  # of one volley only the first counts
        assert turn is not None
        turn.refused(None)
        turn.end(well=False)
    assert lane.at_once == 8
    for turn in turns[4:]:
        assert turn is not None
        turn.end(well=True)
    assert 9 < lane.at_once < 10


def test_a_429_that_says_when_closes_the_way_until_then() -> None:
    clock = Clock()
    lane = Lane("m", Limit(requests=100), clock)
    turn = lane.enter(WEIGHTLESS)
    assert turn is not None
    turn.refused(7.0)
    turn.end(well=False)
    assert lane.at_once == math.inf  # the limit is known: what was asked for is enough
    clock.now += 6.9
    assert lane.enter(WEIGHTLESS) is None
    clock.now += 0.2
    assert lane.enter(WEIGHTLESS) is not None


async def test_nobody_overtakes_but_who_was_sent_back() -> None:
    lane, order = Lane("m"), list[str]()
    first = lane.enter(WEIGHTLESS)
    second = lane.enter(WEIGHTLESS)
    assert first is not None
    assert second is not None
    first.refused(None)  # from now on one at a time

    async def go(name: str, *, again: bool = False) -> None:
        turn = await lane.wait(WEIGHTLESS, again=again)
        order.append(name)
        await asyncio.sleep(0)
        turn.end(well=False)

    tasks = [asyncio.create_task(go("a")), asyncio.create_task(go("b")), asyncio.create_task(go("back", again=True))]
    await asyncio.sleep(0.01)
    assert (order, lane.waiting, lane.enter(WEIGHTLESS)) == ([], 3, None)
    first.end(well=False)
    second.end(well=False)
    await asyncio.gather(*tasks)
    assert order == ["back", "a", "b"]


async def crowded(waiting: int) -> tuple[Lane, Turn, list[asyncio.Task[Turn]]]:
    """Make a lane that lets one through at a time, with one under way and others waiting."""
    lane = Lane("m")
    turn = lane.enter(WEIGHTLESS)
    assert turn is not None
    turn.refused(None)
    tasks = [asyncio.create_task(lane.wait(WEIGHTLESS)) for _ in range(waiting)]
    await asyncio.sleep(0)
    return lane, turn, tasks


async def test_who_is_cancelled_while_waiting_keeps_nobodys_place() -> None:
    lane, turn, waiting = await crowded(3)
    waiting[0].cancel()
    await asyncio.sleep(0)
    turn.end(well=False)
    waiting[1].cancel()  # in the instant in which it got its turn
    (await asyncio.wait_for(waiting[2], 5)).end(well=True)
    assert lane.waiting == 0
    assert lane.enter(WEIGHTLESS) is not None


async def test_many_who_are_cancelled_at_once_are_all_cancelled() -> None:
    lane, turn, waiting = await crowded(4)
    for one in waiting:
        one.cancel()
    turn.end(well=False)  # gives turns while they are being cancelled
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 4
    assert lane.waiting == 0
    assert lane.enter(WEIGHTLESS) is not None


def test_a_429_that_asks_for_hours_closes_nothing_for_the_others() -> None:
    lane = Lane("m", clock=Clock())
    turn = lane.enter(WEIGHTLESS)
    assert turn is not None
    turn.refused(3600.0)
    turn.end(well=False)
    assert lane.at_once == math.inf
    assert lane.enter(WEIGHTLESS) is not None


async def test_those_who_wait_for_the_window_go_when_it_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "WINDOW_SECONDS", 0.2)
    monkeypatch.setattr(rate, "SLACK_SECONDS", 0.0)
    lane, began = Lane("m", Limit(requests=3)), time.monotonic()

    async def one() -> float:
        turn = lane.enter(WEIGHTLESS) or await lane.wait(WEIGHTLESS)
        turn.end(well=True)
        return time.monotonic() - began

    left = await asyncio.gather(*(one() for _ in range(9)))
    assert [int(at / 0.2) for at in left[:7]] == [0, 0, 0, 1, 1, 1, 2]


def test_a_model_without_a_limit_of_its_own_goes_the_way_of_its_provider() -> None:
    lanes = Lanes(Clock())
    before = lanes.of("openai", "small")
    lanes.limit({"openai": Limit(2), "openai:large": Limit(1)})
    assert before.name == "openai:small"
    assert lanes.of("openai", "small") is lanes.of("openai", "other")
    assert lanes.of("openai", "large").limit == Limit(1)
    assert lanes.of("anthropic", "x").limit == Limit()
    assert lanes.told() is None


async def test_it_is_told_who_waits_and_for_what() -> None:
    lanes = Lanes()
    lanes.limit({"openai:m": Limit(1, 2_000_000)})
    lanes.of("openai", "m").enter(WEIGHTLESS)
    waiting = asyncio.create_task(lanes.of("openai", "m").wait(WEIGHTLESS))
    await asyncio.sleep(0)
    assert lanes.told() == "1 request waits: openai:m takes 1 request and 2,000,000 tokens a minute"
    waiting.cancel()


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("3000/2000000", Limit(3000, 2_000_000)),
        ("3000", Limit(3000)),
        ("3,000/", Limit(3000)),
        ("/1.5M", Limit(None, 1_500_000)),
        (" 3k/2m ", Limit(3000, 2_000_000)),
    ],
)
def test_limits_are_read_as_they_are_typed(text: str, limit: Limit) -> None:
    assert read_limit(text) == limit


@pytest.mark.parametrize("text", ["", "/", "0/5", "-3", "many", "3000/x", "inf", "nan/3", "1/2/3", "k"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        read_limit(text)


def test_a_request_weighs_its_bytes_and_the_longest_answer() -> None:
    def of(body: bytes) -> Weight:
        return weigh(Request("POST", "https://x", (body,), kind="model"))

    assert of(b'{"max_completion_tokens":300,"messages":[]}') == Weight(43, 300)
    assert of(b'{"max_tokens": 5}').most == 5
    assert of(b'{"messages":[{"content":"say \\"max_tokens\\":900"}]}').most == 0
