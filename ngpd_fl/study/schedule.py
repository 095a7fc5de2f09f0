"""What is to be run next: each strategy's trials, then the runs that are reported, cell by cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import fmean
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.study.plan import StudyCell, StudyPlan, StudyStrategy
from ngpd_fl.study.runs import CompletedRun, RunStore
from ngpd_fl.study.tuning import Tuning
from ngpd_fl.sweep.space import first_possible
from ngpd_fl.sweep.workers import FAILED, RunTask

TUNING, FINAL = "tuning", "final"
"""What a run is for."""


@dataclass(frozen=True)
class PlannedRun:
    """A place in the study for one run; two with the same configuration share it.

    Attributes:
        cell: where.
        strategy: which.
        phase: ``"tuning"`` or ``"final"``.
        number: of the trial, or the seed.
        values: what was searched for; None where it is not known yet.
        config: the run's; None where it is not known yet, or not possible.
        key: of the run; empty where ``config`` is None.
        record: what came of it; None where it is not over.
    """

    cell: StudyCell
    strategy: StudyStrategy
    phase: str
    number: int
    values: Mapping[str, Any] | None = None
    config: Config | None = None
    key: str = ""
    record: CompletedRun | None = None

    @property
    def name(self) -> str:
        """E.g. ``ring/iid/ngpd seed 1``."""
        return f"{self.cell.name}/{self.strategy.label} {'trial' if self.phase == TUNING else 'seed'} {self.number}"


class Schedule:
    """All runs of a plan, as far as the results so far say what they are.

    Attributes:
        plan: what it is about.
        runs: those on disk.
        hopeless: pairs none of whose trials has finished, by the names of cell and strategy: nothing can be reported.
    """

    def __init__(self, plan: StudyPlan, store: RunStore, only: str | None = None) -> None:
        """Take a plan; ``only`` leaves some of its pairs."""
        self.plan, self.store = plan, store
        self.hopeless: set[tuple[str, str]] = set()
        self._pairs = plan.selected(only)
        self._tunings: dict[tuple[str, str], Tuning] = {}
        self._rounds_of: dict[tuple[str, str, str], int] = {}
        self._known: dict[tuple[str, str, str, int], PlannedRun] = {}

    def runs(self) -> list[PlannedRun]:
        """Return all runs in the order of work: in each cell a trial of each strategy in turn, then the seeds."""
        found: list[PlannedRun] = []
        tuned = set()
        for cell in self.plan.cells:
            strategies = [strategy for each, strategy in self._pairs if each is cell]
            searches, reports = [], []
            for strategy in strategies:
                trials = self.trials(cell, strategy)
                if trials and trials[0].name not in tuned:
                    tuned.add(trials[0].name)
                    searches.append(trials)
                reports.append(self._reports(cell, strategy, trials))
            for rows in (searches, reports):
                found += [run for column in zip_longest(*rows) for run in column if run is not None]
        return found

    def trials(self, cell: StudyCell, strategy: StudyStrategy) -> list[PlannedRun]:
        """Return the trials that say what values a strategy has in a cell; they may be those of another cell."""
        cell = self.plan.tuning_cell(cell, strategy)
        tuning = self._tuning(cell, strategy)
        runs: list[PlannedRun] = []
        for number in range(tuning.size):
            values = tuning.values(number, [run.record for run in runs])
            runs.append(self._run(cell, strategy, TUNING, number, values))
        return runs

    def _reports(self, cell: StudyCell, strategy: StudyStrategy, trials: Sequence[PlannedRun]) -> list[PlannedRun]:
        values: Mapping[str, Any] | None = {}
        if trials:
            best = None
            if over := all(run.record is not None for run in trials):
                best = self._tuning(trials[0].cell, strategy).best([run.record for run in trials])
            if over and best is None:
                self.hopeless.add((cell.name, strategy.label))
                return []
            values = None if best is None else trials[best].values
        self.hopeless.discard((cell.name, strategy.label))
        return [self._run(cell, strategy, FINAL, seed, values) for seed in self.plan.final.seeds]

    def _run(
        self, cell: StudyCell, strategy: StudyStrategy, phase: str, number: int, values: Mapping[str, Any] | None
    ) -> PlannedRun:
        if values is None:
            return PlannedRun(cell, strategy, phase, number)
        name = (cell.name, strategy.label, phase, number)
        if name not in self._known or self._known[name].values != values:
            try:
                config = self._config(cell, strategy, phase, number, values)
                run = PlannedRun(cell, strategy, phase, number, values, config, self.store.key(config))
            except InputError as error:  # a draw that cannot be: it is told, and nothing is run
                run = PlannedRun(cell, strategy, phase, number, values, record=CompletedRun(FAILED, str(error), {}, []))
            self._known[name] = run
        run = self._known[name]
        return replace(run, record=self.store.record(run.key)) if run.key else run

    def _config(
        self, cell: StudyCell, strategy: StudyStrategy, phase: str, number: int, values: Mapping[str, Any]
    ) -> Config:
        if phase == TUNING:
            return self.plan.trial(cell, strategy, values)
        return self.plan.report(cell, strategy, values, number)

    def _tuning(self, cell: StudyCell, strategy: StudyStrategy) -> Tuning:
        name = (cell.name, strategy.label)
        if name not in self._tunings:
            plan = self.plan
            self._tunings[name] = Tuning(strategy, plan.tuning, plan.objective, plan.measure)
        return self._tunings[name]

    def rates(self, runs: Sequence[PlannedRun]) -> dict[tuple[str, ...], list[float]]:
        """Return the seconds per round of the runs that have ended: of all, of each strategy, of it in each cell."""
        found: dict[tuple[str, ...], list[float]] = {}
        for run in runs:
            if run.config is not None and run.key in self.store.times:
                rate = self.store.times[run.key] / run.config.training.rounds
                for alike in _kinds(run):
                    found.setdefault(alike, []).append(rate)
        return found

    def seconds(
        self,
        run: PlannedRun,
        rates: Mapping[tuple[str, ...], Sequence[float]],
        of: Callable[[Sequence[float]], float] = fmean,
    ) -> float | None:
        """Return how long a run will take, by the runs most like it; None where none has ended.

        Args:
            run: of the run.
            rates: as ``rates`` returns them.
            of: what is made of several.
        """
        alike = next((rates[kind] for kind in _kinds(run) if kind in rates), None)
        return None if alike is None else of(alike) * self._rounds(run)

    def _rounds(self, run: PlannedRun) -> int:
        """Return how many rounds a run has; where its values are not known yet, with some of those possible."""
        name = (run.cell.name, run.strategy.label, run.phase)
        if run.config is not None:
            return run.config.training.rounds
        if name not in self._rounds_of:
            config = first_possible(
                run.strategy.space,
                lambda values: self._config(run.cell, run.strategy, run.phase, run.number, values),
            )
            self._rounds_of[name] = config.training.rounds
        return self._rounds_of[name]

    def coming(self, until: float | None = None) -> Iterator[PlannedRun | None]:
        """Yield what can be run now, one after the other; None where that depends on a run that has not ended.

        Args:
            until: on the monotonic clock; nothing is begun that would end later. None: everything is.
        """
        begun: set[str] = set()
        while True:
            runs = self.runs()
            rates = self.rates(runs)
            ready = (run for run in runs if run.key and run.record is None and run.key not in begun)
            run = next((each for each in ready if until is None or self._ends(each, rates) <= until), None)
            if run is not None:
                begun.add(run.key)
            yield run

    def _ends(self, run: PlannedRun, rates: Mapping[tuple[str, ...], Sequence[float]]) -> float:
        return time.monotonic() + (self.seconds(run, rates, max) or 0.0)

    def task(self, run: PlannedRun) -> RunTask:
        """Return a run's run as workers take it."""
        assert run.config is not None
        base = run.config.model_dump(mode="json", exclude_none=True)
        return RunTask(run.key, self.store.folder / run.key, base, {}, self.plan.objective)


def _kinds(run: PlannedRun) -> list[tuple[str, ...]]:
    """Return what a run is one of, the narrowest first."""
    return [(run.strategy.label, run.cell.name), (run.strategy.label,), ()]
