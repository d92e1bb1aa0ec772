"""The outputs of one run as its stages read them: always from the JSON that is durable, never from a live object.

What a stage gets is what a resumed stage would get, and no stage can change what another one reads.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from stagebook.engine.plan import StepKey
from stagebook.ledger.store import Ledger
from stagebook.llm.reading import read_kept
from stagebook.model.errors import MissingOutput
from stagebook.model.records import OutputRef

CACHE_BYTES = 64 * 1024 * 1024
"""Most bytes of outputs kept in memory; older ones are read from the ledger again."""

_ESCAPED_NUL = rb"\u0000"


class Live(NamedTuple):
    """A live output, without its data."""

    id: int
    content_hash: bytes


class Outputs:
    """Finds outputs by stage and item.

    Args:
        ledger: Where they are.
        models: Stage -> what its outputs are validated as: its own class, also where a reader names a base of it.
        known: Live outputs of the run so far.
    """

    def __init__(self, ledger: Ledger, models: Mapping[str, type[BaseModel]], known: Iterable[OutputRef] = ()) -> None:
        self._ledger = ledger
        self._models = models
        self._live = {StepKey(ref.stage, ref.item): Live(ref.id, ref.content_hash) for ref in known}
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0

    def live(self, key: StepKey) -> Live | None:
        """Say which output is live."""
        return self._live.get(key)

    def put(self, key: StepKey, live: Live, data: bytes) -> None:
        """Take note of an output that is durable now."""
        self._live[key] = live
        self._keep(live.id, data)

    def drop(self, key: StepKey) -> None:
        """Take note that an output was removed."""
        self._live.pop(key, None)

    async def read(self, key: StepKey) -> Any:
        """Read one output, validated.

        Raises:
            MissingOutput: It is not there, or not of that model.
        """
        live, model = self._live.get(key), self._models[key.stage]
        if live is None:
            raise MissingOutput(f"the output of {name(key)} is not in the ledger; run `stagebook resume` to make it")
        data = self._cache.get(live.id)
        if data is None:
            data = await self._ledger.output_data(live.id)
            self._keep(live.id, data)
        else:
            self._cache.move_to_end(live.id)
        try:
            return read_kept(model, data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "the whole"
            raise MissingOutput(
                f"the output of {name(key)} cannot be read as {model.__name__}: field {field}: {first['msg']}"
            ) from error

    async def rows(self, keys: Iterable[StepKey]) -> AsyncIterator[Any]:
        """Read many, one after the other."""
        for key in keys:
            yield await self.read(key)

    def _keep(self, output: int, data: bytes) -> None:
        if output in self._cache or len(data) > CACHE_BYTES // 4:
            return
        if _ESCAPED_NUL in data:  # the ledger keeps it otherwise, and that is what a resumed stage would read
            return
        self._cache[output] = data
        self._cached += len(data)
        while self._cached > CACHE_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= len(dropped)


def name(key: StepKey) -> str:
    """Name a step for people."""
    return f"{key.stage}[{key.item}]" if key.item else key.stage
