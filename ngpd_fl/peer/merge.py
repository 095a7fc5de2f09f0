"""Merge of the records of a run's peers into one folder, in the form of any other run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import Tensor

from ngpd_fl.config import InputError, conforming, one_line, require_trust
from ngpd_fl.evaluation.saved_models import add_average, require_fit
from ngpd_fl.peer.run import is_mostly_skipped, read_self, run_id
from ngpd_fl.records import METRICS, OF_ONE_RUN, Metrics, RunFolder, RunRecorder
from ngpd_fl.records.files import atomic_write
from ngpd_fl.records.new_folder import new_folder
from ngpd_fl.records.shapes import Summary
from ngpd_fl.training import compose


@dataclass
class PeerRecords:
    """The records of one peer so far.

    Attributes:
        nodes: the nodes that it hosts.
        metrics: its evaluations, by round.
        summary: its summary; empty if it has not ended.
    """

    nodes: list[int]
    metrics: dict[int, Metrics] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def latest(self, round: int) -> Metrics | None:
        """Return the last evaluation up to a round; None if there is none yet."""
        return self.metrics.get(max((evaluated for evaluated in self.metrics if evaluated <= round), default=-1))


@dataclass
class PeerFolder(PeerRecords):
    """The records of one peer in its folder.

    Attributes:
        folder: the folder.
        models: the models of its nodes by name; empty if it has not ended.
    """

    folder: RunFolder = field(kw_only=True)
    models: dict[str, dict[str, Tensor]] = field(kw_only=True)

    @classmethod
    def open(cls, path: Path) -> PeerFolder:
        """Read a peer's folder; raise ``InputError`` if it is not one."""
        folder = RunFolder.open(path)
        nodes, *_ = read_self(path)
        has_ended = (path / "summary.json").exists()
        metrics = {metrics.round: metrics for metrics in folder.metrics()}
        summary, models = (folder.summary(), folder.models()) if has_ended else ({}, {})
        models.pop("average", None)  # of one run alone; that of all peers is made of their models
        if others := models.keys() - {f"node{node}" for node in nodes}:
            raise InputError(f"{path / 'models.safetensors'}: the peer does not host {min(others)!r}")
        return cls(nodes, metrics, summary, folder=folder, models=models)


def gather(
    paths: Sequence[Path], out: Path, overrides: dict[str, Any] | None = None, *, trust_code: bool = False
) -> dict[str, Any]:
    """Merge the records of a run's peers.

    An evaluation has the values of the nodes that were evaluated in its round; the values of other nodes are null. The
    averaged model is evaluated only at the end, and only if every node's model and the data are available.

    Args:
        paths: the peers' folders. Peers that have not ended count as far as they went.
        out: folder for the run's records; it must be empty or not exist.
        overrides: keys of the configuration that differ on this machine, such as ``data.data_dir``.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.

    Returns:
        The summary.

    Raises:
        InputError: the folders are not those of the peers of one run, or nothing was recorded yet.
    """
    parts = [PeerFolder.open(path) for path in paths]
    _check_together(parts)
    config = parts[0].folder.config(overrides)
    trusted = require_trust(config, parts[0].folder.path, trust_code)
    environment = parts[0].folder.environment()
    counts = [part.folder.label_counts() for part in parts]
    joined = None if any(table is None for table in counts) else np.zeros_like(counts[0])
    if joined is not None:
        if {table.shape for table in counts if table is not None} != {(config.topology.nodes, joined.shape[1])}:
            raise InputError(f"{parts[0].folder.path}: label_counts.json is of another run than those of the others")
        for part, of_part in zip(parts, counts, strict=True):
            joined[part.nodes] = of_part[part.nodes]  # type: ignore[index]
    recorder = RunRecorder(config, _first(parts, "parameters"), _first(parts, "unused_classes") or [])
    recorder.evaluated_on = _first(parts, "evaluated_on") or "common"
    for round in sorted({round for part in parts for round in part.metrics}):
        merge_round(parts, round, recorder)
    recorder.status = _status(parts)
    merge_totals(parts, recorder)
    models = {name: model for part in parts for name, model in part.models.items()}
    summary = recorder.summary() | {"peers": [_peer(part) | {"nodes": part.nodes} for part in parts]}
    try:
        conforming(summary, Summary)
    except ValueError as error:
        raise InputError(f"the peers' records do not fit together ({error})") from error
    job = None
    if len(models) == config.topology.nodes:
        with suppress(InputError):  # the data are at the nodes
            job = compose(trusted)
    if job is not None:
        for part in parts:
            for name, model in part.models.items():
                require_fit(job.model, name, model, f"{part.folder.path / 'models.safetensors'}: is not of this run")
    # Nothing before this line writes, and what cannot be written, or is interrupted, leaves no folder either.
    of_all = {key: value for key, value in environment.items() if key not in OF_ONE_RUN}
    with new_folder(out, "gathered") as empty, atomic_write(empty) as partial:
        folder = RunFolder.create(partial, config, of_all)
        if joined is not None:
            folder.add_counts(joined)
        for metrics in recorder.metrics:
            folder.add(metrics)
        folder.finish(summary, models)
        return summary if job is None else add_average(folder, job.model, job.topology.num_nodes, job.evaluate)[1]


