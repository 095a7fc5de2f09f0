"""Records of several peers about their own nodes, merged into one account of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ngpd_fl.records import METRICS, Metrics, RunRecorder


@dataclass
class Account:
    """Records of one peer so far.

    Attributes:
        nodes: those that it hosts.
        metrics: its evaluations by round.
        summary: its result; empty where it has not ended.
    """

    nodes: list[int]
    metrics: dict[int, Metrics] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def latest(self, round: int) -> Metrics | None:
        """Return the last evaluation until a round; None: there is none yet."""
        return self.metrics.get(max((each for each in self.metrics if each <= round), default=-1))


def join(accounts: Sequence[Account], round: int, recorder: RunRecorder) -> Metrics:
    """Record a round's evaluation of all nodes that were evaluated in it, and return it; others are null."""
    metrics = _joined(accounts, round, recorder.config.topology.nodes)
    recorder.round, recorder.node_steps, recorder.bytes_sent = round, metrics.node_steps, metrics.bytes_sent
    recorder.train_seconds = metrics.train_seconds
    recorder.metrics.append(metrics)
    if recorder.folder is not None:
        recorder.folder.add(metrics)
    return metrics


def add_up(accounts: Sequence[Account], recorder: RunRecorder) -> None:
    """Count what all peers have done, by their results or, where they have none yet, by their last evaluations."""
    for name in ("node_steps", "bytes_sent", "train_seconds", "evaluation_seconds"):
        values = [each.summary.get(name, getattr(each.latest(recorder.round), name, 0)) for each in accounts]
        setattr(recorder, name, max(values) if name.endswith("seconds") else sum(values))
    recorder.retries = {}
    for each in accounts:
        recorder.add_retries(each.summary.get("decomposition_retries", {}))


def are_alike(metrics: Metrics, other: Metrics, nodes: int) -> bool:
    """Return whether two evaluations are of the same measure and groups, and this one of so many nodes."""
    of_groups = [len(getattr(each, f"{other.measure.group}_{other.measure.key}", ())) for each in (metrics, other)]
    return metrics.measure is other.measure and len(metrics.nodes) == nodes and of_groups[0] == of_groups[1]


def _joined(accounts: Sequence[Account], round: int, num_nodes: int) -> Metrics:
    here = [(each.nodes, each.metrics[round]) for each in accounts if round in each.metrics]
    measure = here[0][1].measure
    key, per_node = measure.key, [len(nodes) for nodes, _ in here]
    values: dict[str, Any] = {
        "round": round,
        "train_seconds": max(metrics.train_seconds for _, metrics in here),
        "train_loss": _mean([metrics.train_loss for _, metrics in here], per_node),
        "trust_shrink": _mean([metrics.trust_shrink for _, metrics in here], per_node),
        "consensus_distance": None,
    }
    for name in ("node_steps", "bytes_sent"):
        values[name] = sum(getattr(each.latest(round), name, 0) for each in accounts)
    for name, described in METRICS[measure].model_fields.items():
        if name in values:
            continue
        found = [getattr(metrics, name) for _, metrics in here]
        if name.startswith("averaged_model"):
            values[name] = None
        elif name == f"{measure.group}_{key}":
            values[name] = [_mean(list(column), per_node) for column in zip(*found, strict=True)]
        elif isinstance(found[0], list):
            values[name] = [math.nan] * num_nodes
            for (nodes, _), of_part in zip(here, found, strict=True):
                for node in nodes:
                    values[name][node] = of_part[node]
        elif name.startswith("mean_"):
            values[name] = _mean(found, per_node)
        elif name.startswith(("min_", "max_")):
            known = [value for value in found if value is not None]
            values[name] = (min if name.startswith("min_") else max)(known, default=math.nan)
        elif described.is_required():
            raise AssertionError(name)
    return METRICS[measure](**values)


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float:
    """Return the weighted mean of the values that are known."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else math.nan
