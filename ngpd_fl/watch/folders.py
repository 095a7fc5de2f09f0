"""Runs and studies in the watched folders, looked for again and again, and looked at while somebody watches."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ngpd_fl.report.line_styles import line_styles
from ngpd_fl.watch.event_log import EventLog
from ngpd_fl.watch.run import WatchedRun, key_of
from ngpd_fl.watch.study import STUDY, WatchedStudy

_RUNS, _OF_A_STUDY = 24, 6
"""Most runs that are shown, and most of one study: those that were written last."""

_DEPTH, _ENTRIES = 4, 20_000
"""Levels of sub-folders that are searched, and folders in all."""

_LONG = 200
"""Most characters of the words about a fault."""

_SEARCH, _SHARE = 2.0, 0.05
"""Seconds between two searches at least; share of the time that searching may take."""


class WatchedFolders:
    """The runs and studies in some folders.

    Attributes:
        runs: the runs that are shown, by key, in the order of their paths.
        studies: the studies, by key.
        left_out: number of runs that are not shown.
        title: names of the folders, which tell them apart.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Name the folders, which need not exist yet; nothing is read."""
        self._names = _names([path.absolute() for path in paths])
        self.title = ", ".join(self._names.values())
        self.runs: dict[str, WatchedRun] = {}
        self.studies: dict[str, WatchedStudy] = {}
        self.left_out = 0
        self._logs: dict[str, EventLog] = {}
        self._next_search = 0.0

    def poll(self) -> bool:
        """Read what is new but for event logs; return whether more is there."""
        now = time.monotonic()
        if now >= self._next_search:
            self._search()
            took = time.monotonic() - now
            self._next_search = now + max(_SEARCH, took / _SHARE)
        for run in self.runs.values():
            run.poll()
        for study in self.studies.values():
            study.poll()
        return any(run.is_behind for run in self.runs.values())

    def poll_logs(self, looked_at: set[str]) -> bool:
        """Read what is new in the event logs of runs that somebody looks at; return whether more is there.

        Args:
            looked_at: their keys, as ``chosen_run`` takes them.
        """
        looked_at = {self.chosen_run(key) for key in looked_at}
        self._logs = {key: log for key, log in self._logs.items() if key in looked_at and key in self.runs}
        for key in looked_at & self.runs.keys():
            if (log := self._log(self.runs[key])) is not None:
                log.poll()
        return any(log.is_behind for log in self._logs.values())

    def chosen_run(self, key: str) -> str:
        """Return the key of the run that is meant: an empty one means the first that goes on, or else the first."""
        going = [run.key for run in self.runs.values() if run.is_running]
        return key or next(iter([*going, *self.runs]), "")

    def _log(self, run: WatchedRun) -> EventLog | None:
        graph = run.graph
        if graph is None or graph.topology is None or not (run.path / "events.jsonl").exists():
            self._logs.pop(run.key, None)
        elif (
            run.key not in self._logs or self._logs[run.key].topology is not graph.topology
        ):  # another run's folder now
            self._logs[run.key] = EventLog(run.path / "events.jsonl", graph.topology)
        return self._logs.get(run.key)

    def _search(self) -> None:
        """Find the runs and studies that are there now; what is known already keeps its state."""
        runs: dict[str, WatchedRun] = {}
        studies: dict[str, WatchedStudy] = {}
        for root, title in self._names.items():
            for path, is_run in _holders(root):
                within = path.relative_to(root).as_posix()
                name = title if path == root else f"{title}/{within}" if len(self._names) > 1 else within
                if is_run:
                    run = WatchedRun(path, name)
                    runs[run.key] = self.runs.get(run.key, run)
                else:
                    study = WatchedStudy(path, name)
                    studies[study.key] = self.studies.get(study.key, study)
        study_of = {run.key: studies.get(key_of(run.path.parent.parent)) for run in runs.values()}
        shown: set[str] = set()
        in_study: Counter[str] = Counter()
        for run in sorted(runs.values(), key=lambda run: run.age):
            if (of := study_of[run.key]) is not None:
                in_study[of.key] += 1
                if in_study[of.key] > _OF_A_STUDY:
                    continue
                run.rename(of.run_name(run.path.name))
            if len(shown) < _RUNS:
                shown.add(run.key)
        self.runs = {key: run for key, run in runs.items() if key in shown}
        self.studies, self.left_out = studies, len(runs) - len(self.runs)

    def line_styles(self) -> dict[str, dict[str, str]]:
        """Return the styles of the runs' lines, by key: those that a report about these runs gives them."""
        labels = {f"{run.name} {key}": key for key, run in self.runs.items()}
        methods = {label: config.method if (config := self.runs[key].config) else "" for label, key in labels.items()}
        return {
            labels[label]: {**style._asdict(), "outline": style.outline}
            for label, style in line_styles(methods).items()
        }

    def versions(self) -> tuple[Any, ...]:
        """Return what differs after any change."""
        runs, studies = self.runs.values(), self.studies.values()
        logs = ((key, log.version) for key, log in self._logs.items())
        return (
            *((run.key, run.version) for run in runs),
            *((study.key, study.version) for study in studies),
            *(logs),
            self.left_out,
        )

    def detail(self, key: str) -> dict[str, Any] | None:
        """Return all about the nodes of one run: values, figures of its edges, timeline, notices and faults."""
        key = self.chosen_run(key)
        run = self.runs.get(key)
        if run is None:
            return None
        log, graph = self._logs.get(key), run.graph
        faults = {} if run.config is None else run.config.faults.model_dump(mode="json", exclude_defaults=True)
        return {
            "run": key,
            "graph": None if graph is None else graph.key,
            "quantities": self._values(run),
            "edges": {} if log is None else log.edges(),
            "timeline": None if log is None else log.timeline(),
            "notices": [] if log is None else log.notices(),
            "counts": {} if log is None else log.counts(),
            "problem": "" if log is None else log.problem,
            "faults": {name: _words(value)[:_LONG] for name, value in faults.items()},
            "resumed": run.resumed,
        }

    def detail_versions(self, key: str) -> tuple[Any, ...]:
        """Return what differs after any change of ``detail``."""
        key = self.chosen_run(key)
        run, log = self.runs.get(key), self._logs.get(key)
        peers = () if run is None else tuple((peer.key, peer.version) for peer in self._peers(run))
        return (key, None if run is None else run.version, None if log is None else log.version, *peers)

    def _peers(self, run: WatchedRun) -> list[WatchedRun]:
        """Return the other peers of a peer's run."""
        if run.hosted is None:
            return []
        return [other for other in self.runs.values() if other is not run and other.hosted and _together(run, other)]

    def _values(self, run: WatchedRun) -> dict[str, dict[str, Any]]:
        """Return the nodes' values, those of other peers in their places."""
        values = run.values()
        for other in self._peers(run):
            for name, quantity in other.values().items():
                ours = values.setdefault(name, quantity)["values"]
                for node in other.hosted or ():
                    if node < min(len(ours), len(quantity["values"])):
                        ours[node] = quantity["values"][node]
        return values


