"""Many trials side by side, each worker with a provider of its own, so that every bill belongs to one run."""

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stagebook.testing.crash_figures import Figures
from stagebook.testing.crash_places import drop, place_in
from stagebook.testing.crash_trial import Beginner, Blow, Case, Outcome, TrialFailed, forked, try_out
from stagebook.testing.provider_process import ProviderProcess

Plan = tuple[str, Iterable[Blow]]
"""A trial's name, and when its drives are killed."""
Watch = Callable[[Figures, Outcome], bool]
"""Told of the sums and of the trial that was added last; says whether more trials are wanted."""


def try_many(
    case: Case,
    plans: Iterator[Plan],
    folder: Path,
    *,
    workers: int,
    beginner: Beginner = forked,
    watch: Watch = lambda _figures, _outcome: True,
    provider_options: tuple[str, ...] = (),
) -> Figures:
    """Run trials until the plans are used up, the watcher has enough, or five went wrong.

    The folder of a trial that went wrong is kept; those of the others are removed.

    Args:
        case: What is run.
        plans: The trials; drawn one at a time.
        folder: Where each trial gets a folder.
        workers: How many trials run at the same time.
        beginner: Makes what starts the clients of each worker.
        watch: Says when it is enough.
        provider_options: For each provider's process.
    """
    return _Many(case, plans, folder, beginner, watch, provider_options).run(workers)


MOST_WRONG = 5


class _Many:
    def __init__(
        self,
        case: Case,
        plans: Iterator[Plan],
        folder: Path,
        beginner: Beginner,
        watch: Watch,
        provider_options: tuple[str, ...],
    ) -> None:
        self._case = case
        self._plans = plans
        self._folder = folder
        self._beginner = beginner
        self._watch = watch
        self._provider_options = provider_options
        self._lock = threading.Lock()
        self._enough = False
        self.figures = Figures()

    def run(self, workers: int) -> Figures:
        """Run all."""
        with ThreadPoolExecutor(workers) as pool:
            for worker in [pool.submit(self._work) for _ in range(workers)]:
                worker.result()
        return self.figures

    def _work(self) -> None:
        with ProviderProcess(options=self._provider_options) as provider, self._beginner() as begin:
            while (plan := self._next()) is not None:
                label, blows = plan
                folder = self._folder / label
                folder.mkdir()
                try:
                    outcome = try_out(self._case, provider, folder, blows, begin)
                except TrialFailed as error:
                    with self._lock:
                        self.figures.wrong.append(f"{label} ({folder}): {error}")
                    continue
                with self._lock:
                    before = len(self.figures.wrong)
                    self.figures.add(outcome, self._case, f"{label} ({folder})")
                    right = len(self.figures.wrong) == before
                    self._enough = self._enough or not self._watch(self.figures, outcome)
                if right:
                    drop(place_in(folder, self._case.server))
                    shutil.rmtree(folder)

    def _next(self) -> Plan | None:
        with self._lock:
            if self._enough or len(self.figures.wrong) >= MOST_WRONG:
                return None
            return next(self._plans, None)
