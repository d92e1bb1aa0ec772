"""All batches of one drive: which models go by them, what is under way, and what is taken up from before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from stagebook.door.door import OutwardDoor
from stagebook.door.journal import Journal
from stagebook.door.retry import RetryPolicy
from stagebook.llm.anthropic_batches import AnthropicBatches
from stagebook.llm.batch_collector import Collector
from stagebook.llm.batch_course import Desk
from stagebook.llm.batch_format import BatchFormat
from stagebook.llm.batch_policy import BatchPolicy
from stagebook.llm.batch_record import BatchRecord, read_record
from stagebook.llm.openai_batches import OpenAIBatches
from stagebook.llm.prices import PriceBook
from stagebook.llm.providers import Reached, alternatives, reach
from stagebook.model.exchange import Request, Response
from stagebook.model.usage import Charge

FORMATS: Final[Mapping[str, BatchFormat]] = {
    "openai": OpenAIBatches(),
    "openai-responses": OpenAIBatches(),
    "anthropic": AnthropicBatches(),
}
"""Providers that take batches, by name."""
TOLD: Final = 3
"""Batches that one sentence tells of."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What batches need to know of the drive that they belong to."""

    door: OutwardDoor
    run: int
    run_id: str
    mark: bytes
    """Tells the run from those of other ledgers."""
    prices: PriceBook
    policy: BatchPolicy
    retry: RetryPolicy
    under_way: Callable[[], int]
    """Steps that have begun and not ended."""
    held_back: Callable[[], int]
    """Of them, those that wait for the budget."""
    stopping: Callable[[], bool]


class Batches:
    """The batches of one drive.

    Args:
        surroundings: Its drive.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._at = surroundings
        self._ledger = surroundings.door.ledger
        self._environment = surroundings.door.environment
        self._collectors: dict[tuple[str, str], Collector] = {}
        self._record = BatchRecord()
        self._left: str | None = None

    def way(self, reached: Reached, model: str) -> Collector | None:
        """Give the way of a model's requests; None where its provider takes no batches."""
        provider = reached.provider
        if provider.name not in FORMATS:
            return None
        key = provider.name, model
        found = self._collectors.get(key)
        if found is None:
            found = self._collectors[key] = Collector(self._desk(reached, model), self._is_calm, self._at.stopping)
        return found

    async def recall(self) -> list[tuple[int, Request]]:
        """Read what earlier drives submitted and nobody was answered; says which step asks what.

        Nothing is sent before `resume`.
        """
        self._record = await read_record(
            self._ledger, self._at.run, FORMATS, lambda name: reach(name, self._environment)
        )
        return [
            (member.step, request._replace(by_batch=True))
            for going in self._record.going
            for member, request in going.batch.entries.values()
        ]

    def resume(self) -> None:
        """Go on with what was recalled."""
        for going in self._record.going:
            way = self.way(reach(going.provider, self._environment), going.model)
            if way is not None:
                way.resume(going.batch)
        self._record = replace(self._record, going=())

    def told(self) -> str | None:
        """Say in a sentence what is under way."""
        if self._left is not None:
            return self._left
        told = [one for way in self._collectors.values() for one in way.told()]
        if not told:
            return None
        more = f"; and {len(told) - TOLD} more" if len(told) > TOLD else ""
        return "; ".join(told[:TOLD]) + more

    async def cancel(self) -> int:
        """Have the providers end all batches, also those that were only recalled; says how many they took.

        What they had answered by then is written down, if they are quick to say so.
        """
        self._left = self.told() or ""
        self.resume()
        return sum([await way.cancel() for way in self._collectors.values()])

    async def close(self) -> None:
        """Leave the batches to their providers, and remember what there was to tell of them."""
        for way in self._collectors.values():
            await way.close()
        self._left = self._left or self.told() or ""

    def _desk(self, reached: Reached, model: str) -> Desk:
        at = self._at
        codec, prices = reached.provider.codec, at.prices

        def meter(response: Response) -> Charge | None:
            found = codec.metered(response.body)
            return halved(prices.charge(reached.provider.price_list, model, found)) if found else None

        return Desk(
            door=at.door,
            ledger=self._ledger,
            journal=Journal(at.run, None, recorded=self._record.results),
            run_id=at.run_id,
            mark=at.mark,
            endpoint=reached,
            model=model,
            format=FORMATS[reached.provider.name],
            meter=meter,
            policy=at.policy,
            retry=at.retry,
            handles=set(self._record.handles),
        )

    def _is_calm(self) -> bool:
        waiting = sum(way.waiting for way in self._collectors.values()) + self._at.held_back()
        return waiting >= self._at.under_way()


def takes(model: str) -> bool:
    """Whether the first that a model names is one whose provider takes batches."""
    return alternatives(model)[0].partition(":")[0] in FORMATS


def halved(charge: Charge) -> Charge:
    """Charge half, as an answer through a batch costs; what a provider itself says that it charged stays."""
    if charge.cost is None or charge.price_source == "provider":
        return charge
    return charge._replace(cost=charge.cost // 2, price_source=f"{charge.price_source}/batch")
