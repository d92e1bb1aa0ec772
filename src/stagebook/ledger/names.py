"""Finding a run by what a person types."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from stagebook.model.errors import NotFound

LAST: Final = "last"
"""Stands for the run created last."""
_SHOWN: Final = 5


def choose_run(typed: str, matching: Sequence[str], latest: Sequence[str]) -> str:
    """Choose the run that is meant.

    Args:
        typed: What was typed: a part of a readable id, or `last`.
        matching: Readable ids that begin or end with it.
        latest: Readable ids of the latest runs, newest first.

    Raises:
        NotFound: No run is meant, or several.
    """
    if typed == LAST:
        if latest:
            return latest[0]
        raise NotFound("there is no last run: nothing has been run in this ledger yet")
    if typed and len(matching) == 1:
        return matching[0]
    if typed and matching:
        raise NotFound(f"{typed!r} fits several runs: {_listed(matching)}; write more of it")
    raise no_such_run(typed, latest)


def no_such_run(typed: str, latest: Sequence[str]) -> NotFound:
    """Say that no run is called so, with the nearest names."""
    if not latest:
        return NotFound(f"no run {typed!r}: nothing has been run in this ledger yet")
    near = get_close_matches(typed, latest, n=_SHOWN, cutoff=0.6)
    if near:
        return NotFound(f"no run {typed!r} is in this ledger; the nearest: {_listed(near)}")
    return NotFound(f"no run {typed!r} is in this ledger; the latest: {_listed(latest)} (`stagebook runs` lists all)")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
