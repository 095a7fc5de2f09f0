"""``run`` and ``resume``: a run in this process, from its configuration to its records."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import networkx as nx
from torch import Tensor, nn

from ngpd_fl.config import Config, InputError, require_trust, with_objects, with_recorded_objects
from ngpd_fl.core.isolation import own_settings
from ngpd_fl.models import FlatModel
from ngpd_fl.records import Metrics, RunFolder
from ngpd_fl.records.display import Display, DisplayedRun
from ngpd_fl.records.tracked_runs import tracked_runs
from ngpd_fl.training import compose, make_clock, make_engine
from ngpd_fl.training.callbacks import Callback, EarlyStop, EventLog
from ngpd_fl.training.nodes import Checkpointing, LocalNodes, check_checkpoint_every, environment_of
from ngpd_fl.training.trackers import make_tracker
from ngpd_fl.training.trackers.tracker import Tracker

Network = nn.Module | Callable[[tuple[int, ...], int], nn.Module]
"""A network, or ``factory(input_shape, num_classes)`` of one."""


@dataclass(frozen=True, eq=False, repr=False)
class Result(Display):
    """The result of a run.

    Attributes:
        config: the configuration.
        metrics: every evaluation, that of the start first.
        summary: as in ``summary.json``.
        params: every node's final parameters, ``[N, P]``.
        model: the network, to use them with.
    """

    config: Config
    metrics: list[Metrics]
    summary: dict[str, Any]
    params: Tensor
    model: FlatModel

    def __repr__(self) -> str:
        """Return the algorithm, the status and the number of evaluations."""
        return f"Result({self.config.method!r}, {self.summary['status']!r}, {len(self.metrics)} evaluations)"

    def _displayed(self) -> DisplayedRun:
        return DisplayedRun("", self.config, self.metrics, self.summary)


def run(
    config: Config | None = None,
    out: Path | str | None = None,
    callbacks: Sequence[Callback] = (),
    *,
    model: Network | None = None,
    data: Any = None,
    graph: nx.Graph | None = None,
    partition: Sequence[Any] | None = None,
    init: Path | str | None = None,
    checkpoint_every: int | None = None,
    event_log: bool = False,
) -> Result:
    """Train the network of nodes that ``config`` describes.

    An object takes the place of what the configuration names, and is checked alike. Records hold its name only:
    ``resume`` and ``evaluate_saved`` take it again by the same keyword.

    Args:
        config: the whole run. Defaults to the defaults of all keys.
        out: folder for the records. Defaults to none: nothing is written.
        callbacks: called at the steps of the run, in this order.
        model: a network, whose present parameters are all nodes' start, or ``factory(input_shape, num_classes)`` of
            one. It is copied, never changed.
        data: ``(inputs, labels)`` or ``(train_inputs, train_labels, test_inputs, test_labels)``, tensors or NumPy
            arrays; a map-style torch ``Dataset``, a Hugging Face ``Dataset``, a pair of these for training and test;
            or a ``ngpd_fl.data.Dataset``. Without test examples, every fifth example of each class is one.
        graph: a connected networkx graph of the nodes. It is recorded as a whole.
        partition: the training examples of each node: one list or array of indices a node, into the data as given.
            Those held out for validation and test are left out.
        init: where the nodes start: a run's folder or a file, as in ``model.init``.
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
    _check_positions(config, out)
    config = with_objects(config or Config(), model=model, data=data, graph=graph, partition=partition, init=init)
    check_checkpoint_every(checkpoint_every)
    for name, is_wanted in {"checkpoint_every": checkpoint_every is not None, "event_log": event_log}.items():
        if is_wanted and out is None:
            raise InputError(f"{name}: needs a folder for the records; name it by out")
    if event_log and not config.has_clock:
        raise InputError("event_log: the run has no clock; set training.mode or a key of devices or faults")
    with own_settings(config.engine.threads):
        job, folder = compose(config), None
        clock = make_clock(job)
        engine = make_engine(job, clock)  # what cannot run is refused before anything is written
        if out is not None:
            folder = RunFolder.create(Path(out), config, environment_of(job), checkpoint_every, event_log)
            folder.add_counts(job.counts)
        try:
            _begin(callbacks, folder, config)
        except InputError:
            if folder is not None:  # all that is in it was made above
                folder.close()
                shutil.rmtree(folder.path)
            raise
        return _complete(LocalNodes(job, engine, folder, clock), callbacks, checkpoint_every)


