"""The records of all peers of a run, put together into one folder that reads like any other run's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ngpd_fl.composition import compose
from ngpd_fl.config import Config, InputError
from ngpd_fl.judging import add_average
from ngpd_fl.peer.running import read_self, run_id
from ngpd_fl.records import METRICS, Ledger, Metrics, RunFolder


class Part(NamedTuple):
    """What one peer has recorded.

    Attributes:
        folder: its records.
        nodes: those that it hosts.
        metrics: its evaluations by round.
        summary: its result; empty where it has not ended.
        models: its nodes' models by name; empty where it has not ended.
    """

    folder: RunFolder
    nodes: list[int]
    metrics: dict[int, Metrics]
    summary: dict[str, Any]
    models: dict[str, dict[str, Tensor]]

    @classmethod
    def open(cls, path: Path) -> Part:
        """Read a peer's folder; raise ``InputError`` where it is none."""
        folder = RunFolder.open(path)
        nodes, _ = read_self(path)
        has_ended = (path / "summary.json").exists()
        metrics = {metrics.round: metrics for metrics in folder.metrics()}
        return cls(folder, nodes, metrics, folder.summary() if has_ended else {}, folder.models() if has_ended else {})

    def latest(self, round: int) -> Metrics | None:
        """Return the last evaluation until a round; None: there is none yet."""
        return self.metrics.get(max((each for each in self.metrics if each <= round), default=-1))


def gather(paths: Sequence[Path], out: Path, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Put the records of a run's peers together.

    An evaluation holds the nodes that were judged in that round; others, away or in other rounds, are null. The
    averaged model is judged at the end, where every node's model and the data are there.

    Args:
        paths: the peers' folders. Those of peers that have not ended, or never will, count as far as they go.
        out: folder for the run's records; it must be empty or not there.
        overrides: keys of the configuration that are otherwise here, such as ``data.data_dir``.

    Returns:
        The summary.

    Raises:
        InputError: the folders are not those of one run's peers, or nothing was recorded yet.
    """
    parts = [Part.open(path) for path in paths]
    _check_together(parts)
    config = Config.load(parts[0].folder.path / "config.toml", overrides or {})
    environment = parts[0].folder.environment()
    folder = RunFolder.create(out, config, {key: value for key, value in environment.items() if key != "data"})
    counts = [part.folder.label_counts() for part in parts]
    if all(each is not None for each in counts):
        joined = np.zeros_like(counts[0])
        for part, of_part in zip(parts, counts, strict=True):
            joined[part.nodes] = of_part[part.nodes]  # type: ignore[index]
        folder.add_counts(joined)
    ledger = Ledger(config, _first(parts, "parameters"), _first(parts, "unused_classes") or [], folder)
    ledger.judged_on = _first(parts, "judged_on") or "common"
    for round in sorted({round for part in parts for round in part.metrics}):
        metrics = _joined(parts, round, config.topology.nodes)
        ledger.metrics.append(metrics)
        folder.add(metrics)
    ledger.round, ledger.status = ledger.metrics[-1].round, _status(parts)
    for name in ("node_steps", "bytes_sent", "train_seconds", "evaluation_seconds"):
        values = [part.summary.get(name, getattr(part.latest(ledger.round), name, 0)) for part in parts]
        setattr(ledger, name, max(values) if name.endswith("seconds") else sum(values))
    models = {name: model for part in parts for name, model in part.models.items()}
    summary = ledger.summary() | {"peers": [part.summary.get("peer", {"nodes": part.nodes}) for part in parts]}
    folder.finish(summary, models)
    if len(models) < config.topology.nodes:
        return summary
    try:
        job = compose(config)
    except InputError:  # the data are at the nodes
        return summary
    return add_average(job, folder)[1]


def _check_together(parts: Sequence[Part]) -> None:
    run = run_id(parts[0].folder.config())
    hosts: dict[int, Path] = {}
    for part in parts:
        path = part.folder.path
        if run_id(part.folder.config()) != run:
            raise InputError(f"{path}: is of another run than {parts[0].folder.path} (their config.toml differ)")
        for node in part.nodes:
            if node in hosts:
                raise InputError(f"{path}: node {node} is in {hosts[node]} already")
            hosts[node] = path
    if not any(part.metrics for part in parts):
        raise InputError(f"{parts[0].folder.path}: nothing was recorded yet")


def _status(parts: Sequence[Part]) -> str:
    """Return the worst of the peers' statuses."""
    found = {part.summary.get("status", "interrupted") for part in parts}
    return next(status for status in ("diverged", "failed", "interrupted", "finished") if status in found)


def _first(parts: Sequence[Part], key: str) -> Any:
    return next((part.summary[key] for part in parts if key in part.summary), 0)


def _joined(parts: Sequence[Part], round: int, num_nodes: int) -> Metrics:
    """Return a round's evaluation of all nodes that were judged in it."""
    here = [(part.nodes, part.metrics[round]) for part in parts if round in part.metrics]
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
        values[name] = sum(getattr(part.latest(round), name, 0) for part in parts)
    for name, field in METRICS[measure].model_fields.items():
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
        elif field.is_required():
            raise AssertionError(name)
    return METRICS[measure](**values)


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float:
    """Return the weighted mean of the values that are known."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else math.nan
