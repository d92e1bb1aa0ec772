"""Rebuilds where a run stood from what the ledger kept."""

from dataclasses import dataclass

from stagebook.engine.plan import Rules, State, StepKey
from stagebook.model.records import OutputRef, Step
from stagebook.model.status import StepStatus


@dataclass(frozen=True, slots=True)
class Restored:
    """What an earlier drive left."""

    state: State
    """What counts as ended and as yielded."""
    prior: dict[StepKey, Step]
    """Every step that was begun before, by key."""
    items: tuple[tuple[str, str, str], ...]
    """(streaming stage, parent item, key) of every live item."""


def restore(rules: Rules, steps: list[Step], outputs: list[OutputRef]) -> Restored:
    """Say what of an earlier drive still holds; `rules.state` is filled on the way.

    A step counts as ended if it completed (or skipped by its own decision), its output is live, and everything that it
    reads had settled. All else comes up again: what was running or failed is run; what was completed, but stands below
    something that was not, is run only if what it reads has changed by then. Skips that followed from another step are
    decided anew.

    Args:
        rules: The pipeline, with an empty state.
        steps: As stored.
        outputs: Live ones, in order of first appearance.
    """
    state = rules.state
    prior = {StepKey(step.stage, step.item): step for step in steps}
    by_id = {step.id: step for step in steps}
    live: set[StepKey] = set()
    items: list[tuple[str, str, str]] = []
    for ref in outputs:
        spec = rules.specs.get(ref.stage)
        if spec is None:
            continue
        if spec.streams:
            parent = by_id[ref.step].item
            state.add_item(ref.stage, parent, ref.item)
            items.append((ref.stage, parent, ref.item))
        else:
            live.add(StepKey(ref.stage, ref.item))
    for spec in rules.specs.values():
        for item in list(rules.items(spec)):
            key = StepKey(spec.name, item)
            step = prior.get(key)
            if step is not None and _holds(step, has_output=spec.streams or key in live):
                decided = rules.verdict(spec, item)
                if decided is not None and decided.skip is None:
                    state.end(spec, item, step.status)
    return Restored(state, prior, tuple(items))


def _holds(step: Step, *, has_output: bool) -> bool:
    if step.status is StepStatus.COMPLETED:
        return has_output
    return step.status is StepStatus.SKIPPED and step.attempts > 0