def resume(
    out: Path | str,
    callbacks: Sequence[Callback] = (),
    *,
    rounds: int | None = None,
    checkpoint_every: int | None = None,
    on_event: Callable[[str], None] = warnings.warn,
    device: str | None = None,
    trust_code: bool = False,
    model: Network | None = None,
    data: Any = None,
    partition: Sequence[Any] | None = None,
) -> Result:
    """Resume an interrupted run, or go on with a finished one; the result is bit for bit that of an unbroken run.

    The run resumes from its last intact checkpoint, or else from the beginning. Later records are written again. An
    evaluation at the former end of a finished run stays in its records.

    Args:
        out: the run's folder.
        callbacks: called at the steps of the rest of the run. Of those of the first part, trackers alone go on.
        rounds: rounds in all, more than the run had: also a finished run goes on. Defaults to those that it had.
        checkpoint_every: rounds from one checkpoint to the next. Defaults to those of the first part.
        on_event: called with a line for each problem: a damaged checkpoint, or other code or data than before.
        device: where the run goes on, named as in ``engine.device``. Defaults to where it was; another device, or
            another number of them, may change last digits.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.
        model: the network or factory that ``run`` was given, if it was given one.
        data: likewise, the data.
        partition: likewise, the index lists.

    Returns:
        The result, as ``run`` returns it, of all rounds.

    Raises:
        InputError: the folder holds no run that can resume; nothing was changed.
        KeyboardInterrupt: raised again after the records have been completed (status ``"interrupted"``).
        Exception: any exception of a callback, after the records have been completed (status ``"failed"``).
    """
    check_checkpoint_every(checkpoint_every)
    with closing(RunFolder.reopen(out, finished=rounds is not None)) as folder:
        config, every = folder.config(), checkpoint_every or folder.checkpoints.planned()
        trackers = _noted_trackers(folder, callbacks)
        if rounds is not None:
            require_longer(config, rounds, folder)
            config = folder.config({"training.rounds": rounds})
        config = require_trust(config, folder.path, trust_code)
        config = with_recorded_objects(config, model=model, data=data, partition=partition)
        if device is not None:
            config = config.on_device(device)
        with own_settings(config.engine.threads):
            job = compose(config)
            clock = make_clock(job)
            nodes = LocalNodes(job, make_engine(job, clock), folder, clock)
            environment = environment_of(job)
            checkpoint = nodes.restore(environment, on_event)
            callbacks = [*trackers, *callbacks]
            _begin(callbacks, folder, config)
            if rounds is not None:
                folder.extend(rounds)
            nodes.recorder.metrics = folder.rewind(checkpoint, environment)
            folder.make_absolute()
            if checkpoint_every is not None:
                folder.checkpoints.plan(checkpoint_every)
            return _complete(nodes, callbacks, every)


def _check_positions(config: object, out: object) -> None:
    """Raise ``InputError`` where an object is given in the place of the configuration or of the folder."""
    for name, given, kinds, expected in (
        ("config", config, Config, "a Config"),
        ("out", out, str | PathLike, "the path of a folder"),
    ):
        if given is not None and not isinstance(given, kinds):
            raise InputError(
                f"{name}: is a {type(given).__name__}; expected {expected}; objects go by keyword: "
                "run(config, out, model=..., data=..., graph=..., partition=...)"
            )


def require_longer(config: Config, rounds: int, folder: RunFolder) -> None:
    """Raise ``InputError`` unless a run of more rounds would have begun as this one did."""
    training = config.training
    if type(rounds) is not int or rounds <= training.rounds:
        raise InputError(f"rounds: the run has {training.rounds} already; allowed: {training.rounds + 1} and more")
    if training.lr_schedule == "cosine":
        why = "training.lr_schedule = cosine spreads over all rounds of a run"
    elif config.has_clock:
        why = "the virtual clock plans all rounds of a run"
    elif training.until_accuracy is not None and folder.has_reached_target:
        why = "it ended at its training.until_accuracy"
    else:
        return
    raise InputError(
        f"rounds: {folder.path} cannot go on beyond its end, {why}; a new run may start from its models (model.init)"
    )


def _noted_trackers(folder: RunFolder, callbacks: Sequence[Callback]) -> list[Callback]:
    """Return the trackers of the first part of a run, but for those that are among the callbacks."""
    given = {callback.name for callback in callbacks if isinstance(callback, Tracker)}
    noted = tracked_runs(folder.path)
    return [make_tracker(name, project=run.project) for name, run in noted.items() if name not in given]


def _begin(callbacks: Sequence[Callback], folder: RunFolder | None, config: Config) -> None:
    """Begin the runs of all trackers or of none, before any record is changed; raise ``InputError`` if one refuses."""
    begun: list[Tracker] = []
    try:
        for tracker in callbacks:
            if isinstance(tracker, Tracker):
                tracker.begin(None if folder is None else folder.path, config)
                begun.append(tracker)
    except InputError:
        for tracker in begun:
            with suppress(Exception):  # it is the other one that is reported
                tracker.close("failed")
        raise


def _complete(nodes: LocalNodes, user: Sequence[Callback], checkpoint_every: int | None) -> Result:
    """Train to the end with all callbacks in order: a user's callbacks see a round that is already on disk."""
    callbacks: list[Callback] = []
    if nodes.folder is not None and nodes.clock is not None and nodes.folder.has_events:
        callbacks.append(EventLog(nodes.clock, nodes.folder))
    callbacks += [*user, EarlyStop(nodes.recorder.is_at_target)]
    if checkpoint_every is not None:
        callbacks.append(Checkpointing(nodes, checkpoint_every))
    summary = nodes.complete(callbacks)
    return Result(nodes.job.config, nodes.recorder.metrics, summary, nodes.engine.params(), nodes.job.model)
