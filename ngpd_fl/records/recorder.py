"""The recorder of a run: its counters and evaluations, for every way of computing the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from ngpd_fl.config import Config, InputError
from ngpd_fl.records.folder import RunFolder
from ngpd_fl.records.metrics import METRICS, Measure, Metrics

Retries = dict[str, dict[str, int]]
"""Layer and factor -> remedy of a failed decomposition -> number of times, and the factor's ``width``."""

_FORM = TypeAdapter(Retries, config=ConfigDict(strict=True))


def checked_retries(counts: Any) -> Retries:
    """Return counts that another process recorded; raise ``InputError`` if they are malformed."""
    try:
        retries = _FORM.validate_python(counts)
    except ValidationError as error:
        raise InputError("decomposition_retries: damaged (not a table of counts)") from error
    if not all("width" in counts for counts in retries.values()):
        raise InputError("decomposition_retries: damaged (no width)")
    return retries


class Progress(NamedTuple):
    """Progress of a run, after each round and before the first.

    Attributes:
        round: rounds done.
        rounds: rounds to do.
        node_steps: local steps done, summed over nodes.
        train_seconds: time spent in rounds so far.
        metrics: this round's evaluation; None if there was none.
    """

    round: int
    rounds: int
    node_steps: int
    train_seconds: float
    metrics: Metrics | None


_ABSURD_LOSS = 1e6
"""A mean training loss, in nats, from which no run recovers.

Cross-entropy grows with the parameters but its gradient does not. So a step size that is far too large may lead to
parameters of 1e18 that remain finite.
"""

_BEFORE = {"node_steps", "train_seconds", "virtual_seconds", "joules", "bytes_sent", "train_loss", "trust_shrink"}
"""Fields that the summary has itself, or that describe the rounds before the last evaluation."""

_COSTS = ("round", "bytes_sent", "train_seconds", "virtual_seconds", "joules")
"""Fields that measure the cost of reaching a target."""

_GIVEN = {"config", "num_params", "unused_classes", "folder", "evaluated_on", "usage", "skew", "status", "metrics"}
"""Attributes that are not counters."""