def last_written(parent: Path) -> Path | None:
    """Return the folder in a folder that holds the run or the study that was written last; None if there is none."""
    ages = {}
    for path in parent.iterdir() if parent.is_dir() else ():
        if path.is_dir() and (there := [WatchedRun(holder, "").age for holder, _ in _holders(path)]):
            ages[path] = min(there)
    return min(ages, key=lambda path: ages[path], default=None)


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the shortest ends of paths that tell them apart, without what all of them end with.

    ``a/records`` and ``b/records`` are a and b.
    """
    rest = {path: path.parts for path in paths}
    while len(rest) > 1 and len({parts[-1:] for parts in rest.values()}) == 1:
        rest = {path: parts[:-1] for path, parts in rest.items()}
    length = 1
    while len({parts[-length:] for parts in rest.values()}) < len(rest):
        length += 1
    return {path: "/".join(parts[-length:]) for path, parts in rest.items()}


def _together(one: WatchedRun, other: WatchedRun) -> bool:
    return bool(one.identity) and one.identity == other.identity


def _words(value: Any) -> str:
    """Return a fault's settings in words, e.g. ``node 3, at_s 0.02``."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    return "; ".join(map(_words, value)) if isinstance(value, list | tuple) else str(value)


def _holders(root: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of runs and studies in a folder, and whether each is a run's; links are not followed."""
    seen = 0
    for folder, inner, files in os.walk(root):
        seen += 1
        path = Path(folder)
        depth = len(path.relative_to(root).parts)
        if "config.toml" in files:
            inner.clear()
            yield path, True
        elif STUDY in files:
            yield path, False
        if depth >= _DEPTH or seen > _ENTRIES:
            inner.clear()
        inner[:] = sorted(name for name in inner if not name.startswith("."))