def _check_together(parts: Sequence[PeerFolder]) -> None:
    run = run_id(parts[0].folder.config())
    hosts: dict[int, Path] = {}
    nodes = parts[0].folder.config().topology.nodes
    first = next((metrics for part in parts for metrics in part.metrics.values()), None)
    for part in parts:
        path = part.folder.path
        if unknown := sorted(set(part.nodes) - set(range(nodes))):
            raise InputError(f"{path}: node {unknown[0]} is not in the topology; allowed: 0 to {nodes - 1}")
        if first is not None and not all(are_alike(metrics, first, nodes) for metrics in part.metrics.values()):
            raise InputError(f"{path}: its evaluations are of another network")
        if run_id(part.folder.config()) != run:
            raise InputError(f"{path}: is of another run than {parts[0].folder.path} (their config.toml differ)")
        for node in part.nodes:
            if node in hosts:
                raise InputError(f"{path}: node {node} is in {hosts[node]} already")
            hosts[node] = path
    if not any(part.metrics for part in parts):
        raise InputError(f"{parts[0].folder.path}: nothing was recorded yet")


def are_alike(metrics: Metrics, other: Metrics, nodes: int) -> bool:
    """Return whether two evaluations have the same measure and groups, and the first has this number of nodes."""
    of_groups = [
        len(getattr(evaluation, f"{other.measure.group}_{other.measure.key}", ())) for evaluation in (metrics, other)
    ]
    return metrics.measure is other.measure and len(metrics.nodes) == nodes and of_groups[0] == of_groups[1]


def _status(parts: Sequence[PeerFolder]) -> str:
    """Return the worst status of the peers.

    A peer that reached the end but skipped most rounds has failed. The whole run has failed only if all nodes together
    skipped most of their rounds.
    """
    statuses, skipped, nodes = set(), 0, 0
    for part in parts:
        summary, of_part = part.summary, _peer(part).get("rounds_skipped", 0)
        planned = summary.get("rounds_planned", 0)
        skipped, nodes = skipped + of_part * len(part.nodes), nodes + len(part.nodes)
        is_at_end = summary.get("rounds") == planned and is_mostly_skipped(of_part, planned)
        statuses.add("finished" if is_at_end else summary.get("status", "interrupted"))
    if is_mostly_skipped(skipped / nodes, parts[0].folder.config().training.rounds):
        statuses.add("failed")
    return next(status for status in ("diverged", "failed", "interrupted", "finished") if status in statuses)


def _peer(part: PeerFolder) -> dict[str, Any]:
    """Return what a peer's summary says about itself; nothing if it has not ended."""
    return part.summary.get("peer") or {}


def _first(parts: Sequence[PeerFolder], key: str) -> Any:
    return next((part.summary[key] for part in parts if key in part.summary), 0)


def merge_round(peers: Sequence[PeerRecords], round: int, recorder: RunRecorder) -> Metrics:
    """Merge and record the evaluations of a round; the values of nodes that were not evaluated are null."""
    metrics = _merged(peers, round, recorder.config.topology.nodes)
    recorder.round, recorder.node_steps, recorder.bytes_sent = round, metrics.node_steps, metrics.bytes_sent
    recorder.train_seconds = metrics.train_seconds
    recorder.metrics.append(metrics)
    if recorder.folder is not None:
        recorder.folder.add(metrics)
    return metrics


def merge_totals(peers: Sequence[PeerRecords], recorder: RunRecorder) -> None:
    """Set the counters to those of all peers, from their summaries or else their last evaluations."""
    for name in ("node_steps", "bytes_sent", "train_seconds", "evaluation_seconds"):
        values = [peer.summary.get(name, getattr(peer.latest(recorder.round), name, 0)) for peer in peers]
        setattr(recorder, name, max(values) if name.endswith("seconds") else sum(values))
    recorder.retries = {}
    for peer in peers:
        recorder.add_retries(peer.summary.get("decomposition_retries", {}))


def _merged(peers: Sequence[PeerRecords], round: int, num_nodes: int) -> Metrics:
    here = [(peer.nodes, peer.metrics[round]) for peer in peers if round in peer.metrics]
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
        values[name] = sum(getattr(peer.latest(round), name, 0) for peer in peers)
    for name, described in METRICS[measure].model_fields.items():
        if name in values:
            continue
        recorded = [getattr(metrics, name) for _, metrics in here]
        if name.startswith("averaged_model"):
            values[name] = None
        elif name == f"{measure.group}_{key}":
            values[name] = [_mean(list(column), per_node) for column in zip(*recorded, strict=True)]
        elif isinstance(recorded[0], list):
            values[name] = [math.nan] * num_nodes
            for (nodes, _), of_part in zip(here, recorded, strict=True):
                for node in nodes:
                    values[name][node] = of_part[node]
        elif name.startswith("mean_"):
            values[name] = _mean(recorded, per_node)
        elif name.startswith(("min_", "max_")):
            known = [value for value in recorded if value is not None]
            values[name] = (min if name.startswith("min_") else max)(known, default=math.nan)
        elif described.is_required():
            raise AssertionError(name)
    try:
        return METRICS[measure](**values)
    except ValidationError as error:
        message = f"the peers' evaluations in round {round} do not fit together"
        raise InputError(f"{message} ({one_line(error, METRICS[measure])})") from error


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float:
    """Return the weighted mean of the known values."""
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else math.nan
