"""A run from its configuration to its records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ngpd_fl.composition import Job, compose
from ngpd_fl.config import Config, InputError
from ngpd_fl.data import unused_classes
from ngpd_fl.evaluation import evaluate
from ngpd_fl.models import FlatModel
from ngpd_fl.records import AVERAGE, METRICS, Metrics, RunFolder, describe_environment, require_tensorboard


class Progress(NamedTuple):
    """Where a run is, after each round and after the evaluation of the start.

    Attributes:
        round: rounds done.
        rounds: rounds to do.
        node_steps: local steps done, summed over nodes.
        train_seconds: time spent in rounds so far.
        metrics: this round's evaluation, if there was one.
    """

    round: int
    rounds: int
    node_steps: int
    train_seconds: float
    metrics: Metrics | None


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
) -> Result:
    """Train the network of nodes that ``config`` describes.

    Args:
        config: the whole run.
        out: folder for the records; none: nothing is written.
        on_progress: called after each round.
        tensorboard: whether the evaluations also go into event files for TensorBoard, in ``out/tensorboard``.

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
    with torch_threads(config.engine.threads):
        job, folder = compose(config), None
        if out is not None:
            folder = RunFolder.create(Path(out), config, describe_environment(job.device), tensorboard)
            folder.add_counts(job.counts)
        training = _Training(job, folder, on_progress)
        try:
            training.go()
        except BaseException as error:
            training.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            training.finish()
            raise
        return training.finish()


_ABSURD_LOSS = 1e6
"""A mean training loss, in nats, from which no run comes back to something useful.

Cross-entropy grows with the parameters but its gradient does not, so that far too large a step size may leave
parameters of 1e18 that are finite for ever.
"""


@dataclass
class _Training:
    """A run on its way: counters, and what has been recorded."""

    job: Job
    folder: RunFolder | None
    on_progress: Callable[[Progress], None] | None
    status: str = "finished"
    metrics: list[Metrics] = field(default_factory=list)
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    bytes_sent: int = 0
    losses: list[Tensor] = field(default_factory=list)
    shrinks: list[Tensor] = field(default_factory=list)

    def go(self) -> None:
        """Evaluate the start, then run round after round until the end, the target or divergence."""
        rounds, every = self.job.config.training.rounds, self.job.config.evaluation.every
        self._report(self._evaluate())
        while self.job.engine.round < rounds and not self._at_target():
            loss = self._round()
            lost = not loss < _ABSURD_LOSS  # or it is nan
            due = self.job.engine.round % every == 0 or self.job.engine.round == rounds
            metrics = self._evaluate() if due or lost else None
            self._report(metrics)
            if lost or (metrics is not None and metrics.consensus_distance is None):
                self.status = "diverged"
                return

    def finish(self) -> Result:
        """Write the summary and the models, and return the result."""
        params = self.job.engine.params()
        summary = self._summary()
        if self.folder is not None:
            names = [*(f"node{node}" for node in range(len(params))), AVERAGE]
            vectors = [*params, params.mean(0)]
            models = {name: self.job.model.unflatten(each) for name, each in zip(names, vectors, strict=True)}
            self.folder.finish(summary, models)
        return Result(self.job.config, self.metrics, summary, params, self.job.model)

    @property
    def node_steps(self) -> int:
        return self.job.engine.round * self.job.config.training.local_steps * self.job.engine.num_nodes

    def _round(self) -> float:
        """Run a round and count it; return the mean training loss."""
        began = time.perf_counter()
        info = self.job.engine.run_round()
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
        self.train_seconds += time.perf_counter() - began
        self.bytes_sent += info.bytes_sent
        self.losses.append(info.loss)
        self.shrinks.append(info.shrink)
        return float(info.loss)

    def _evaluate(self) -> Metrics:
        began = time.perf_counter()
        found = evaluate(
            self.job.model, self.job.engine.params(), self.job.judged, self.job.counts, self.job.dataset.task
        )
        metrics = METRICS[found.measure](
            round=self.job.engine.round,
            node_steps=self.node_steps,
            train_seconds=self.train_seconds,
            bytes_sent=self.bytes_sent,
            train_loss=float(torch.stack(self.losses).mean()) if self.losses else None,
            trust_shrink=float(torch.stack(self.shrinks).mean()) if self.shrinks else None,
            **found.record(),
        )
        self.losses, self.shrinks = [], []
        self.metrics.append(metrics)
        if self.folder is not None:
            self.folder.add(metrics)
        self.evaluation_seconds += time.perf_counter() - began
        return metrics

    def _at_target(self) -> bool:
        """Whether the last evaluation reached the accuracy at which the run is to end."""
        return self.metrics[-1].reaches(self.job.config.training.until_accuracy)

    def _report(self, metrics: Metrics | None) -> None:
        if self.on_progress is not None:
            engine, rounds = self.job.engine, self.job.config.training.rounds
            self.on_progress(Progress(engine.round, rounds, self.node_steps, self.train_seconds, metrics))

    def _summary(self) -> dict[str, Any]:
        last = self.metrics[-1] if self.metrics else None
        measure = self.job.dataset.task.measure
        best = max(self.metrics, key=lambda metrics: measure.rank(metrics.mean), default=None)
        mean = f"mean_{measure.key}"
        return {
            "strategy": self.job.config.strategy.name,
            "topology": self.job.config.topology.name,
            "dataset": self.job.config.data.dataset,
            "nodes": self.job.engine.num_nodes,
            "parameters": self.job.model.num_params,
            "rounds": self.job.engine.round,
            "rounds_planned": self.job.config.training.rounds,
            "unused_classes": unused_classes(self.job.counts),
            "status": self.status,
            "diverged": self.status == "diverged",
            "final": _final(last) if last else None,
            "target": self._target(),
            "best": {"round": best.round, mean: getattr(best, mean)} if best else None,
            "bytes_sent": self.bytes_sent,
            "node_steps": self.node_steps,
            "train_seconds": self.train_seconds,
            "node_steps_per_second": self.node_steps / self.train_seconds if self.train_seconds else None,
            "evaluation_seconds": self.evaluation_seconds,
        }

    def _target(self) -> dict[str, Any] | None:
        """Return the accuracy at which the run was to end, if any, whether it was reached, and the cost until then."""
        wanted = self.job.config.training.until_accuracy
        if wanted is None:
            return None
        reached = next((metrics for metrics in self.metrics if metrics.reaches(wanted)), None)
        cost = {name: getattr(reached, name, None) for name in ("round", "bytes_sent", "train_seconds")}
        return {"mean_accuracy": wanted, "reached": reached is not None, **cost}


_BEFORE = {"node_steps", "train_seconds", "bytes_sent", "train_loss", "trust_shrink"}
"""What the summary says by itself, or what belongs to the rounds before the last evaluation."""


def _final(last: Metrics) -> dict[str, Any]:
    """Return what the summary repeats of the last evaluation: the values that are single numbers."""
    values = last.model_dump(exclude=_BEFORE)
    return {name: value for name, value in values.items() if not isinstance(value, list)}


@contextmanager
def torch_threads(wanted: int) -> Iterator[None]:
    """Give torch this many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
