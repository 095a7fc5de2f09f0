"""Callbacks for the steps of the training loop, and the callbacks of this project."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ngpd_fl.clock import VirtualClock
from ngpd_fl.core.signals import deferred
from ngpd_fl.records import Metrics, Progress, RunFolder

if TYPE_CHECKING:
    from ngpd_fl.training.loop import TrainingLoop


class Callback:
    """Actions at the steps of a run. A subclass overrides the methods that it needs.

    ``run.config`` is the configuration, ``run.metrics`` the evaluations so far, and ``run.engine.params()`` the
    parameters of every node, ``[N, P]``. ``run.stop()`` ends the run before its next round. An exception ends it too,
    with the status failed, after the records have been completed.
    """

    def on_start(self, run: TrainingLoop) -> None:
        """Act before anything is computed."""

    def on_round(self, run: TrainingLoop, progress: Progress) -> None:
        """Act after a round and its evaluation, and once before the first round."""

    def on_evaluation(self, run: TrainingLoop, metrics: Metrics) -> None:
        """Act after an evaluation, which is already on disk if the run is recorded; the first is of the start."""

    def on_end(self, run: TrainingLoop, summary: dict[str, Any]) -> None:
        """Act after any end of the run; the records are already complete."""


class ProgressReport(Callback):
    """Passes the progress to a function: at the start, then after every round."""

    def __init__(self, report: Callable[[Progress], None]) -> None:
        """Report to a function."""
        self._report = report

    def on_round(self, run: TrainingLoop, progress: Progress) -> None:
        """Report a round."""
        self._report(progress)


class EarlyStop(Callback):
    """Ends a run between two rounds: when it reaches its target, or on request."""

    def __init__(self, condition: Callable[[], bool], status: str = "finished") -> None:
        """Check a condition before every round.

        Args:
            condition: returns whether the run is to end.
            status: the run's status if rounds are left by then.
        """
        self._condition = condition
        self._status = status

    def on_round(self, run: TrainingLoop, progress: Progress) -> None:
        """Check the condition."""
        if self._condition():
            run.stop(self._status)


class EventLog(Callback):
    """Writes the events of the virtual clock into a run's folder."""

    def __init__(self, clock: VirtualClock, folder: RunFolder) -> None:
        """Write what happens on a clock from the run's present round on."""
        self._clock = clock
        self._folder = folder
        self._round = 0

    def on_start(self, run: TrainingLoop) -> None:
        """Note the round with which the run begins or resumes."""
        self._round = run.trainable.round

    def on_round(self, run: TrainingLoop, progress: Progress) -> None:
        """Write the events of a round."""
        self._write(run.trainable.round)

    def on_end(self, run: TrainingLoop, summary: dict[str, Any]) -> None:
        """Write the events of a last round whose evaluation was interrupted."""
        self._write(run.trainable.round)

    def _write(self, round: int) -> None:
        if round > self._round:
            with deferred():
                self._folder.add_events(self._clock.last_events)
                self._round = round
