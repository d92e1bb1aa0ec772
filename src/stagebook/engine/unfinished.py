"""Finds the run that a call which is made again should go on with."""

from typing import Final

from stagebook.engine.result import result_of
from stagebook.engine.session import Site, Start
from stagebook.engine.settings import Settings
from stagebook.llm.reading import kept
from stagebook.model.records import Run
from stagebook.model.status import RunStatus, Wish

LOOKED_AT: Final = 200
"""Runs of the pipeline, newest first, among which it is looked for."""
_DECIDING: Final = ("model", "models", "until", "lenient", "tries", "endpoints", "provider_batch", "reuse")
"""Settings that decide what is asked of whom; a budget or a limit may have become another."""


async def unfinished(start: Start, site: Site) -> Run | None:
    """Find the last run that was begun like this one, if it did not come to its end and nobody drives it.

    Args:
        start: What a new run would be begun with.
        site: Where it would happen.
    """
    ledger, graph = site.ledger, start.graph
    wanted = kept(start.input)
    for listed in await ledger.runs(pipeline=graph.name, limit=LOOKED_AT):
        settings = Settings.load(listed.settings)
        if any(getattr(settings, name) != getattr(start.settings, name) for name in _DECIDING):
            continue
        found = await ledger.run(listed.run_id)
        if found.input != wanted or found.parent is not None:
            continue
        if found.wish is Wish.CANCEL or ledger.is_driven(found.run_id):
            return None
        told = await result_of(found.run_id, graph, ledger, keep=True, url=None)
        return None if told.status is RunStatus.COMPLETED else found
    return None