@dataclass
class RunRecorder:
    """Counters of a running run, and its records if it has a folder.

    Attributes:
        config: the run's configuration.
        num_params: P.
        unused_classes: the classes that no node holds.
        folder: folder of the evaluations; None if they are not recorded.
        evaluated_on: whether models are evaluated on ``"common"`` images or each on its node's ``"own"``.
        usage: returns the usage by the virtual clock, with ``virtual_seconds`` and ``joules``; nothing if the run has
            no clock.
        skew: measures of the differences between the nodes' labels, and of their position on the graph; None if unknown
            here.
        status: the run's final status, once it is known.
        metrics: the evaluations so far.
        round: rounds done.
        node_steps: local steps done, summed over nodes.
        retries: layer and factor -> its ``width``, and counts of failed eigendecompositions by the remedy applied.
    """

    config: Config
    num_params: int
    unused_classes: Sequence[int]
    folder: RunFolder | None = None
    evaluated_on: str = "common"
    usage: Callable[[], Mapping[str, Any]] = dict
    skew: Mapping[str, float] | None = None
    status: str = "finished"
    metrics: list[Metrics] = field(default_factory=list)
    round: int = 0
    node_steps: int = 0
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    bytes_sent: int = 0
    retries: Retries = field(default_factory=dict)
    _losses: list[float] = field(default_factory=list)
    _shrinks: list[float] = field(default_factory=list)

    def add_round(
        self, loss: float, shrink: float, *, round: int, node_steps: int, bytes_sent: int, seconds: float
    ) -> bool:
        """Count a round; return whether training has diverged (its loss is nan or absurdly large).

        Args:
            loss: mean training loss of its local steps, in nats.
            shrink: mean factor by which the trust region shortened them.
            round: rounds done with it, or left out.
            node_steps: its local steps, summed over nodes.
            bytes_sent: its payload, lost messages included.
            seconds: its duration.
        """
        self.round = round
        self.node_steps += node_steps
        self.train_seconds += seconds
        self.bytes_sent += bytes_sent
        if not node_steps:  # with a virtual clock, a round may have no node online
            return False
        self._losses.append(loss)
        self._shrinks.append(shrink)
        return not loss < _ABSURD_LOSS  # or it is nan

    def add_retries(self, retries: Any) -> None:
        """Count eigendecompositions that failed at first; raise ``InputError`` if the counts are malformed."""
        for factor, counts in checked_retries(retries).items():
            known = self.retries.setdefault(factor, {"width": counts["width"]})
            for remedy in counts.keys() - {"width"}:
                known[remedy] = known.get(remedy, 0) + counts[remedy]

    def evaluation_is_due(self) -> bool:
        """Return whether an evaluation is due after this round."""
        return self.round % self.config.evaluation.every == 0 or self.round == self.config.training.rounds

    def add_evaluation(self, measure: Measure, record: Mapping[str, Any]) -> Metrics:
        """Record an evaluation, as ``Evaluation.record`` returns it."""
        usage = self.usage()
        metrics = METRICS[measure](
            round=self.round,
            node_steps=self.node_steps,
            train_seconds=self.train_seconds,
            virtual_seconds=usage.get("virtual_seconds"),
            joules=usage.get("joules"),
            bytes_sent=self.bytes_sent,
            train_loss=float(np.mean(self._losses)) if self._losses else None,
            trust_shrink=float(np.mean(self._shrinks)) if self._shrinks else None,
            **record,
        )
        self._losses, self._shrinks = [], []
        self.metrics.append(metrics)
        if self.folder is not None:
            self.folder.add(metrics)
        return metrics

    def state(self) -> dict[str, Any]:
        """Return all counters in JSON types, for ``load``. The evaluations are not included."""
        return {counter.name: getattr(self, counter.name) for counter in fields(self) if counter.name not in _GIVEN}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the counters that ``state`` returned; raise ``ValueError`` if they are other counters."""
        if odd := sorted(state.keys() ^ self.state().keys()):
            raise ValueError(f"the counter {odd[0]} is {'not known' if odd[0] in state else 'missing'}")
        for name, value in state.items():
            setattr(self, name, value)

    def is_at_target(self) -> bool:
        """Return whether the last evaluation reached the accuracy at which the run ends."""
        return bool(self.metrics) and self.metrics[-1].reaches(self.config.training.until_accuracy)

    def progress(self, metrics: Metrics | None) -> Progress:
        """Return the progress so far, with this round's evaluation if there is one."""
        return Progress(self.round, self.config.training.rounds, self.node_steps, self.train_seconds, metrics)

    def summary(self) -> dict[str, Any]:
        """Return the result, as in ``summary.json``."""
        last = self.metrics[-1] if self.metrics else None
        best = max(self.metrics, key=lambda metrics: metrics.measure.rank(metrics.mean), default=None)
        return {
            "strategy": self.config.method,
            "topology": self.config.topology.name,
            "dataset": self.config.data.dataset,
            "nodes": self.config.topology.nodes,
            "parameters": self.num_params,
            "rounds": self.round,
            "rounds_planned": self.config.training.rounds,
            "unused_classes": list(self.unused_classes),
            "skew": dict(self.skew) if self.skew is not None else None,
            "evaluated_on": self.evaluated_on,
            "status": self.status,
            "diverged": self.status == "diverged",
            "final": _final(last) if last else None,
            "target": self._target(),
            "best": {"round": best.round, f"mean_{best.measure.key}": best.mean} if best else None,
            "bytes_sent": self.bytes_sent,
            "node_steps": self.node_steps,
            "train_seconds": self.train_seconds,
            "node_steps_per_second": self.node_steps / self.train_seconds if self.train_seconds else None,
            "evaluation_seconds": self.evaluation_seconds,
            "decomposition_retries": self.retries,
            "clock": self.usage() or None,
        }

    def _target(self) -> dict[str, Any] | None:
        """Return the target accuracy, whether it was reached, and the cost until then; None without a target."""
        wanted = self.config.training.until_accuracy
        if wanted is None:
            return None
        reached = next((metrics for metrics in self.metrics if metrics.reaches(wanted)), None)
        cost = {name: getattr(reached, name, None) for name in _COSTS}
        return {"mean_accuracy": wanted, "reached": reached is not None, **cost}


def _final(last: Metrics) -> dict[str, Any]:
    """Return the values of the last evaluation that the summary repeats: those that are single numbers."""
    values = last.model_dump(exclude=_BEFORE | {f"averaged_model_{last.measure.group}_{last.measure.key}"})
    return {name: value for name, value in values.items() if not isinstance(value, list)}
