"""Tuning of one strategy in one cell: the values of its trials, and the best of them.

The search keeps no state: every trial is drawn again from the results of those before it. A killed study goes on as if
it had not been killed, whatever the number of concurrent runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, create_trial

from ngpd_fl.records import Measure
from ngpd_fl.study.file import TuningSection
from ngpd_fl.study.plan import StudyStrategy
from ngpd_fl.study.runs import CompletedRun
from ngpd_fl.sweep.tasks import DIVERGED, FINISHED
from ngpd_fl.sweep.trials import STATES, quiet_study, tpe

_MOST_AT_RANDOM = 10
"""Most random trials before TPE; with few trials, the first half of them are random."""

_DRAWS = 50
"""Most draws until the values are new."""


class Tuning:
    """Search for the values of one strategy.

    Attributes:
        size: number of trials; 0 if there is nothing to tune.
    """

    def __init__(self, strategy: StudyStrategy, section: TuningSection, objective: str, measure: Measure) -> None:
        """Draw the trials that do not depend on results."""
        self._space = strategy.space
        self._distributions = {key: dimension.distribution for key, dimension in strategy.space.items()}
        self._objective, self._measure, self._seed = objective, measure, section.seed
        self.size = section.budget(len(strategy.space))
        at_random = self.size
        if section.sampler == "tpe":
            at_random = min(_MOST_AT_RANDOM, max(1, self.size // 2))
        self._points: list[Mapping[str, Any]] = list(strategy.start)
        drawing = quiet_study(RandomSampler(self._seed), self._measure.higher_is_better)
        while len(self._points) < at_random:
            self._points.append(self._draw(drawing))

    def values(self, number: int, before: Sequence[CompletedRun | None]) -> Mapping[str, Any] | None:
        """Return a trial's values.

        Args:
            number: the trial's number, from 0.
            before: results of the trials with lower numbers; None for one that is not over.

        Returns:
            The values by key; None if they depend on a trial that is not over.
        """
        if number < len(self._points):
            return self._points[number]
        if number > len(self._points) or None in before[:number]:
            return None
        drawing = quiet_study(tpe(self._seed, number, n_startup_trials=1), self._measure.higher_is_better)
        drawing.add_trials(
            [
                self._frozen(values, record)
                for values, record in zip(self._points, before[:number], strict=True)
                if record is not None
            ]
        )
        self._points.append(self._draw(drawing))
        return self._points[number]

    def best(self, records: Sequence[CompletedRun | None]) -> int | None:
        """Return the number of the best trial, the first among equals; None if none has finished."""
        values = [None if record is None else record.figure(self._objective) for record in records]
        ranks = [self._measure.rank(float("nan") if value is None else value) for value in values]
        best = max(range(len(ranks)), key=ranks.__getitem__, default=None)
        return None if best is None or values[best] is None else best

    def _frozen(self, values: Mapping[str, Any], record: CompletedRun) -> FrozenTrial:
        """Return a trial for Optuna, whose search avoids the values of diverged trials."""
        value = record.figure(self._objective)
        status = record.status if record.status != FINISHED or value is not None else DIVERGED
        return create_trial(
            state=STATES[status],
            value=value,
            params={key: self._space[key].label(value) for key, value in values.items()},
            distributions=self._distributions,
        )

    def _draw(self, drawing: optuna.Study) -> Mapping[str, Any]:
        """Return values unlike those of other trials, if there are any left in short lists."""
        values: Mapping[str, Any] = {}
        for _ in range(_DRAWS):
            params = drawing.ask(self._distributions).params
            values = {key: dimension.value(params[key]) for key, dimension in self._space.items()}
            if values not in self._points:
                break
        return values
