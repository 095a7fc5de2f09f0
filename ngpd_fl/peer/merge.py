"""The records of all peers of a run, put together into one folder that reads like any other run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ngpd_fl.config import InputError, require_trust
from ngpd_fl.evaluation.saved_models import add_average
from ngpd_fl.peer.merged_metrics import Account, add_up, are_alike, join
from ngpd_fl.peer.run import is_mostly_skipped, read_self, run_id
from ngpd_fl.records import RunFolder, RunRecorder
from ngpd_fl.training import compose


@dataclass
class Part(Account):
    """One peer's records.

    Attributes:
        folder: where they are.
        models: its nodes' models by name; empty where it has not ended.
    """

    folder: RunFolder = field(kw_only=True)
    models: dict[str, dict[str, Tensor]] = field(kw_only=True)

    @classmethod
    def open(cls, path: Path) -> Part:
        """Read a peer's folder; raise ``InputError`` where it is none."""
        folder = RunFolder.open(path)
        nodes, *_ = read_self(path)
        has_ended = (path / "summary.json").exists()
        metrics = {metrics.round: metrics for metrics in folder.metrics()}
        summary, models = (folder.summary(), folder.models()) if has_ended else ({}, {})
        return cls(nodes, metrics, summary, folder=folder, models=models)


def gather(
    paths: Sequence[Path], out: Path, overrides: dict[str, Any] | None = None, *, trust_code: bool = False
) -> dict[str, Any]:
    """Put the records of a run's peers together.

    An evaluation holds the nodes that were evaluated in that round; others, away or in other rounds, are null. The
    averaged model is evaluated at the end, where every node's model and the data are there.

    Args:
        paths: the peers' folders. Those of peers that have not ended, or never will, count as far as they go.
        out: folder for the run's records; it must be empty or not there.
        overrides: keys of the configuration that are otherwise here, such as ``data.data_dir``.
        trust_code: whether code that the recorded configuration names (``package.module:name``) may run.

    Returns:
        The summary.

    Raises:
        InputError: the folders are not those of one run's peers, or nothing was recorded yet.
    """
    parts = [Part.open(path) for path in paths]
    _check_together(parts)
    config = parts[0].folder.config(overrides)
    trusted = require_trust(config, parts[0].folder.path, trust_code)
    environment = parts[0].folder.environment()
    folder = RunFolder.create(out, config, {key: value for key, value in environment.items() if key != "data"})
    counts = [part.folder.label_counts() for part in parts]
    if all(each is not None for each in counts):
        joined = np.zeros_like(counts[0])
        if {each.shape for each in counts if each is not None} != {(config.topology.nodes, joined.shape[1])}:
            raise InputError(f"{parts[0].folder.path}: label_counts.json is of another run than those of the others")
        for part, of_part in zip(parts, counts, strict=True):
            joined[part.nodes] = of_part[part.nodes]  # type: ignore[index]
        folder.add_counts(joined)
    recorder = RunRecorder(config, _first(parts, "parameters"), _first(parts, "unused_classes") or [], folder)
    recorder.evaluated_on = _first(parts, "evaluated_on") or "common"
    for round in sorted({round for part in parts for round in part.metrics}):
        join(parts, round, recorder)
    recorder.status = _status(parts)
    add_up(parts, recorder)
    models = {name: model for part in parts for name, model in part.models.items()}
    summary = recorder.summary() | {"peers": [part.summary.get("peer", {"nodes": part.nodes}) for part in parts]}
    folder.finish(summary, models)
    if len(models) < config.topology.nodes:
        return summary
    try:
        job = compose(trusted)
    except InputError:  # the data are at the nodes
        return summary
    return add_average(folder, job.model, job.topology.num_nodes, job.evaluate)[1]


def _check_together(parts: Sequence[Part]) -> None:
    run = run_id(parts[0].folder.config())
    hosts: dict[int, Path] = {}
    nodes = parts[0].folder.config().topology.nodes
    first = next((each for part in parts for each in part.metrics.values()), None)
    for part in parts:
        path = part.folder.path
        if unknown := sorted(set(part.nodes) - set(range(nodes))):
            raise InputError(f"{path}: node {unknown[0]} is not in the topology; allowed: 0 to {nodes - 1}")
        if first is not None and not all(are_alike(each, first, nodes) for each in part.metrics.values()):
            raise InputError(f"{path}: its evaluations are of another network")
        if run_id(part.folder.config()) != run:
            raise InputError(f"{path}: is of another run than {parts[0].folder.path} (their config.toml differ)")
        for node in part.nodes:
            if node in hosts:
                raise InputError(f"{path}: node {node} is in {hosts[node]} already")
            hosts[node] = path
    if not any(part.metrics for part in parts):
        raise InputError(f"{parts[0].folder.path}: nothing was recorded yet")


def _status(parts: Sequence[Part]) -> str:
    """Return the worst of the peers' statuses; one that was away for most rounds spoils the run of others only as far.

    A peer that came to the end, but left out most rounds, has failed. The network has, where all nodes together have
    left out most of theirs.
    """
    found, skipped, nodes = set(), 0, 0
    for part in parts:
        summary, of_part = part.summary, part.summary.get("peer", {}).get("rounds_skipped", 0)
        planned = summary.get("rounds_planned", 0)
        skipped, nodes = skipped + of_part * len(part.nodes), nodes + len(part.nodes)
        is_at_end = summary.get("rounds") == planned and is_mostly_skipped(of_part, planned)
        found.add("finished" if is_at_end else summary.get("status", "interrupted"))
    if is_mostly_skipped(skipped / nodes, parts[0].folder.config().training.rounds):
        found.add("failed")
    return next(status for status in ("diverged", "failed", "interrupted", "finished") if status in found)


def _first(parts: Sequence[Part], key: str) -> Any:
    return next((part.summary[key] for part in parts if key in part.summary), 0)
