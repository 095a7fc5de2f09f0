"""The training loop of every run: in one process, in a peer, and on Flower's server."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ngpd_fl.config import Config
from ngpd_fl.engines import RoundInfo
from ngpd_fl.records import Measure, Metrics, RunRecorder
from ngpd_fl.training.callbacks import Callback


class Trainable(Protocol):
    """The nodes of a run, in this process or in others."""

    @property
    def engine(self) -> Any:
        """The engine that computes the nodes; None where other processes do."""

    @property
    def round(self) -> int:
        """Rounds done or left out."""

    @property
    def waited(self) -> float:
        """Seconds spent waiting for other processes in rounds; they do not count as training time."""

    @property
    def is_over(self) -> bool:
        """Whether no node is left to do a round."""

    def start(self) -> None:
        """Prepare for the first round."""

    def run_round(self) -> RoundInfo:
        """Run a round."""

    def evaluate(self, is_last: bool) -> tuple[Measure, Mapping[str, Any]]:
        """Evaluate the models (``is_last`` at the end); return the measure, and values as in ``Evaluation.record``."""


class TrainingLoop:
    """Trains nodes round by round, records their evaluations and calls the callbacks.

    Attributes:
        trainable: the nodes.
        recorder: counts rounds and records evaluations.
        callbacks: called in this order.
        stop_status: status with which the run was stopped; None if it continues.
    """

    def __init__(self, trainable: Trainable, recorder: RunRecorder, callbacks: Sequence[Callback] = ()) -> None:
        """Prepare a run, or the rest of one that was resumed; see the attributes."""
        self.trainable = trainable
        self.recorder = recorder
        self.callbacks = callbacks
        self.stop_status: str | None = None

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.recorder.config

    @property
    def engine(self) -> Any:
        """The engine that computes the nodes; None where other processes do."""
        return self.trainable.engine

    @property
    def metrics(self) -> list[Metrics]:
        """The evaluations so far, that of the common start first."""
        return self.recorder.metrics

    def stop(self, status: str = "finished") -> None:
        """End the run before its next round.

        Args:
            status: the run's status if rounds are left. The models of a run that is finished are evaluated once more,
                unless they were after the last round.
        """
        self.stop_status = status

    def train(self) -> None:
        """Train until all rounds are done, training diverges, the run is stopped, or no node is left."""
        recorder = self.recorder
        for callback in self.callbacks:
            callback.on_start(self)
        self.trainable.start()

        # 1. Evaluate the common start. A run that was resumed has its evaluations already.
        self._end_round(None if recorder.metrics else self._evaluate())

        while self._has_rounds() and self.stop_status is None:
            # 2. Run a round and count it.
            has_diverged = self._run_round()

            # 3. Evaluate if it is due, and at the end.
            is_last = has_diverged or not self._has_rounds()
            metrics = self._evaluate(is_last) if is_last or recorder.evaluation_is_due() else None

            # 4. Check whether the parameters or the loss have diverged.
            if has_diverged or (metrics is not None and metrics.has_average and metrics.consensus_distance is None):
                recorder.status = "diverged"

            # 5. Report progress, write checkpoints, stop early.
            self._end_round(metrics)
            if recorder.status == "diverged":
                return

        if self.stop_status is not None and self._has_rounds():
            recorder.status = self.stop_status
            if self.stop_status == "finished" and recorder.metrics[-1].round < recorder.round:
                self._evaluate(is_last=True)

    def _has_rounds(self) -> bool:
        return self.trainable.round < self.config.training.rounds and not self.trainable.is_over

    def _run_round(self) -> bool:
        """Run a round and count it; return whether it has diverged."""
        trainable = self.trainable
        began, waited = time.perf_counter(), trainable.waited
        info = trainable.run_round()
        loss, shrink = float(info.loss), float(info.shrink)  # waits for the device
        return self.recorder.add_round(
            loss,
            shrink,
            round=trainable.round,
            node_steps=info.node_steps,
            bytes_sent=info.bytes_sent,
            seconds=time.perf_counter() - began - (trainable.waited - waited),
        )

    def _evaluate(self, is_last: bool = False) -> Metrics:
        began = time.perf_counter()
        metrics = self.recorder.add_evaluation(*self.trainable.evaluate(is_last))
        self.recorder.evaluation_seconds += time.perf_counter() - began
        for callback in self.callbacks:
            callback.on_evaluation(self, metrics)
        return metrics

    def _end_round(self, metrics: Metrics | None) -> None:
        progress = self.recorder.progress(metrics)
        for callback in self.callbacks:
            callback.on_round(self, progress)
