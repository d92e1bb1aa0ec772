"""Where a run stands: pure, computed from what its stages declare and what its steps did; never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stagebook.model.status import RunStatus, Wish


@dataclass(frozen=True, slots=True)
class Tally:
    """How the steps of one stage of one run ended so far."""

    completed: int = 0
    failed: int = 0
    skipped: int = 0
    running: int = 0
    items: int = 0
    """Of a stage that yields items: how many are live."""

    @property
    def done(self) -> int:
        """Steps that ended."""
        return self.completed + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class Planned:
    """A stage in scope of a run, as far as its status depends on it."""

    name: str
    axis: str | None = None
    """The stage whose items it is mapped over."""
    collects: bool = False
    """Whether its failures are collected, so that they do not fail the run."""


@dataclass(frozen=True, slots=True)
class StageStanding:
    """Where one stage stands."""

    status: str
    """A RunStatus, or `skipped` where every step of it was."""
    total: int
    """Steps known so far."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands."""

    status: RunStatus
    stages: Mapping[str, StageStanding] = field(default_factory=dict)
    """In the order given."""

    @property
    def stages_done(self) -> int:
        """Stages for which nothing more is to be run."""
        return sum(stage.status in {RunStatus.COMPLETED, "skipped"} for stage in self.stages.values())

    @property
    def current_stage(self) -> str | None:
        """The stage that is at work, or would be next; None once the run is completed."""
        for wanted in (RunStatus.RUNNING, RunStatus.FAILED, RunStatus.INTERRUPTED, RunStatus.PENDING):
            for name, stage in self.stages.items():
                if stage.status == wanted:
                    return name
        return None


def stand(
    stages: Sequence[Planned],
    tallies: Mapping[str, Tally],
    *,
    wish: Wish,
    driven: bool,
    begun: bool,
) -> Standing:
    """Say where a run and its stages stand.

    Args:
        stages: The stages in scope, each after those that it reads.
        tallies: What was done, by stage.
        wish: What its owner wants.
        driven: Whether a living process drives it.
        begun: Whether it was ever driven.
    """
    over: dict[str, bool] = {}
    standings: dict[str, StageStanding] = {}
    failed = False
    for stage in stages:
        tally = tallies.get(stage.name, Tally())
        total = 1 if stage.axis is None else tallies.get(stage.axis, Tally()).items
        total = max(total, tally.done + tally.running) if stage.axis is None else total
        blocked = tally.failed > 0 and not stage.collects
        failed = failed or blocked
        # what is mapped over a stage that failed waits for the items that it may yet yield
        over[stage.name] = tally.done >= total and not blocked and (stage.axis is None or over.get(stage.axis, True))
        standings[stage.name] = StageStanding(
            _stage_status(tally, over=over[stage.name], blocked=blocked, driven=driven), total
        )
    return Standing(
        _run_status(wish, finished=all(over.values()), failed=failed, driven=driven, begun=begun), standings
    )


def _stage_status(tally: Tally, *, over: bool, blocked: bool, driven: bool) -> str:
    if blocked and not (driven and tally.running):
        return RunStatus.FAILED
    if over:
        return "skipped" if tally.skipped and tally.skipped == tally.done else RunStatus.COMPLETED
    if not (tally.done or tally.running):
        return RunStatus.PENDING
    return RunStatus.RUNNING if driven else RunStatus.INTERRUPTED


def _run_status(wish: Wish, *, finished: bool, failed: bool, driven: bool, begun: bool) -> RunStatus:
    if driven:
        return RunStatus.RUNNING
    if finished:
        return RunStatus.COMPLETED
    if wish is Wish.CANCEL:
        return RunStatus.CANCELLED
    if failed:
        return RunStatus.FAILED
    if wish is Wish.PAUSE:
        return RunStatus.PAUSED
    return RunStatus.INTERRUPTED if begun else RunStatus.PENDING
