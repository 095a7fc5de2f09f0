"""``run`` and ``resume``: a run in this process, from its configuration to its records."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ngpd_fl.config import Config, InputError, require_trust
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Metrics, RunFolder, require_tensorboard
from ngpd_fl.training import compose, make_clock, make_engine
from ngpd_fl.training.callbacks import Callback, EarlyStop, EventLog, TensorBoard
from ngpd_fl.training.nodes import Checkpointing, LocalNodes, check_checkpoint_every, environment_of


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a run.

    Attributes:
        config: the configuration.
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
    callbacks: Sequence[Callback] = (),
    *,
    tensorboard: bool = False,
    checkpoint_every: int | None = None,
    event_log: bool = False,
) -> Result:
    """Train the network of nodes that ``config`` describes.

    Args:
        config: the whole run.
        out: folder for the records. Defaults to none: nothing is written.
        callbacks: called at the steps of the run, in this order.
        tensorboard: whether the evaluations also go into event files for TensorBoard, in ``out/tensorboard``.
        checkpoint_every: rounds from one checkpoint to the next, from which ``resume`` goes on. Defaults to no
            checkpoints: the run would begin again.
        event_log: whether the virtual clock's events go into ``out/events.jsonl``, which ``devices.replay`` reads.

    Returns:
        The result; ``summary["status"]`` is ``"finished"`` or, if parameters became nan or infinite or the loss
        absurdly large, ``"diverged"``. A run that ended early because it reached ``training.until_accuracy``, or
        because a callback stopped it, is finished too; ``summary["target"]`` records whether the accuracy was reached,
        and at what cost.

    Raises:
        InputError: the configuration cannot be run; nothing was written.
        KeyboardInterrupt: raised again after the records have been completed (status ``"interrupted"``).
        Exception: any exception of a callback, after the records have been completed (status ``"failed"``).
    """
    if tensorboard:
        require_tensorboard()
    check_checkpoint_every(checkpoint_every)
    for name, is_wanted in {
        "tensorboard": tensorboard,
        "checkpoint_every": checkpoint_every is not None,
        "event_log": event_log,
    }.items():
        if is_wanted and out is None:
            raise InputError(f"{name}: needs a folder for the records; name it by out")
    if event_log and not config.has_clock:
        raise InputError("event_log: the run has no clock; set training.mode or a key of devices or faults")
    with own_settings(config.engine.threads):
        job, folder, event_files = compose(config), None, None
        clock = make_clock(job)
        engine = make_engine(job, clock)  # what cannot run is refused before anything is written
        if out is not None:
            folder = RunFolder.create(Path(out), config, environment_of(job), checkpoint_every, event_log)
            folder.add_counts(job.counts)
            event_files = TensorBoard(folder.event_files) if tensorboard else None
        return _complete(LocalNodes(job, engine, folder, clock), callbacks, checkpoint_every, event_files)


def resume(
    out: Path | str,
    callbacks: Sequence[Callback] = (),
    *,
    checkpoint_every: int | None = None,
    on_event: Callable[[str], None] = warnings.warn,
    device: str | None = None,
    trust_code: bool = False,
) -> Result:
    """Resume an interrupted run; the result is bit for bit that of an uninterrupted run.

    The run resumes from its last intact checkpoint, or else from the beginning. Later records are written again.

    Args:
        out: the run's folder.
        callbacks: called at the steps of the rest of the run; those of the first part are not remembered.
        checkpoint_every: rounds from one checkpoint to the next. Defaults to those of the first part.
        on_event: called with a line for each problem: a damaged checkpoint, or other code or data than before.
        device: where the run goes on, named as in ``engine.device``. Defaults to where it was; another device, or
            another number of them, may change last digits.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.

    Returns:
        The result, as ``run`` returns it, of all rounds.

    Raises:
        InputError: the folder holds no run that can resume; nothing was changed.
        KeyboardInterrupt: raised again after the records have been completed (status ``"interrupted"``).
        Exception: any exception of a callback, after the records have been completed (status ``"failed"``).
    """
    check_checkpoint_every(checkpoint_every)
    with closing(RunFolder.reopen(out)) as folder:
        config, every = folder.config(), checkpoint_every or folder.checkpoints.planned()
        config = require_trust(config, folder.path, trust_code)
        if device is not None:
            config = config.on_device(device)
        with own_settings(config.engine.threads):
            job = compose(config)
            clock = make_clock(job)
            nodes = LocalNodes(job, make_engine(job, clock), folder, clock)
            environment = environment_of(job)
            checkpoint = nodes.restore(environment, on_event)
            nodes.recorder.metrics = folder.rewind(checkpoint, environment)
            folder.stay()
            if checkpoint_every is not None:
                folder.checkpoints.plan(checkpoint_every)
            since = checkpoint.round + 1 if checkpoint else 0
            event_files = TensorBoard(folder.event_files, since) if folder.event_files.is_dir() else None
            return _complete(nodes, callbacks, every, event_files)


def _complete(
    nodes: LocalNodes, user: Sequence[Callback], checkpoint_every: int | None, event_files: TensorBoard | None
) -> Result:
    """Train to the end with all callbacks in order: a user's callbacks see a round that is already on disk."""
    callbacks: list[Callback] = [] if event_files is None else [event_files]
    if nodes.folder is not None and nodes.clock is not None and nodes.folder.has_events:
        callbacks.append(EventLog(nodes.clock, nodes.folder))
    callbacks += [*user, EarlyStop(nodes.recorder.is_at_target)]
    if checkpoint_every is not None:
        callbacks.append(Checkpointing(nodes, checkpoint_every))
    summary = nodes.complete(callbacks)
    return Result(nodes.job.config, nodes.recorder.metrics, summary, nodes.engine.params(), nodes.job.model)
