"""Keeps what a streaming stage yields: every item durable as it comes, upserted by its key."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from stagebook.definition.graph import StageSpec
from stagebook.engine.outputs import Live, Outputs
from stagebook.engine.plan import StepKey
from stagebook.engine.stream import batches
from stagebook.engine.threads import StageThreads
from stagebook.ledger.clock import now
from stagebook.ledger.facts import OutputMade, OutputRemoved
from stagebook.ledger.store import Ledger
from stagebook.llm.reading import kept
from stagebook.model.errors import Complaint, StageFailed
from stagebook.model.exchange import content_hash


class ItemKeeper:
    """Writes items and tells of them.

    Args:
        ledger: Where they are written.
        outputs: What the run knows of its outputs.
        run: Id of the run.
        fence: The driver's claim.
        on_items: Told (stage, parent item, keys) of items that are durable.
        on_withdrawn: Told (stage, key) of an item that is no longer yielded.
    """

    def __init__(
        self,
        ledger: Ledger,
        outputs: Outputs,
        run: int,
        fence: int,
        on_items: Callable[[str, str, list[str]], None],
        on_withdrawn: Callable[[str, str], None],
    ) -> None:
        self._ledger = ledger
        self._outputs = outputs
        self._run = run
        self._fence = fence
        self._on_items = on_items
        self._on_withdrawn = on_withdrawn
        self._of_parent: dict[StepKey, set[str]] = {}

    def recall(self, stage: str, parent: str, key: str) -> None:
        """Take note of an item that an earlier drive kept."""
        self._of_parent.setdefault(StepKey(stage, parent), set()).add(key)

    async def keep(
        self, spec: StageSpec, step: int, parent: str, made: Iterable[Any] | AsyncIterable[Any], threads: StageThreads
    ) -> None:
        """Iterate to the end; then withdraw what an earlier attempt yielded and this one did not.

        Raises:
            StageFailed: A key was given twice, or something that is no item was yielded.
        """
        seen: set[str] = set()
        async for batch in batches(made, threads):
            facts: list[OutputMade] = []
            keys: list[str] = []
            for item in batch:
                key = self._key(spec, parent, item)
                if key in seen:
                    raise StageFailed(
                        f"{spec.name} yielded the key {key!r} twice; keys must be unique ({spec.location})"
                    )
                seen.add(key)
                keys.append(key)
                fact = self._fact(spec, step, key, item)
                if fact is not None:
                    facts.append(fact)
            if facts:
                await self._ledger.write(*facts)
                for fact in facts:
                    self._outputs.put(StepKey(spec.name, fact.item), Live(fact.id, fact.content_hash), fact.data)
            self._on_items(spec.name, parent, keys)
        await self._withdraw(spec, step, parent, seen)

    def _key(self, spec: StageSpec, parent: str, item: Any) -> str:
        if not isinstance(item, spec.output):
            wanted, got = spec.output.__name__, type(item).__name__
            raise StageFailed(f"{spec.name} yielded {got}, not {wanted} ({spec.location})")
        own = str(getattr(item, spec.key_field or ""))
        if not own:
            raise StageFailed(f"{spec.name} yielded an item with an empty key {spec.key_field!r} ({spec.location})")
        return f"{parent}/{own}" if parent else own

    def _fact(self, spec: StageSpec, step: int, key: str, item: Any) -> OutputMade | None:
        """Make the fact of an item; None where the very same is live already."""
        try:
            data = kept(item)
        except Complaint as complaint:
            raise StageFailed(f"{spec.name} yielded an item {key!r} that JSON cannot hold: {complaint}") from complaint
        digest = content_hash(data)
        live = self._outputs.live(StepKey(spec.name, key))
        if live is not None and live.content_hash == digest:
            return None
        return OutputMade(
            self._ledger.new_id(), self._run, step, spec.name, key, data, digest, "stage", now(), self._fence
        )

    async def _withdraw(self, spec: StageSpec, step: int, parent: str, seen: set[str]) -> None:
        gone = sorted(self._of_parent.pop(StepKey(spec.name, parent), set()) - seen)
        if not gone:
            return
        await self._ledger.write(
            *(
                OutputRemoved(self._ledger.new_id(), self._run, step, spec.name, key, "stage", now(), self._fence)
                for key in gone
            )
        )
        for key in gone:
            self._outputs.drop(StepKey(spec.name, key))
            self._on_withdrawn(spec.name, key)
