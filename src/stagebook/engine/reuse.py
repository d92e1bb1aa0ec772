"""Takes over what other runs of a pipeline were answered, where a step would send the very same request."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from pydantic import BaseModel, ValidationError

from stagebook.definition.graph import StageSpec
from stagebook.engine.calls import recorded_call
from stagebook.ledger.fingerprints import Fingerprints
from stagebook.ledger.store import Ledger
from stagebook.llm.client import LENIENTLY
from stagebook.llm.fallback import answered_by
from stagebook.llm.providers import alternatives
from stagebook.llm.reading import kept, read_kept, read_whole
from stagebook.model.errors import Complaint
from stagebook.model.records import Made, Run, Step

OWN = frozenset({"stage", "reuse"})
"""Who made what can be taken over: not what a person changed, which is meant for the run where it was changed."""

Check = Callable[[BaseModel, bool], Awaitable[list[str]]]
"""Lets a stage's checks look at a value, told whether complaints that do not insist are let go; gives their warnings,
raises Complaint."""


class TakenOver(NamedTuple):
    """An output of another run."""

    step: int
    """The step that made it; of a copy whose origin was deleted, that origin, so that all copies stay one answer."""
    data: bytes
    """JSON."""
    warnings: list[str]


class Reuse:
    """Finds answers of other runs; each is given to one step of this run, so that three samples stay three.

    Args:
        ledger: Where they are.
        found: Stage -> steps of other runs.
        taken: Steps whose answer was taken over before.
        lenient: Whether an answer may be taken over that was accepted leniently.
    """

    def __init__(
        self, ledger: Ledger, found: Mapping[str, Fingerprints], taken: Iterable[int], *, lenient: bool
    ) -> None:
        self._ledger = ledger
        self._found = found
        self._taken = set(taken)
        self._origins: dict[int, int] = {}
        self._lenient = lenient

    @classmethod
    async def of(cls, ledger: Ledger, run: Run, stages: Iterable[str], steps: Iterable[Step], *, lenient: bool) -> Self:
        """Look at what other runs of the pipeline have.

        Args:
            ledger: Where they are.
            run: The run that takes over.
            stages: Its prompts.
            steps: Its own steps so far.
            lenient: Whether an answer may be taken over that was accepted leniently.
        """
        found = {stage: await ledger.fingerprints(run.pipeline, stage, run.id) for stage in stages}
        taken = (step.reused_from for step in steps if step.reused_from is not None)
        return cls(ledger, found, taken, lenient=lenient)

    async def find(self, spec: StageSpec, fingerprint: bytes, model: str, how: str, check: Check) -> TakenOver | None:
        """Find an answer for a step, the oldest first.

        Args:
            spec: The step's stage.
            fingerprint: The step's.
            model: Whom it would ask, `provider:name`, or several with `|` between.
            how: How, where that is more than the name.
            check: The stage's checks: they may read what is not in the prompt, so they look again.

        Returns:
            None where it is to be asked.
        """
        for step in self._found[spec.name].steps(fingerprint):
            if self._origins.get(step, step) in self._taken:
                continue
            made = await self._ledger.made(step, fingerprint)
            if made is None:
                continue
            self._origins[step] = made.origin
            if made.origin in self._taken:
                continue
            self._taken.add(made.origin)  # before anything is awaited: another step may look for the same
            value = self._value(spec, made, alternatives(model))
            if value is not None:
                try:
                    said = [] if _was_let_go(made) else await check(value, bool(made.warnings))
                    warnings = list(made.warnings) if _was_let_go(made) else [*_of_stand_in(made), *said]
                    return TakenOver(
                        made.origin, kept(await self._of_this_run(spec, value, model, how, step)), warnings
                    )
                except Complaint:
                    pass
            self._taken.discard(made.origin)
        return None

    async def _of_this_run(self, spec: StageSpec, value: BaseModel, model: str, how: str, step: int) -> BaseModel:
        """Have an answer that tells of its call tell whom this run asks, and of the call even where it did not yet."""
        field = spec.prompt.call_field if spec.prompt is not None else None
        if field is None:
            return value
        call = getattr(value, field)
        if not call.model:
            call = await recorded_call(model, step, self._ledger)
        return value.model_copy(
            update={field: call.model_copy(update={"asked": model, "asked_how": how, "reused": True})}
        )

    def _value(self, spec: StageSpec, made: Made, models: Sequence[str]) -> BaseModel | None:
        """Read an output as the stage's model is now; None where this run would not have accepted it."""
        let_go = _was_let_go(made)
        if made.made_by not in OWN or (let_go and not self._lenient):
            return None
        if not all(answered_by(warning, models) for warning in _of_stand_in(made)):
            return None
        try:
            return read_kept(spec.output, made.data) if let_go else read_whole(spec.output, made.data)
        except ValidationError:
            return None


def _was_let_go(made: Made) -> bool:
    return any(warning.startswith(LENIENTLY) for warning in made.warnings)


def _of_stand_in(made: Made) -> list[str]:
    """Give the warnings that say that another model than the first one answered."""
    return [warning for warning in made.warnings if answered_by(warning)]
