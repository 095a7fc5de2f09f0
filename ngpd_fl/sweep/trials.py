"""A sweep's trials as Optuna keeps them: a journal on disk from which it can go on."""

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
from ngpd_fl.config.importing import reason
from ngpd_fl.sweep.plan import SweepPlan
from ngpd_fl.sweep.space import Choices
from ngpd_fl.sweep.workers import DIVERGED, FAILED, FINISHED, RunEnd

JOURNAL = "optuna.journal"
"""The journal's name in a sweep's folder."""

STATES = {FINISHED: TrialState.COMPLETE, DIVERGED: TrialState.PRUNED, FAILED: TrialState.FAIL}
"""What Optuna makes of it: the search avoids where trials were pruned, and ignores failures."""


@dataclass(frozen=True)
class Trial:
    """One of the runs.

    Attributes:
        number: from 0 on.
        params: as Optuna keeps them, see ``SweepPlan.values``.
        end: how it ended; none where it has not.
    """

    number: int
    params: Mapping[str, Any]
    end: RunEnd | None

    @property
    def name(self) -> str:
        """That of its folder."""
        return f"trial-{self.number:04}"


class Trials:
    """All trials of a sweep. One process at a time may have it."""

    def __init__(self, plan: SweepPlan, folder: Path) -> None:
        """Open the journal in ``folder``, or begin it."""
        self._plan = plan
        self._distributions = {key: dimension.distribution for key, dimension in plan.space.items()}
        path = folder / JOURNAL
        _mend(path)
        try:
            self._study = quiet_study(
                RandomSampler(plan.seed),  # never asked: every point is put into the queue before
                plan.higher_is_better,
                storage=JournalStorage(JournalFileBackend(str(path))),
                study_name="sweep",
                load_if_exists=True,
            )
            for trial in self.trials():
                plan.values(trial.params)
        except Exception as error:  # a damaged journal can fail anywhere in Optuna
            raise InputError(f"{path}: damaged ({reason(error)})") from error

    def trials(self) -> list[Trial]:
        """Return those that were begun, by number."""
        return [_trial(each) for each in self._study.get_trials(deepcopy=False) if each.state != TrialState.WAITING]

    def to_run(self) -> Iterator[Trial]:
        """Yield what is missing: trials that were cut short, then new ones, each drawn when it is asked for."""
        yield from [trial for trial in self.trials() if trial.end is None or not trial.end.is_final]
        known = len(self._study.get_trials(deepcopy=False))
        points = itertools.islice(self._points(), known, self._plan.trials)
        for _ in range(known - len(self.trials())):  # put into the queue just before the sweep was killed
            yield self._next()
        for point in points:
            self._study.enqueue_trial(point)  # in one write: a trial is known with all its values or not at all
            yield self._next()

    def end(self, trial: Trial, end: RunEnd) -> None:
        """Write down how a trial ended."""
        [frozen] = [each for each in self._study.get_trials(deepcopy=False) if each.number == trial.number]
        known = optuna.trial.Trial(self._study, frozen._trial_id)
        known.set_user_attr("status", end.status)
        known.set_user_attr("note", end.note)
        if end.is_final:
            self._study.tell(known, end.value if end.status == FINISHED else None, state=STATES[end.status])

    def _next(self) -> Trial:
        return Trial((asked := self._study.ask(self._distributions)).number, asked.params, None)

    def _points(self) -> Iterator[dict[str, Any]]:
        """Yield the values of all trials from the first one on, which those before do not decide but with tpe."""
        plan = self._plan
        if plan.sampler == "grid":
            labels = [each.labels for each in plan.space.values() if isinstance(each, Choices)]
            yield from (dict(zip(plan.space, point, strict=True)) for point in itertools.product(*labels))
        elif plan.sampler == "random":
            drawing = quiet_study(RandomSampler(plan.seed), plan.higher_is_better)
            while True:
                yield drawing.ask(self._distributions).params
        else:
            for number in itertools.count():
                if number < len(self._study.get_trials(deepcopy=False)):
                    yield {}  # it was drawn already
                    continue
                drawing = quiet_study(tpe(plan.seed, number), plan.higher_is_better)
                drawing.add_trials(self._study.get_trials(deepcopy=False))
                yield drawing.ask(self._distributions).params


def quiet_study(sampler: BaseSampler, higher_is_better: bool, **kept: Any) -> optuna.Study:
    """Return one of Optuna's studies without a word about it; where nothing says how it is ``kept``, for draws alone.

    How much Optuna says in this process otherwise is the user's to set.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(sampler=sampler, direction="maximize" if higher_is_better else "minimize", **kept)
    finally:
        optuna.logging.set_verbosity(before)


def tpe(seed: int, number: int, **settings: Any) -> TPESampler:
    """Return what draws a trial, keyed by the seed and the trial's number; seeds of Optuna have 32 bits."""
    return TPESampler(seed=(seed + number) % 2**32, **settings)


def _trial(frozen: FrozenTrial) -> Trial:
    params = frozen.system_attrs["fixed_params"]
    status = frozen.user_attrs.get("status")
    end = None if status is None else RunEnd(status, frozen.user_attrs.get("note", ""), frozen.value)
    if frozen.state == TrialState.RUNNING and end is not None and end.is_final:
        end = None  # the sweep was killed between the two entries
    return Trial(frozen.number, params, end)


def _mend(path: Path) -> None:
    """Take away what a killed process left: its lock, and a line that it did not write to its end."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
