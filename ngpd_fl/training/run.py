"""A run from its configuration to its records."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ngpd_fl.config import Config, InputError, require_trust
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.data import fingerprint, unused_classes
from ngpd_fl.models import FlatModel
from ngpd_fl.records import (
    AVERAGE,
    Checkpoint,
    Metrics,
    Progress,
    RunFolder,
    RunRecorder,
    describe_environment,
    last_checkpoint,
    require_tensorboard,
)
from ngpd_fl.training import Job, compose, make_clock, make_engine


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave.

    Attributes:
        config: what was run.
        metrics: every evaluation, that of the common start first.
        summary: as in ``summary.json``.
        params: every node's final parameters, ``[N, P]``.
        model: the network, to use them with.
    """

    config: Config
    metrics: list[Metrics]
    summary: dict[str, Any]
    params: Tensor
    model: FlatModel


def run(
    config: Config,
    out: Path | str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    tensorboard: bool = False,
    checkpoint_every: int | None = None,
    event_log: bool = False,
) -> Result:
    """Train the network of nodes that ``config`` describes.

    Args:
        config: the whole run.
        out: folder for the records; none: nothing is written.
        on_progress: called after each round.
        tensorboard: whether the evaluations also go into event files for TensorBoard, in ``out/tensorboard``.
        checkpoint_every: rounds from one checkpoint to the next, from which ``resume`` goes on; none: it would begin
            again.
        event_log: whether the virtual clock's events go into ``out/events.jsonl``, which ``devices.replay`` takes.

    Returns:
        The result; ``summary["status"]`` is ``"finished"`` or, where parameters became nan or infinite or the loss
        absurd, ``"diverged"``. A run that ended early because it reached ``training.until_accuracy`` is finished too;
        ``summary["target"]`` says whether, and at what cost.

    Raises:
        InputError: the configuration cannot be run; nothing was written.
        KeyboardInterrupt: as it came, after what was recorded has been completed (status ``"interrupted"``).
    """
    if tensorboard:
        require_tensorboard()
        if out is None:
            raise InputError("tensorboard: needs a folder for the records; name it by out")
    _check_every(checkpoint_every)
    if checkpoint_every is not None and out is None:
        raise InputError("checkpoint_every: needs a folder for the records; name it by out")
    if event_log and out is None:
        raise InputError("event_log: needs a folder for the records; name it by out")
    if event_log and not config.has_clock:
        raise InputError("event_log: the run has no clock; set training.mode or a key of devices or faults")
    with own_settings(config.engine.threads):
        job, folder = compose(config), None
        if out is not None:
            if config.devices.replay is not None:
                make_clock(job)  # a log that cannot be replayed is refused before anything is written
            folder = RunFolder.create(Path(out), config, _environment(job), tensorboard, checkpoint_every, event_log)
            folder.add_counts(job.counts)
        return _Training(job, folder, on_progress, checkpoint_every, event_log).complete()


def resume(
    out: Path | str,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint_every: int | None = None,
    *,
    on_event: Callable[[str], None] = warnings.warn,
    trust_code: bool = False,
) -> Result:
    """Go on with a run that was cut short, as if it never had been: the result is the same bit for bit.

    It goes on from the last checkpoint that is what was written, else from the beginning. What was recorded after that
    is recorded again.

    Args:
        out: the run's folder.
        on_progress: called after each round.
        checkpoint_every: rounds from one checkpoint to the next; none: as before.
        on_event: called with a line for whatever is not as it should be: a damaged checkpoint, other code or data than
            before.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.

    Returns:
        The result, as ``run`` returns it, of all rounds.

    Raises:
        InputError: there is no run in the folder that can go on; nothing was changed.
        KeyboardInterrupt: as it came, after what was recorded has been completed (status ``"interrupted"``).
    """
    _check_every(checkpoint_every)
    with closing(RunFolder.reopen(out)) as folder:
        config, every = folder.config(), checkpoint_every or folder.checkpoints.planned()
        require_trust(config, folder.path, trust_code)
        with own_settings(config.engine.threads):
            job = compose(config)
            training = _Training(job, folder, on_progress, every, folder.has_events)
            training.go_back(_environment(job), on_event)
            folder.stay()
            if checkpoint_every is not None:
                folder.checkpoints.plan(checkpoint_every)
            return training.complete()


