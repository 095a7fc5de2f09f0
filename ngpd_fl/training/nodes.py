"""The nodes of this process as the training loop sees them: engine, evaluation, records and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any, ClassVar

import torch

from ngpd_fl.clock import VirtualClock
from ngpd_fl.config import InputError, parse_json
from ngpd_fl.config.checks import MOST
from ngpd_fl.core.signals import deferred
from ngpd_fl.data import fingerprint, unused_classes
from ngpd_fl.engines import Engine, RoundInfo
from ngpd_fl.models import synchronize
from ngpd_fl.records import (
    AVERAGE,
    Checkpoint,
    Measure,
    Progress,
    RunFolder,
    RunRecorder,
    describe_environment,
    differences,
)
from ngpd_fl.records.checkpoints import require_alike
from ngpd_fl.training.callbacks import Callback
from ngpd_fl.training.job import Job
from ngpd_fl.training.loop import TrainingLoop


class LocalNodes:
    """The nodes of a run that one process computes and records; a ``Trainable``.

    Attributes:
        job: the run's parts.
        engine: computes the nodes.
        folder: folder for the records; None if nothing is written.
        recorder: the run's counters.
        clock: the virtual clock that the engine follows; None if the run has none.
        waits_for_nobody: whether a round waits for no other process, so that signals can be held back until its end.
    """

    waits_for_nobody: ClassVar[bool] = True

    def __init__(
        self,
        job: Job,
        engine: Engine,
        folder: RunFolder | None,
        clock: VirtualClock | None = None,
        *,
        skew: bool = True,
    ) -> None:
        """Prepare the run, at its beginning; see the attributes.

        ``skew`` tells whether all nodes' labels are known here, so that they can be compared.
        """
        self.job = job
        self.engine = engine
        self.folder = folder
        self.clock = clock
        self.recorder = RunRecorder(
            job.config,
            job.model.num_params,
            unused_classes(job.counts),
            folder,
            job.evaluated_on,
            usage=engine.usage,
            skew=job.skew if skew else None,
        )

    @property
    def round(self) -> int:
        """Rounds done or left out."""
        return self.engine.round

    @property
    def waited(self) -> float:
        """Seconds spent waiting for other processes: there are none."""
        return 0.0

    @property
    def is_over(self) -> bool:
        """Whether no node is left to do a round."""
        return self.clock is not None and self.clock.is_over

    def start(self) -> None:
        """Prepare for the first round. Nothing to do."""

    def run_round(self) -> RoundInfo:
        """Run a round; the device has finished it when this returns."""
        with deferred() if self.waits_for_nobody else nullcontext():
            info = self.engine.run_round()
            synchronize(self.job.compute_devices)
        self.recorder.add_retries(self.job.take_retries())
        return info

    def evaluate(self, is_last: bool) -> tuple[Measure, Mapping[str, Any]]:
        """Evaluate all nodes' models and their mean."""
        with deferred():
            evaluation = self.job.evaluate(self.engine.params())
        return evaluation.measure, evaluation.record()

    def complete(self, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """Train to the end and complete the records, also after an exception.

        Returns:
            The summary. Its status is ``"interrupted"`` after ``KeyboardInterrupt`` and ``"failed"`` after anything
            else that was raised.
        """
        loop = TrainingLoop(self, self.recorder, callbacks)
        try:
            loop.train()
        except BaseException as error:
            self.recorder.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        finally:
            summary = self.finish()
            with ExitStack() as stack:  # all are called, whatever one of them raises
                for callback in reversed(callbacks):
                    stack.callback(callback.on_end, loop, summary)
        return summary

    def finish(self) -> dict[str, Any]:
        """Write the summary and the models, and return the summary."""
        summary, params = self.recorder.summary(), self.engine.params()
        names = [*(f"node{node}" for node in range(len(params))), AVERAGE]
        self._write(summary, dict(zip(names, [*params, params.mean(0)], strict=True)))
        return summary

    def _write(self, summary: Mapping[str, Any], params: Mapping[str, torch.Tensor]) -> None:
        """Write the summary and models by their names, each from its parameters ``[P]``."""
        if self.folder is not None:
            self.folder.finish(summary, {name: self.job.model.state_dict(vector) for name, vector in params.items()})

    def write_checkpoint(self) -> None:
        """Write the whole state, from which the run can go on."""
        assert self.folder is not None
        tensors, rest = self._state()
        self.folder.checkpoints.write(self.round, tensors, rest)

    def restore(self, environment: Mapping[str, Any], on_event: Callable[[str], None]) -> Checkpoint | None:
        """Restore the state of the last readable checkpoint, and return it; None if there is none.

        Args:
            environment: the present environment.
            on_event: called with a line for each damaged checkpoint and each change.

        Raises:
            InputError: the checkpoint is of another network; nothing was changed in the folder.
        """
        assert self.folder is not None
        checkpoint = _last_checkpoint(self.folder, environment, on_event)
        if checkpoint is not None:
            try:
                require_alike(checkpoint.values, parse_json(json.dumps(self._state()[1]), strict=False))
                self.engine.load(checkpoint.tensors, checkpoint.values["engine"])
                self.recorder.load(checkpoint.values["recorder"])
                if self.clock is not None:
                    self.clock.load(checkpoint.values["clock"])
                if self.round != checkpoint.round:
                    raise ValueError(f"its state is of round {self.round}")
            except Exception as error:  # values of other types than the run's can fail anywhere
                words = f"the checkpoint of round {checkpoint.round} does not fit this run: {error}"
                raise InputError(words) from error
        return checkpoint

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return the content of a checkpoint: tensors by name, and the rest as JSON values."""
        tensors, values = self.engine.state()
        clock = self.clock and self.clock.state()
        return tensors, {"engine": values, "recorder": self.recorder.state(), "clock": clock}


class Checkpointing(Callback):
    """Writes a checkpoint every few rounds; it comes after the callbacks that may stop the run."""

    def __init__(self, nodes: LocalNodes, every: int) -> None:
        """Write checkpoints of some nodes, from their present round on.

        Args:
            nodes: the nodes; where they go on from a checkpoint, restored already.
            every: rounds from one checkpoint to the next.
        """
        self._nodes = nodes
        self._every = every
        self._begin = nodes.round

    def on_round(self, run: TrainingLoop, progress: Progress) -> None:
        """Write a checkpoint if it is due, or if the run is interrupted; never after divergence."""
        is_due = progress.round > self._begin and progress.round % self._every == 0
        if (is_due or run.stop_status == "interrupted") and run.recorder.status != "diverged":
            self._nodes.write_checkpoint()


def environment_of(job: Job) -> dict[str, Any]:
    """Return what a run's result depends on besides its configuration, with its data, their partition and its start."""
    own = {"data": fingerprint(job.dataset), "partition": job.fingerprint, "model": job.model.fingerprint}
    constants = job.model.constants_fingerprint()
    return describe_environment(job.compute_devices) | own | ({"constants": constants} if constants else {})


def check_checkpoint_every(rounds: int | None) -> None:
    """Raise ``InputError`` if checkpoints cannot be ``rounds`` apart; None means no checkpoints."""
    if rounds is not None and rounds < 1:
        raise InputError(f"checkpoint_every: {rounds} rounds; allowed: 1 and more")
    if rounds is not None and rounds >= MOST:
        raise InputError("checkpoint_every: a whole number is too large; allowed: below 2^63")


def _last_checkpoint(
    folder: RunFolder, environment: Mapping[str, Any], on_event: Callable[[str], None]
) -> Checkpoint | None:
    """Return the last checkpoint that is intact; None if the run begins again.

    Args:
        folder: the run's folder.
        environment: the present environment.
        on_event: called with a line for each damaged checkpoint, if there is no checkpoint, and if the environment has
            changed.
    """
    if changes := differences(folder.environment(), environment):
        on_event(f"{folder.path}: not as when the run began, results may differ: {', '.join(changes)}")
    checkpoint, refusals = None, list[str]()
    for candidate in folder.checkpoints.candidates():
        if isinstance(candidate, Checkpoint):
            checkpoint = candidate
            break
        refusals.append(str(candidate))
    then = f"goes on after round {checkpoint.round}" if checkpoint else "begins again"
    for refusal in refusals or [f"{folder.path}: there is no checkpoint"] * (checkpoint is None):
        on_event(f"{refusal}; the run {then}")
    return checkpoint
