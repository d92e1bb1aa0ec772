"""Gives a stage's function what its parameters read."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel

from stagebook.definition.graph import GIVEN, Read, ReadKind, StageSpec
from stagebook.engine.outcomes import Outcomes
from stagebook.engine.outputs import Outputs
from stagebook.engine.plan import Rules, StepKey
from stagebook.model.errors import MissingOutput
from stagebook.model.exchange import content_hash
from stagebook.model.status import StepStatus

MOST_IDS = 1000
"""Outputs that a step's record of its reads names one by one; of more it keeps the stage and the count."""


class Bound(NamedTuple):
    """What one step reads."""

    values: dict[str, Any]
    """By parameter; the door and the model are put in by the driver."""
    reads: bytes
    """JSON object for the ledger: which output each parameter got."""
    digest: bytes
    """Hash of all that was read, for the step's fingerprint; empty for a prompt's, which is that of its request."""


class RowsOf:
    """Implements `stagebook.Rows`: a gather that is read as it is asked for.

    Args:
        outputs: Where the rows are.
        keys: Which ones, in order.
    """

    def __init__(self, outputs: Outputs, keys: Sequence[StepKey]) -> None:
        self._outputs = outputs
        self._keys = keys
        self._stages = dict.fromkeys(key.stage for key in keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._outputs.rows(self._keys)

    async def items(self) -> AsyncIterator[tuple[str, Any]]:
        """Read them in order, each with its key; see `stagebook.Rows.items`."""
        for key in self._keys:
            yield key.item, await self._outputs.read(key)

    async def get(self, key: str) -> Any:
        """Read the one of an item; see `stagebook.Rows.get`."""
        for stage in self._stages:
            found = StepKey(stage, key)
            if self._outputs.live(found) is not None:
                return await self._outputs.read(found)
        return None


class Binder:
    """Binds steps of one run.

    Args:
        rules: The pipeline and what has happened.
        outputs: What was made.
        run_input: The run's input, validated.
        input_hash: Of its JSON.
        outcomes: What became of its steps.
    """

    def __init__(
        self, rules: Rules, outputs: Outputs, run_input: BaseModel, input_hash: bytes, outcomes: Outcomes
    ) -> None:
        self._rules = rules
        self._outputs = outputs
        self._input = run_input
        self._input_hash = input_hash
        self._outcomes = outcomes

    async def bind(self, spec: StageSpec, item: str) -> Bound:
        """Read everything that a step's parameters name.

        Raises:
            MissingOutput: Something that it must have is not there.
        """
        values: dict[str, Any] = {}
        record: dict[str, Any] = {}
        seen: list[bytes] | None = [spec.name.encode()] if spec.prompt is None else None
        for read in spec.reads:
            if read.kind in GIVEN:
                continue
            if seen is not None:
                seen.append(b"\0%s\0" % read.parameter.encode())
            if read.kind is ReadKind.INPUT:
                values[read.parameter] = self._input.model_copy(deep=True)
                if seen is not None:
                    seen.append(self._input_hash)
                record[read.parameter] = "input"
                continue
            keys = self._keys(spec, read, item)
            if read.kind is ReadKind.OUTCOMES:
                told = await self._outcomes.told(keys)
                values[read.parameter] = told
                if seen is not None:
                    seen.append(orjson.dumps([one.model_dump(mode="json") for one in told]))
                record[read.parameter] = {"stages": list(read.stages), "count": len(told)}
                continue
            found = [(key, live) for key in keys if (live := self._outputs.live(key)) is not None]
            if seen is not None:
                seen.extend(b"%s\0%s" % (key.item.encode(), live.content_hash) for key, live in found)
            values[read.parameter] = await self._value(spec, read, [key for key, _ in found], item)
            record[read.parameter] = _recorded(read, [live.id for _, live in found])
        return Bound(values, orjson.dumps(record), b"" if seen is None else content_hash(b"".join(seen)))

    def _keys(self, spec: StageSpec, read: Read, item: str) -> list[StepKey]:
        """Name the outputs that a parameter may get, in order."""
        rules = self._rules
        if read.kind is ReadKind.ITEM:
            streaming = rules.specs[read.stages[0]]
            return [StepKey(streaming.name, rules.above(spec, item, streaming.item_axis))]
        if read.kind is ReadKind.OUTPUT:
            maker = rules.specs[read.stages[0]]
            return [StepKey(maker.name, rules.above(spec, item, maker.axis))]
        if read.kind is ReadKind.PICK:
            return [StepKey(name, read.item or "") for name in read.stages]
        if read.kind is ReadKind.OUTCOMES:
            makers = [rules.specs[name] for name in read.stages]
            return [StepKey(one.name, key) for one in makers for key in rules.in_order(rules.items(one), one.axis)]
        above = spec.axis if read.kind is ReadKind.CHILDREN else ()
        keys: list[StepKey] = []
        for name in read.stages:
            maker = rules.specs[name]
            made: Iterable[str]
            if above:
                made = rules.state.below(item, maker.item_axis[len(above) :])
            else:
                made = rules.state.yielded[name] if maker.streams else rules.items(maker)
            keys.extend(StepKey(name, key) for key in rules.in_order(made, maker.item_axis[len(above) :]))
        return keys

    async def _value(self, spec: StageSpec, read: Read, keys: list[StepKey], item: str) -> Any:
        outputs = self._outputs
        if read.kind is ReadKind.ROWS:
            return RowsOf(outputs, keys)
        if read.kind in {ReadKind.LIST, ReadKind.CHILDREN}:
            return [row async for row in outputs.rows(keys)]
        if read.kind is ReadKind.BY_STAGE:
            return {key.stage: await outputs.read(key) for key in keys}
        if read.kind is ReadKind.BY_ITEM:
            return {key.item: await outputs.read(key) for key in keys}
        if keys:
            return await outputs.read(keys[0])
        if read.optional:
            return None
        wanted = self._keys(spec, read, item)[0]
        what = (
            f"item {read.item!r} of {wanted.stage}" if read.kind is ReadKind.PICK else f"the output of {wanted.stage}"
        )
        status = self._rules.state.ended[wanted.stage].get(wanted.item)
        why = f" ({status})" if status in {StepStatus.SKIPPED, StepStatus.FAILED} else ""
        raise MissingOutput(f"{spec.name} needs {what} for its parameter {read.parameter!r}, and there is none{why}")


def _recorded(read: Read, ids: list[int]) -> Any:
    if read.kind in {ReadKind.ITEM, ReadKind.OUTPUT, ReadKind.PICK}:
        return ids[0] if ids else None
    if len(ids) > MOST_IDS:
        return {"stages": list(read.stages), "count": len(ids)}
    return ids
