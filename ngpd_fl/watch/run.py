"""One run as the page shows it, from its folder, while the run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ngpd_fl.config import Config, InputError, parse_json, read_record
from ngpd_fl.config.text_files import decoded
from ngpd_fl.records import Metrics, RunFolder
from ngpd_fl.records.growing_file import GrowingFile
from ngpd_fl.records.metrics import metrics_of
from ngpd_fl.records.shapes import PeerStart
from ngpd_fl.records.versions import current_peer
from ngpd_fl.report.costs import COSTS
from ngpd_fl.report.setting import setting_words
from ngpd_fl.watch.graph import Graph
from ngpd_fl.watch.numbers import Number, short, shorts
from ngpd_fl.watch.own_file import own_file, signature

_POINTS = 1_000
"""Evaluations kept for the curves; when there are twice as many, every other one is dropped."""

_FRESH = 30.0
"""Seconds for which a record shows that a run goes on whose lock cannot be seen, as on a shared folder."""

_RESUMED = 20
"""Most resumptions that are listed."""

_SMALL = ("config.toml", "environment.json", "summary.json", "peer.json")

_QUANTITIES = ("mean", "worst", "averaged_model", "consensus_distance", "train_loss")

POINT = (*(cost.key for cost in COSTS), *_QUANTITIES)
"""Columns of a point of the curves."""


class WatchedRun:
    """A run's records so far.

    Attributes:
        path: the folder.
        key: its name in addresses: the same after a restart.
        version: grows with every change.
        generation: grows when earlier points are no longer valid.
        points: a row of ``POINT`` for each evaluation.
        last: the last evaluation.
        config: the configuration; None while it is not there or cannot be read.
        summary: the content of ``summary.json``; empty while the run has not ended.
        hosted: the nodes of a peer; None of a whole run.
        resumed: the latest resumptions in another environment.
        identity: the same for the peers of one run.
        is_behind: whether more can be read at once.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Name the folder of a run, which may hold any part of its records; nothing is read."""
        self.path, self.name = path, name
        self.key = key_of(path)
        self.version = self.generation = 0
        self.points: list[list[Number]] = []
        self.last: Metrics | None = None
        self.config: Config | None = None
        self.summary: dict[str, Any] = {}
        self.hosted: list[int] | None = None
        self.resumed: list[dict[str, Any]] = []
        self.identity = ""
        self.is_behind = False
        self._metrics = GrowingFile(path / "metrics.jsonl")
        self._signatures: dict[str, Any] = {}
        self._problems: dict[str, str] = {}
        self._status, self._stride, self._seen = "", 1, 0
        self._graph: Graph | None = None

    def poll(self) -> None:
        """Read what is new."""
        changed = [name for name in _SMALL if self._has_changed(name)]
        if changed:
            self._read_small(changed)
        piece = self._metrics.read()
        self.is_behind = piece.is_behind
        if piece.is_anew:
            self._clear()
        for line in piece.lines:
            self._add(line)
        if len(self.points) > 2 * _POINTS:
            self.points = [*self.points[:-1:2], self.points[-1]]
            self._stride *= 2
            self.generation += 1
        status = self._current_status()
        if changed or piece.lines or piece.is_anew or status != self._status:
            self._status = status
            self.version += 1

    def rename(self, name: str) -> None:
        """Show the run under another name from now on."""
        if name != self.name:
            self.name = name
            self.version += 1

    def _clear(self) -> None:
        self.points, self.last, self._stride, self._seen = [], None, 1, 0
        self._problems.pop("metrics.jsonl", None)
        self.generation += 1

    def _has_changed(self, name: str) -> bool:
        before, self._signatures[name] = self._signatures.get(name), signature(self.path / name)
        return bool(before != self._signatures[name])

    def _read_small(self, changed: list[str]) -> None:
        """Read small files again; one that is half written, damaged, or a link is a problem that the page names."""
        folder = RunFolder(self.path)
        for name in changed:
            self._problems.pop(name, None)
            try:
                is_there = self._signatures[name] is not None
                if is_there:
                    own_file(self.path / name)
                if name == "config.toml":
                    self.config = folder.config() if is_there else None
                    self.identity = _identity(self.config) if self.config else ""
                    self._graph = None
                elif name == "summary.json":
                    self.summary = folder.summary() if is_there else {}
                elif name == "environment.json":
                    self.resumed = folder.environment().get("resumed", [])[-_RESUMED:] if is_there else []
                elif name == "peer.json":
                    self.hosted = read_record(self.path / name, PeerStart, current_peer)["nodes"] if is_there else None
            except InputError as error:
                self._problems[name] = str(error).replace(str(self.path), self.name)

    def _add(self, line: bytes) -> None:
        try:
            metrics = metrics_of(parse_json(decoded(line)))
        except ValueError:
            self._problems["metrics.jsonl"] = "metrics.jsonl has damaged lines, which are left out"
            return
        self.last = metrics
        self._seen += 1
        point = _point(metrics)
        if self.points and self._stride > 1 and self._seen % self._stride:
            self.points[-1] = point
            self.generation += 1
        else:
            self.points.append(point)

    def _current_status(self) -> str:
        """Return the status: that of the summary, or whether the run goes on."""
        if self.summary:
            return str(self.summary["status"])
        try:
            own_file(self.path / "config.toml")
            if RunFolder(self.path).is_running:
                return "running"
        except (InputError, OSError):
            return "unfinished"
        return "running" if self.age < _FRESH else "unfinished"

    @property
    def age(self) -> float:
        """Seconds since something was recorded."""
        times = [0.0]
        for name in ("metrics.jsonl", "config.toml"):
            try:
                times.append((self.path / name).lstat().st_mtime)
            except OSError:
                continue
        return time.time() - max(times)

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended, as far as can be seen."""
        return self._status == "running"

    @property
    def graph(self) -> Graph | None:
        """The run's graph; None without a configuration or, for a baseline, without a graph."""
        if self._graph is None and self.config is not None and self.config.training.baseline is None:
            self._graph = Graph.of(self.config)
        return self._graph

    @property
    def problems(self) -> list[str]:
        """Files that cannot be read, with the reasons."""
        return [*self._problems.values(), *filter(None, [self._metrics.problem])]

    def head(self) -> dict[str, Any]:
        """Return everything about the run but its points."""
        last, config = self.last, self.config
        measure = None if last is None else last.measure
        planned = 0 if config is None else config.training.rounds
        final = self.summary.get("final") or {}
        left = None
        if last is not None and last.round and self.is_running:
            left = short(last.train_seconds / last.round * max(planned - last.round, 0))
        return {
            "key": self.key,
            "name": self.name,
            "method": "" if config is None else config.method,
            "words": "" if config is None else setting_words(config),
            "status": self._status,
            "problems": self.problems,
            "round": self.summary.get("rounds") or (0 if last is None else last.round),
            "planned": planned,
            "left": left,
            "final": {
                "consensus_distance": short(final.get("consensus_distance")),
                "averaged_model": None if measure is None else short(final.get(f"averaged_model_{measure.key}")),
            },
            "age": round(self.age),
            "target": None if config is None else config.training.until_accuracy,
            "nodes": self.hosted,
            "measure": None
            if measure is None
            else {key: getattr(measure, key) for key in ("name", "label", "factor", "unit", "higher_is_better")},
        }

    def values(self) -> dict[str, dict[str, Any]]:
        """Return the quantities of each node at the last evaluation: label, direction, and values."""
        last = self.last
        if last is None:
            return {}
        own = f"own_{last.measure.key}"
        names = {last.measure.key: last.measure, own: last.measure, **{other.key: other for other in last.others}}
        return {
            key: {
                "label": measure.label if key != own else f"{measure.name} on own {measure.groups}",
                "factor": measure.factor,
                "unit": measure.unit,
                "higher": measure.higher_is_better,
                "values": shorts(float("nan") if value is None else value for value in getattr(last, key)),
            }
            for key, measure in names.items()
        }


def key_of(path: Path) -> str:
    """Return the name of a folder in addresses."""
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]


def _point(metrics: Metrics) -> list[Number]:
    return [
        short(value)
        for value in (*(cost.of(metrics) for cost in COSTS), *(getattr(metrics, name) for name in _QUANTITIES))
    ]


def _identity(config: Config) -> str:
    """Return what the peers of one run have in common."""
    shared = config.model_dump(mode="json", exclude={"data": {"data_dir", "download"}, "engine": True})
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()
