"""Trials of a sweep, kept in a journal of Optuna on disk so that the sweep can go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ngpd_fl.config import InputError
from ngpd_fl.config.import_paths import reason
from ngpd_fl.sweep.plan import SweepPlan
from ngpd_fl.sweep.space import Choices
from ngpd_fl.sweep.tasks import DIVERGED, FAILED, FINISHED, RunEnd

JOURNAL = "optuna.journal"
"""Name of the journal in a sweep's folder."""

STATES = {FINISHED: TrialState.COMPLETE, DIVERGED: TrialState.PRUNED, FAILED: TrialState.FAIL}
"""Optuna's states of ended trials: its search avoids values of pruned trials and ignores failed ones."""


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        number: its number, from 0.
        params: Optuna's parameters, see ``SweepPlan.values``.
        end: its end; None while it has not ended.
    """

    number: int
    params: Mapping[str, Any]
    end: RunEnd | None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"trial-{self.number:04}"


class Trials:
    """All trials of a sweep, for one process at a time."""

    def __init__(self, plan: SweepPlan, folder: Path) -> None:
        """Open the journal in ``folder``, or create it."""
        self._plan = plan
        self._distributions = {key: dimension.distribution for key, dimension in plan.space.items()}
        path = folder / JOURNAL
        _repair(path)
        try:
            self._study = quiet_study(
                RandomSampler(plan.seed),  # never used: every point is queued first
                plan.higher_is_better,
                storage=JournalStorage(JournalFileBackend(str(path))),
                study_name="sweep",
                load_if_exists=True,
            )
            for trial in self.trials():
                plan.values(trial.params)
        except Exception as error:  # Optuna may raise anything on a damaged journal
            raise InputError(f"{path}: damaged ({reason(error)})") from error

    def trials(self) -> list[Trial]:
        """Return the trials that have begun, by number."""
        frozen_trials = self._study.get_trials(deepcopy=False)
        return [_trial(frozen) for frozen in frozen_trials if frozen.state != TrialState.WAITING]

    def to_run(self) -> Iterator[Trial]:
        """Yield the missing trials: incomplete ones, then new ones, each drawn on request."""
        yield from [trial for trial in self.trials() if trial.end is None or not trial.end.is_final]
        known = len(self._study.get_trials(deepcopy=False))
        points = itertools.islice(self._points(), known, self._plan.trials)
        for _ in range(known - len(self.trials())):  # queued just before the sweep was killed
            yield self._next()
        for point in points:
            self._study.enqueue_trial(point)  # one write, so that a trial has all its values or does not exist
            yield self._next()

    def end(self, trial: Trial, end: RunEnd) -> None:
        """Record the end of a trial."""
        [frozen] = [other for other in self._study.get_trials(deepcopy=False) if other.number == trial.number]
        known = optuna.trial.Trial(self._study, frozen._trial_id)
        known.set_user_attr("status", end.status)
        known.set_user_attr("note", end.note)
        if end.is_final:
            self._study.tell(known, end.value if end.status == FINISHED else None, state=STATES[end.status])

    def _next(self) -> Trial:
        trial = self._study.ask(self._distributions)
        return Trial(trial.number, trial.params, None)

    def _points(self) -> Iterator[dict[str, Any]]:
        """Yield the values of all trials from the first on; only with tpe they depend on earlier trials."""
        plan = self._plan
        if plan.sampler == "grid":
            labels = [dimension.labels for dimension in plan.space.values() if isinstance(dimension, Choices)]
            yield from (dict(zip(plan.space, point, strict=True)) for point in itertools.product(*labels))
        elif plan.sampler == "random":
            drawing = quiet_study(RandomSampler(plan.seed), plan.higher_is_better)
            while True:
                yield drawing.ask(self._distributions).params
        else:
            for number in itertools.count():
                if number < len(self._study.get_trials(deepcopy=False)):
                    yield {}  # drawn before
                    continue
                drawing = quiet_study(tpe(plan.seed, number), plan.higher_is_better)
                drawing.add_trials(self._study.get_trials(deepcopy=False))
                yield drawing.ask(self._distributions).params


def quiet_study(sampler: BaseSampler, higher_is_better: bool, **kept: Any) -> optuna.Study:
    """Create a study of Optuna without its log messages, in memory unless ``kept`` names a storage.

    The user's log level of Optuna is restored.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=sampler, direction="maximize" if higher_is_better else "minimize", **kept)
    finally:
        optuna.logging.set_verbosity(before)


def tpe(seed: int, number: int, **settings: Any) -> TPESampler:
    """Return the TPE sampler of a trial, with a seed (32 bits in Optuna) from the sweep's seed and its number."""
    return TPESampler(seed=(seed + number) % 2**32, **settings)


def _trial(frozen: FrozenTrial) -> Trial:
    params = frozen.system_attrs["fixed_params"]
    status = frozen.user_attrs.get("status")
    end = None if status is None else RunEnd(status, frozen.user_attrs.get("note", ""), frozen.value)
    if frozen.state == TrialState.RUNNING and end is not None and end.is_final:
        end = None  # the sweep was killed between two entries
    return Trial(frozen.number, params, end)


def _repair(path: Path) -> None:
    """Remove what a killed process left: its lock, and an incomplete line."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
