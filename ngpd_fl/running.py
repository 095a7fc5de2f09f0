"""A run from its configuration to its records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ngpd_fl.composition import Job, compose
from ngpd_fl.config import Config
from ngpd_fl.data import unused_classes
from ngpd_fl.engines import VectorisedEngine
from ngpd_fl.evaluation import evaluate_average, evaluate_nodes
from ngpd_fl.models import FlatModel
from ngpd_fl.records import AVERAGE, Ledger, Metrics, Progress, RunFolder, describe_environment


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


def run(config: Config, out: Path | str | None = None, on_progress: Callable[[Progress], None] | None = None) -> Result:
    """Train the network of nodes that ``config`` describes.

    Args:
        config: the whole run.
        out: folder for the records; none: nothing is written.
        on_progress: called after each round.

    Returns:
        The result; ``summary["status"]`` is ``"finished"`` or, where parameters became nan or infinite or the loss
        absurd, ``"diverged"``.

    Raises:
        InputError: the configuration cannot be run; nothing was written.
        KeyboardInterrupt: as it came, after what was recorded has been completed (status ``"interrupted"``).
    """
    with _threads(config.engine.threads):
        job = compose(config)
        folder = RunFolder.create(Path(out), config, describe_environment(job.device)) if out is not None else None
        training = _Training(job, folder, on_progress)
        try:
            training.go()
        except BaseException as error:
            training.ledger.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            training.finish()
            raise
        return training.finish()


class _Training:
    """A run on its way: the engine and its account."""

    def __init__(self, job: Job, folder: RunFolder | None, on_progress: Callable[[Progress], None] | None) -> None:
        self.job = job
        self.engine = job.start(VectorisedEngine)
        self.ledger = Ledger(job.config, job.model.num_params, unused_classes(job.counts), folder, on_progress)

    def go(self) -> None:
        """Evaluate the start, then run round after round until the end or divergence."""
        self.ledger.report(self._evaluate())
        while self.ledger.round < self.job.config.training.rounds:
            lost = self._round()
            metrics = self._evaluate() if self.ledger.evaluation_is_due() or lost else None
            self.ledger.report(metrics)
            if lost or (metrics is not None and metrics.consensus_distance is None):
                self.ledger.status = "diverged"
                return

    def finish(self) -> Result:
        """Write the summary and the models, and return the result."""
        params = self.engine.params()
        summary = self.ledger.summary()
        if self.ledger.folder is not None:
            names = [*(f"node{node}" for node in range(len(params))), AVERAGE]
            vectors = [*params, params.mean(0)]
            models = {name: self.job.model.unflatten(each) for name, each in zip(names, vectors, strict=True)}
            self.ledger.folder.finish(summary, models)
        return Result(self.job.config, self.ledger.metrics, summary, params, self.job.model)

    def _round(self) -> bool:
        """Run a round and count it; return whether it was lost."""
        began = time.perf_counter()
        info = self.engine.run_round()
        if self.job.device.type == "cuda":
            torch.cuda.synchronize(self.job.device)
        return self.ledger.add_round(
            float(info.loss),
            float(info.shrink),
            node_steps=self.job.config.training.local_steps * self.engine.num_nodes,
            bytes_sent=info.bytes_sent,
            seconds=time.perf_counter() - began,
        )

    def _evaluate(self) -> Metrics:
        began = time.perf_counter()
        job, params = self.job, self.engine.params()
        nodes = evaluate_nodes(job.model, params, job.judged, job.counts)
        average = evaluate_average(job.model, params, job.judged, job.dataset.num_classes)
        metrics = self.ledger.add_evaluation(
            nodes.accuracy.tolist(),
            nodes.own_accuracy.tolist(),
            nodes.class_accuracy.tolist(),
            averaged_model_accuracy=average.averaged_model_accuracy,
            averaged_model_class_accuracy=average.averaged_model_class_accuracy.tolist(),
            consensus_distance=average.consensus_distance,
        )
        self.ledger.evaluation_seconds += time.perf_counter() - began
        return metrics


@contextmanager
def _threads(wanted: int) -> Iterator[None]:
    """Give torch this many threads for the run's time."""
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