class _Training:
    """A run on its way: the engine and its account."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder | None,
        on_progress: Callable[[Progress], None] | None,
        checkpoint_every: int | None,
        event_log: bool = False,
    ) -> None:
        self.job = job
        self.folder = folder
        self.checkpoint_every = checkpoint_every
        self.clock = make_clock(job, *([folder.add_events] if folder is not None and event_log else []))
        self.engine = make_engine(job, self.clock)
        unused = unused_classes(job.counts)
        usage = None if self.clock is None else self.engine.usage
        self.recorder = RunRecorder(
            job.config, job.model.num_params, unused, folder, on_progress, job.evaluated_on, usage, job.skew
        )

    def go_back(self, environment: dict[str, Any], on_event: Callable[[str], None]) -> None:
        """Take up the state of the last checkpoint that is fit for it, and drop what was recorded after it."""
        assert self.folder is not None
        checkpoint = last_checkpoint(self.folder, environment, on_event)
        if checkpoint is not None:
            self._load(checkpoint)
        self.recorder.metrics = self.folder.rewind(checkpoint, environment)

    def complete(self) -> Result:
        """Go on to the end, whatever it is, and write the summary."""
        try:
            self.go()
        except BaseException as error:
            self.recorder.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.finish()
            raise
        return self.finish()

    def go(self) -> None:
        """Evaluate the start, then run round after round until the end, the target or divergence."""
        recorder = self.recorder
        recorder.report(None if recorder.metrics else self._evaluate())
        while recorder.round < self.job.config.training.rounds and not recorder.is_at_target() and not self._is_over():
            lost = self._round()
            metrics = self._evaluate() if recorder.evaluation_is_due() or lost or self._is_over() else None
            recorder.report(metrics)
            if lost or (metrics is not None and metrics.consensus_distance is None):
                recorder.status = "diverged"
                return
            if self.checkpoint_every is not None and recorder.round % self.checkpoint_every == 0:
                self._keep()

    def finish(self) -> Result:
        """Write the summary and the models, and return the result."""
        params = self.engine.params()
        summary = self.recorder.summary()
        if self.folder is not None:
            names = [*(f"node{node}" for node in range(len(params))), AVERAGE]
            vectors = [*params, params.mean(0)]
            models = {name: self.job.model.state_dict(each) for name, each in zip(names, vectors, strict=True)}
            self.folder.finish(summary, models)
        return Result(self.job.config, self.recorder.metrics, summary, params, self.job.model)

    def _is_over(self) -> bool:
        """Return whether nobody is left who would do a round."""
        return self.clock is not None and self.clock.is_over

    def _round(self) -> bool:
        """Run a round and count it; return whether it was lost."""
        began = time.perf_counter()
        info = self.engine.run_round()
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
        self.recorder.add_retries(self.job.take_retries())
        return self.recorder.add_round(
            float(info.loss),
            float(info.shrink),
            node_steps=info.node_steps,
            bytes_sent=info.bytes_sent,
            seconds=time.perf_counter() - began,
        )

    def _keep(self) -> None:
        assert self.folder is not None
        tensors, values = self.engine.state()
        rest = {"engine": values, "recorder": self.recorder.state(), "clock": self.clock and self.clock.state()}
        self.folder.checkpoints.write(self.recorder.round, tensors, rest)

    def _load(self, checkpoint: Checkpoint) -> None:
        try:
            self.engine.load(checkpoint.tensors, checkpoint.values["engine"])
            self.recorder.load(checkpoint.values["recorder"])
            if self.clock is not None:
                self.clock.load(checkpoint.values["clock"])
        except Exception as error:  # values of other types than the run's can fail anywhere
            raise InputError(f"the checkpoint of round {checkpoint.round} does not fit this run: {error}") from error

    def _evaluate(self) -> Metrics:
        began = time.perf_counter()
        job = self.job
        found = job.evaluate(self.engine.params())
        metrics = self.recorder.add_evaluation(found.measure, found.record())
        self.recorder.evaluation_seconds += time.perf_counter() - began
        return metrics


def _environment(job: Job) -> dict[str, Any]:
    return describe_environment(job.device) | {"data": fingerprint(job.dataset)}


def _check_every(rounds: int | None) -> None:
    if rounds is not None and rounds < 1:
        raise InputError(f"checkpoint_every: {rounds} rounds; allowed: 1 and more")
