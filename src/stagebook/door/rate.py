"""How fast requests leave: what a provider lets through in a minute, and how many it takes at once."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

WINDOW_SECONDS: Final = 60.0
"""Limits are told per minute; any minute counts, not only those of the clock."""
SLACK_SECONDS: Final = 1.0
"""Longer than the window: a request may take this much longer to arrive than the one that leaves in its place (a volley
that has to connect first takes half a second)."""
TOKEN_MARGIN: Final = 0.98
"""Of the tokens allowed, what is used: tokens of a request are known only once it is answered."""
FIRST_GUESS: Final = 0.3
"""Tokens for a byte until answers have told it: English has about a quarter, other languages and code more."""
LEARNING: Final = 0.05
"""Weight of one more answer in the tokens for a byte."""
LONGEST_PAUSE: Final = 300.0
"""Seconds; who asks for more (a day's quota is used up) is not waited for: each call is refused, and fails."""


class Limit(NamedTuple):
    """What a provider lets through in any minute."""

    requests: int | None = None
    """None: no limit."""
    tokens: int | None = None
    """Those of the input and the most that the answer may have; None: no limit."""

    def __str__(self) -> str:
        counted = ((self.requests, "request"), (self.tokens, "token"))
        told = [f"{most:,} {what}{'' if most == 1 else 's'}" for most, what in counted if most is not None]
        return " and ".join(told) + " a minute"


class Weight(NamedTuple):
    """What a request is going to count, as far as it can be told from its bytes."""

    size: int
    """Bytes of its body."""
    most: int
    """Tokens that its answer may have; 0 where it sets no limit."""


WEIGHTLESS: Final = Weight(0, 0)
UNLIMITED: Final = Limit()


class Turn:
    """One request under way."""

    __slots__ = ("_lane", "_number", "_open", "_size")

    def __init__(self, lane: "Lane", number: int, size: int) -> None:
        self._lane = lane
        self._number = number
        self._size = size
        self._open = True

    def answered(self, input_tokens: int) -> None:
        """Tell how many tokens its input had."""
        self._lane.learn(self._size, input_tokens)

    def refused(self, wait: float | None) -> None:
        """Tell that the provider wants fewer: a 429.

        Args:
            wait: Seconds that it asked for, if it did.
        """
        self._lane.yield_to(self._number, wait)

    def end(self, *, well: bool) -> None:
        """Give the place to the next; only the first time counts."""
        if self._open:
            self._open = False
            self._lane.leave(well=well)


class _Waiter(NamedTuple):
    weight: Weight
    turn: asyncio.Future[Turn]


class Lane:
    """The way to one model, or to all of one provider: nobody overtakes but who was sent back.

    Requests are counted when they leave, each for a minute. How many may be under way at once is halved when the
    provider answers 429, and grows by one for each time that so many were answered; without a 429 it has no limit.

    Args:
        name: `provider:model` or `provider`, for people.
        limit: What the provider lets through.
        clock: Seconds, for tests.
    """

    def __init__(self, name: str, limit: Limit = UNLIMITED, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.limit = limit
        self._clock = clock
        self._left: deque[tuple[float, int]] = deque()
        """When each request of the last minute left, and its tokens."""
        self._tokens = 0
        self._tokens_per_byte = FIRST_GUESS
        self._at_once = math.inf
        self._under_way = 0
        self._number = 0
        self._cut = 0
        """The last request that left before the latest halving: what it brings tells nothing of the time since."""
        self._closed_until = -math.inf
        self._waiting: deque[_Waiter] = deque()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._waiting)

    @property
    def at_once(self) -> float:
        """How many may be under way; infinity where the provider has not complained."""
        return self._at_once

    def remember(self, left: Iterable[tuple[float, int]]) -> None:
        """Count what left before anything went this way: requests of another process.

        Args:
            left: Seconds ago and tokens, oldest first.
        """
        if self._number:
            return
        now = self._clock()
        for ago, tokens in left:
            self._left.append((now - ago, tokens))
            self._tokens += tokens

    def enter(self, weight: Weight, *, again: bool = False) -> Turn | None:
        """Begin a request at once, if nobody waits and there is room; else None, and it has to `wait`.

        Args:
            weight: What it counts.
            again: It was sent before and has to be sent again: it goes before those that were not.
        """
        if self._at_once is math.inf and not self._waiting and self.limit is UNLIMITED and self._closed_until < 0:
            return self._begin(0.0, weight)  # as nearly always: nobody has said that there is a limit
        now = self._clock()
        if (self._waiting and not again) or self._room_at(now, weight) > now:
            return None
        return self._begin(now, weight)

    async def wait(self, weight: Weight, *, again: bool = False) -> Turn:
        """Wait for the turn of a request that could not `enter`."""
        waiter = _Waiter(weight, asyncio.get_running_loop().create_future())
        if again:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        self._admit()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():  # it got its turn in the same instant
                waiter.turn.result().end(well=False)
            else:
                with suppress(ValueError):  # whoever was admitted meanwhile has cleared it away
                    self._waiting.remove(waiter)
                self._admit()
            raise

    def learn(self, size: int, input_tokens: int) -> None:
        """Take note of how many tokens so many bytes were."""
        if size:
            self._tokens_per_byte += LEARNING * (input_tokens / size - self._tokens_per_byte)

    def yield_to(self, number: int, wait: float | None) -> None:
        """Send less: close for as long as the provider asks, and halve what is under way where no limit was told."""
        if wait is not None and wait > LONGEST_PAUSE:
            return
        if wait is not None:
            self._closed_until = max(self._closed_until, self._clock() + wait)
        if number > self._cut and (wait is None or self.limit is UNLIMITED):
            self._cut = self._number
            self._at_once = max(1.0, min(self._at_once, self._under_way) / 2)

    def leave(self, *, well: bool) -> None:
        """Take note that a request is no longer under way."""
        self._under_way -= 1
        if well and self._at_once is not math.inf:
            self._at_once += 1 / self._at_once
        if self._waiting:
            self._admit()

    def _begin(self, now: float, weight: Weight) -> Turn:
        self._number += 1
        self._under_way += 1
        if self.limit is not UNLIMITED:
            tokens = self._count(weight)
            self._left.append((now, tokens))
            self._tokens += tokens
        return Turn(self, self._number, weight.size)

    def _count(self, weight: Weight) -> int:
        return math.ceil(weight.size * self._tokens_per_byte) + weight.most

    def _room_at(self, now: float, weight: Weight) -> float:
        """Say when there is room, by the clock; infinity: when a request has come back."""
        if self._under_way >= self._at_once and self._under_way:
            return math.inf
        at = max(now, self._closed_until)
        if self.limit is UNLIMITED:
            return at
        span = WINDOW_SECONDS + SLACK_SECONDS
        while self._left and self._left[0][0] <= now - span:
            self._tokens -= self._left.popleft()[1]
        requests, tokens = self.limit
        if requests is not None and len(self._left) >= requests:
            at = max(at, self._left[len(self._left) - requests][0] + span)
        if tokens is not None and self._left:
            over = self._tokens + self._count(weight) - tokens * TOKEN_MARGIN
            for left, count in self._left:  # a request that is too large by itself leaves alone, and is refused
                if over <= 0:
                    break
                over -= count
                at = max(at, left + span)
        return at

    def _admit(self) -> None:
        """Give turns to those who wait, the first one first, and look again when there will be room."""
        now = self._clock()
        room = -math.inf
        while self._waiting:
            waiter = self._waiting[0]
            if waiter.turn.done():  # cancelled
                self._waiting.popleft()
                continue
            room = self._room_at(now, waiter.weight)
            if room > now:
                break
            self._waiting.popleft()
            waiter.turn.set_result(self._begin(now, waiter.weight))
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._waiting and room < math.inf:
            self._alarm = asyncio.get_running_loop().call_later(max(room - now, 0.0), self._admit)


class Lanes:
    """The ways to all models; all runs of one site, which belongs to one event loop, go through the same.

    Args:
        clock: Seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits: dict[str, Limit] = {}
        self._lanes: dict[str, Lane] = {}
        self._found: dict[tuple[str | None, str | None], Lane] = {}
        """As they were asked for."""

    def limit(self, limits: Mapping[str, Limit]) -> None:
        """Say what is let through, by `provider:model`, or by `provider` for all of its models together."""
        self._limits.update(limits)
        self._found.clear()
        for name, limit in limits.items():
            self._lane(name).limit = limit

    def of(self, provider: str | None, model: str | None) -> Lane:
        """Give the way to a model."""
        lane = self._found.get((provider, model))
        if lane is None:
            name = f"{provider}:{model}"
            lane = self._lane(provider if name not in self._limits and provider in self._limits else name)
            self._found[provider, model] = lane
        return lane

    def told(self) -> str | None:
        """Say who waits and for what; None where nobody does."""
        waiting = [lane for lane in self._lanes.values() if lane.waiting]
        if not waiting:
            return None
        lane = max(waiting, key=lambda one: one.waiting)
        why = f"takes {lane.limit}" if lane.limit != UNLIMITED else "answered that it has too many"
        return f"{lane.waiting:,} {'request waits' if lane.waiting == 1 else 'requests wait'}: {lane.name} {why}"

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self._limits.get(name, UNLIMITED), self._clock)
        return lane


def read_limit(text: str) -> Limit:
    """Read a limit as it is typed: requests a minute, a slash, tokens a minute; `k` and `M` for thousands and millions.

    Either may be left out: `3000/`, `/2M`; `3000` alone are requests.

    Raises:
        ValueError: It is none.
    """
    requests, _, tokens = text.strip().partition("/")
    limit = Limit(_number(requests), _number(tokens))
    if limit == UNLIMITED:
        raise ValueError(text)
    return limit


def _number(text: str) -> int | None:
    text = text.strip().replace(",", "").replace("_", "")
    if not text:
        return None
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1].lower(), 1)
    number = float(text[:-1] if factor > 1 else text) * factor
    if not 1 <= number < 1e15:  # noqa: PLR2004  more than anybody sends; also not a number
        raise ValueError(text)
    return int(number)
