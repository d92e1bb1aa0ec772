"""What a run may still spend: a call is reserved at its worst case before it is sent, and settled when it is answered.

Spent and reserved together never pass the limit. A call for which there is no room waits until those in flight are
settled, which mostly cost far less than their worst. Where none is in flight and there is still no room, the budget is
reached: that call is never sent, and whoever watches ends the run in order.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context
from typing import Final

from stagebook.model.exchange import Request
from stagebook.model.usage import dollars

WorstCase = Callable[[Request], int]
"""The most that a request can cost, picodollars; 0 for one that costs nothing. Raises UsageError where nobody knows."""

_TOLD: Final = 3
"""Significant digits of an amount in a sentence."""
_PROPOSED: Final = 2
"""Significant digits of a budget that is proposed."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has spent before."""

    known: int = 0
    """Picodollars that answers cost."""
    guessed: int = 0
    """Picodollars, at their worst case, of calls that are possibly paid."""
    jobs: tuple[tuple[int | None, int], ...] = ()
    """Jobs whose answer has not come: the step that made each, and its worst case."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Why a run cannot go on within its budget; amounts are picodollars."""

    limit: int
    spent: int
    """With calls that are possibly paid at their worst case."""
    worst: int
    """What the next call may cost."""
    model: str
    """Whom it would ask, `provider:name`."""

    def __str__(self) -> str:
        return (
            f"its budget is ${dollars(self.limit)}, ${_rounded(self.spent, _TOLD, ROUND_HALF_EVEN)} is spent, and the"
            f" next call, to {self.model}, may cost ${_rounded(self.worst, _TOLD, ROUND_CEILING)}"
        )

    @property
    def proposed(self) -> str:
        """A budget, in dollars, with which the run gets as far again, and at least two calls further."""
        return _rounded(max(2 * self.spent, self.spent + 2 * self.worst), _PROPOSED, ROUND_CEILING)


class Hold:
    """One call's reservation; settled once, by whoever first knows what became of the call."""

    __slots__ = ("_budget", "_open", "step", "worst")

    def __init__(self, budget: "Budget", worst: int, step: int | None) -> None:
        self._budget = budget
        self._open = True
        self.worst = worst
        self.step = step

    def settle(self, cost: int | None) -> None:
        """Give the room back and count what was spent.

        Args:
            cost: Picodollars; None where nobody can say, as nothing came back: then it counts at its worst.
        """
        if self._open:
            self._open = False
            self._budget.settle(self.worst, self.worst if cost is None else cost)

    def becomes_job(self) -> None:
        """Count it at its worst until a poll brings its cost: the answer was only that work has begun."""
        if self._open:
            self.settle(None)
            self._budget.add_job(self.step, self.worst)


@dataclass(slots=True)
class _Waiter:
    """A call for which there was no room."""

    worst: int
    step: int | None
    model: str
    room: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Budget:
    """The account of one drive of one run; belongs to one event loop.

    Args:
        limit: Picodollars that the whole run may cost, earlier drives included.
        worst: What a request can cost at most.
        before: What earlier drives spent.
    """

    def __init__(self, limit: int, worst: WorstCase, before: Spent | None = None) -> None:
        before = before or Spent()
        self._limit = limit
        self._worst = worst
        self._spent = before.known + before.guessed + sum(cost for _, cost in before.jobs)
        self._reserved = 0
        self._waiting: list[_Waiter] = []
        self._jobs: defaultdict[int | None, list[int]] = defaultdict(list)
        for step, cost in before.jobs:
            self._jobs[step].append(cost)
        self._on_change: Callable[[], None] | None = None
        self.reached: Reached | None = None
        """Set once, when a call had no room though nothing was in flight."""

    def watch(self, on_change: Callable[[], None]) -> None:
        """Say whom to tell when the budget is reached, and of each call that waits from then on."""
        self._on_change = on_change

    @property
    def waiting(self) -> int:
        """Steps of which a call waits for room."""
        return len({id(one) if one.step is None else one.step for one in self._waiting})

    async def reserve(self, request: Request, step: int | None) -> Hold:
        """Take room for a call, or wait for it; until the run is cancelled, if there will be none.

        Args:
            request: What is to be sent.
            step: Who sends it.

        Raises:
            UsageError: Nobody knows what it can cost.
        """
        worst = self._worst(request)
        if worst == 0:
            return Hold(self, 0, step)
        if self._spent + self._reserved + worst <= self._limit:
            self._reserved += worst
            return Hold(self, worst, step)
        waiter = _Waiter(worst, step, f"{request.provider}:{request.model}")
        self._waiting.append(waiter)
        self._look()
        try:
            await waiter.room
        except asyncio.CancelledError:
            if waiter.room.done() and not waiter.room.cancelled():  # it was given room in the same instant
                self.settle(worst, 0)
            else:
                self._waiting.remove(waiter)
            raise
        return Hold(self, worst, step)

    def settle(self, worst: int, cost: int) -> None:
        """Replace a reservation by what was spent."""
        self._reserved -= worst
        self._spent += cost
        self._look()

    def expect(self, step: int | None, request: Request) -> None:
        """Count a request that an earlier drive sent, and whose answer is still to come, at its worst case."""
        worst = self._worst(request)
        self._spent += worst
        self.add_job(step, worst)

    def add_job(self, step: int | None, worst: int) -> None:
        """Remember a job whose cost a poll will tell."""
        self._jobs[step].append(worst)

    def settle_job(self, step: int | None, cost: int) -> None:
        """Replace a job's worst case by its cost."""
        jobs = self._jobs[step]
        self._spent += cost - (jobs.pop(0) if jobs else 0)
        self._look()

    def _look(self) -> None:
        """Give room to whoever fits now; where nobody does and nothing is in flight, the budget is reached."""
        for one in list(self._waiting):
            if self._spent + self._reserved + one.worst <= self._limit:
                self._waiting.remove(one)
                self._reserved += one.worst
                one.room.set_result(None)
        if not self._waiting or self._reserved:
            return
        if self.reached is None:
            first = self._waiting[0]
            self.reached = Reached(self._limit, self._spent, first.worst, first.model)
        if self._on_change is not None:
            self._on_change()


def open_jobs(
    jobs: Iterable[tuple[int | None, int]], settled: Iterable[int | None]
) -> tuple[tuple[int | None, int], ...]:
    """Leave out of a run's jobs those whose answer came.

    Args:
        jobs: The step that made each, and its worst case.
        settled: The step of each poll that brought an answer.
    """
    left = list(jobs)
    for step in settled:
        found = next((one for one in left if one[0] == step), None)
        if found is not None:
            left.remove(found)
    return tuple(left)


def _rounded(amount: int, digits: int, rounding: str) -> str:
    """Write an amount in dollars with so many significant digits."""
    rounded = Context(prec=digits, rounding=rounding).create_decimal(amount)
    return dollars(int(rounded)) if rounded else "0"
