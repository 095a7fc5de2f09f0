"""Schedule of a study: each strategy's trials, then its reported runs, cell by cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import fmean
from typing import Any

from ngpd_fl.config import Config, InputError
from ngpd_fl.study.cell import StudyCell
from ngpd_fl.study.plan import StudyPlan, StudyStrategy
from ngpd_fl.study.runs import CompletedRun, RunStore
from ngpd_fl.study.tuning import Tuning
from ngpd_fl.sweep.space import first_possible
from ngpd_fl.sweep.tasks import FAILED, RunTask

TUNING, FINAL = "tuning", "final"
"""Phases of a study."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study's plan. Planned runs with the same configuration share one run on disk.

    Attributes:
        cell: its cell.
        strategy: its strategy.
        phase: ``"tuning"`` or ``"final"``.
        number: the trial's number, or the seed.
        values: values of the tuned keys; None while they are not known.
        config: the configuration; None while it is not known, or if it is not possible.
        key: the run's key on disk; empty where ``config`` is None.
        record: the result; None while the run is not over.
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
        """The run's name, e.g. ``ring/iid/ngpd seed 1``."""
        return f"{self.cell.name}/{self.strategy.label} {'trial' if self.phase == TUNING else 'seed'} {self.number}"


class Schedule:
    """All runs of a plan, as far as they follow from the results so far.

    Attributes:
        plan: the study's plan.
        store: the runs on disk.
        hopeless: names of the cell and strategy of pairs whose trials all failed, so that nothing can be reported.
    """

    def __init__(self, plan: StudyPlan, store: RunStore, only: str | None = None) -> None:
        """Schedule a plan, or the part of it that ``only`` selects."""
        self.plan, self.store = plan, store
        self.hopeless: set[tuple[str, str]] = set()
        self._pairs = plan.selected(only)
        self._tunings: dict[tuple[str, str], Tuning] = {}
        self._rounds_of: dict[tuple[str, str, str], int] = {}
        self._known: dict[tuple[str, str, str, int], PlannedRun] = {}

    def runs(self) -> list[PlannedRun]:
        """Return all runs in the order of work: in each cell the strategies' trials in turn, then their seeds."""
        ordered: list[PlannedRun] = []
        tuned = set()
        for cell in self.plan.cells:
            strategies = [strategy for other, strategy in self._pairs if other is cell]
            searches, reports = [], []
            for strategy in strategies:
                trials = self.trials(cell, strategy)
                if trials and trials[0].name not in tuned:
                    tuned.add(trials[0].name)
                    searches.append(trials)
                reports.append(self._reports(cell, strategy, trials))
            for rows in (searches, reports):
                ordered += [run for column in zip_longest(*rows) for run in column if run is not None]
        return ordered

    def trials(self, cell: StudyCell, strategy: StudyStrategy) -> list[PlannedRun]:
        """Return the trials that tune a strategy for a cell; they may be those of another cell."""
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
            except InputError as error:  # an impossible draw is a failed trial that needs no run
                run = PlannedRun(cell, strategy, phase, number, values, record=CompletedRun(FAILED, str(error), {}, []))
            self._known[name] = run
        run = self._known[name]
        return replace(run, record=self._record(run.key)) if run.key else run

    def _record(self, key: str) -> CompletedRun | None:
        record = self.store.record(key)
        if record is not None and any(metrics.measure.key != self.plan.measure.key for metrics in record.metrics):
            folder = self.store.folder / key
            raise InputError(f"{folder}: its evaluations have no {self.plan.measure.name}, so it is of another study")
        return record

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
        """Return the seconds per round of the runs that have ended, for each of their kinds (see ``_kinds``)."""
        rates: dict[tuple[str, ...], list[float]] = {}
        for run in runs:
            if run.config is not None and run.key in self.store.times:
                rate = self.store.times[run.key] / run.config.training.rounds
                for kind in _kinds(run):
                    rates.setdefault(kind, []).append(rate)
        return rates

    def seconds(
        self,
        run: PlannedRun,
        rates: Mapping[tuple[str, ...], Sequence[float]],
        of: Callable[[Sequence[float]], float] = fmean,
    ) -> float | None:
        """Return the expected seconds of a run, from the most similar runs; None if none has ended.

        Args:
            run: the run.
            rates: the result of ``rates``.
            of: combines the rates of several runs.
        """
        alike = next((rates[kind] for kind in _kinds(run) if kind in rates), None)
        return None if alike is None else of(alike) * self._rounds(run)

    def _rounds(self, run: PlannedRun) -> int:
        """Return the number of rounds of a run; with some possible values while its values are not known."""
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
        """Yield the runs that can begin now; None while the next one depends on a run that is not over.

        Args:
            until: time on the monotonic clock; no run begins that would end later. Defaults to no limit.
        """
        begun: set[str] = set()
        while True:
            runs = self.runs()
            rates = self.rates(runs)
            ready = (run for run in runs if run.key and run.record is None and run.key not in begun)
            run = next((run for run in ready if until is None or self._ends(run, rates) <= until), None)
            if run is not None:
                begun.add(run.key)
            yield run

    def _ends(self, run: PlannedRun, rates: Mapping[tuple[str, ...], Sequence[float]]) -> float:
        return time.monotonic() + (self.seconds(run, rates, max) or 0.0)

    def task(self, run: PlannedRun) -> RunTask:
        """Return a run's task for the workers."""
        assert run.config is not None
        base = run.config.model_dump(mode="json", exclude_none=True)
        return RunTask(run.key, self.store.folder / run.key, base, {}, self.plan.objective)


def _kinds(run: PlannedRun) -> list[tuple[str, ...]]:
    """Return the kinds of a run, the narrowest first: strategy in its cell, strategy, all."""
    return [(run.strategy.label, run.cell.name), (run.strategy.label,), ()]
