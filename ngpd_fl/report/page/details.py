"""Details of single runs: graph and node values over the rounds, partition, timeline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from ngpd_fl.config import build_topology
from ngpd_fl.records import Metrics
from ngpd_fl.report.layout import edge_lines, node_positions, node_radius, smallest_distance
from ngpd_fl.report.node_timelines import KINDS, chosen, excerpt, logged_timelines
from ngpd_fl.report.page.collection import RecordedRun
from ngpd_fl.report.page.curves import short, thinned
from ngpd_fl.report.page.groups import Cell
from ngpd_fl.report.setting import graph_words
from topologies import Topology

_BUDGET = 2_500_000
"""Most characters of all details together, so that the page stays small enough for mail."""

_ROUNDS = 60
"""Most evaluations on the slider."""

_ARC_POINTS = 24
"""Points of an edge that runs around a node."""


def details(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the graphs and the runs that refer to them by index, first seeds first, as many as fit into the page.

    Raises:
        InputError: a record is damaged.
    """
    graphs: dict[str, int] = {}
    drawn: list[dict[str, Any]] = []
    runs, size, left_out = [], 0, 0
    for run, place in _first_seeds_first(cells):
        if size >= _BUDGET:
            left_out += 1
            continue
        topology = build_topology(run.config)
        graph = _graph(run, topology)
        key = json.dumps(graph)
        if key not in graphs:
            graphs[key] = len(drawn)
            drawn.append(graph)
            size += len(key)
        entry = {
            **place,
            "graph": graphs[key],
            **_values(run),
            "labels": labels(run),
            "timeline": _timeline(run, topology),
        }
        size += len(json.dumps(entry))
        runs.append(entry)
    return {"graphs": drawn, "runs": sorted(runs, key=lambda entry: entry["order"]), "left_out": left_out}


def labels(run: RecordedRun) -> dict[str, Any] | None:
    """Return the nodes' training examples per class; None if they were not recorded."""
    counts = run.folder.label_counts()
    return None if counts is None else {"counts": counts.tolist(), "group": run.outcome.measure.group}


def run_names(cells: Sequence[Cell]) -> list[str]:
    """Return names of all runs: label and seed, with the setting or else the folder where they repeat."""
    named = [
        (f"{group.label}, seed {run.config.seed}", cell.title, run.path)
        for cell in cells
        for group in cell.groups
        for run in group.runs
    ]
    forms = [(name, f"{name}: {title}", f"{name}: {path.name}", f"{name}: {path}") for name, title, path in named]
    counts = Counter(chain.from_iterable(forms))
    return [next((text for text in texts if counts[text] == 1), texts[-1]) for texts in forms]


def _first_seeds_first(cells: Sequence[Cell]) -> list[tuple[RecordedRun, dict[str, Any]]]:
    """Return the runs, all first seeds first, each with its place in the page."""
    places = [
        (number, run, {"cell": cell_index, "group": group_index})
        for cell_index, cell in enumerate(cells)
        for group_index, group in enumerate(cell.groups)
        for number, run in enumerate(group.runs)
    ]
    names = run_names(cells)
    numbered = [
        (number, run, {**place, "order": order, "name": names[order]})
        for order, (number, run, place) in enumerate(places)
    ]
    return [(run, place) for _, run, place in sorted(numbered, key=lambda item: item[0])]


def _graph(run: RecordedRun, topology: Topology) -> dict[str, Any]:
    """Return positions of nodes, lines of edges, and the smallest distance of nodes relative to the extent."""
    positions = node_positions(run.config.topology, topology)
    closest, extent = smallest_distance(positions), float(np.ptp(positions, axis=0).max())
    lines = edge_lines(positions, topology.edges, node_radius(closest, extent))
    return {
        "words": graph_words(run.config),
        "nodes": [_plain(axis) for axis in positions.T],
        "edges": [[_plain(axis) for axis in np.array(thinned(line.tolist(), _ARC_POINTS)).T] for line in lines],
        "spacing": short(closest / extent, 3),
        "names": run.config.topology.node_names,
    }


def _values(run: RecordedRun) -> dict[str, Any]:
    """Return the nodes' values at each evaluation."""
    shown: list[Metrics] = thinned(run.outcome.metrics, _ROUNDS)
    return {
        "rounds": [metrics.round for metrics in shown],
        "values": [[short(value, 3) for value in metrics.nodes] for metrics in shown],
    }


def _timeline(run: RecordedRun, topology: Topology) -> dict[str, Any] | None:
    """Return the nodes' intervals of each activity, ``[row, begin, length]`` in seconds; None without an event log."""
    if not run.folder.has_events:
        return None
    timelines = logged_timelines(run.path / "events.jsonl", topology)
    end, part = excerpt(timelines)
    nodes = chosen(timelines)
    intervals = {
        kind: [
            [row, short(begin), short(min(length, end - begin))]
            for row, node in enumerate(nodes)
            for begin, length in timelines[node].intervals[kind]
            if begin < end and length
        ]
        for kind in KINDS
    }
    return {
        "nodes": nodes,
        "part": part,
        "end": short(end),
        "intervals": {kind: times for kind, times in intervals.items() if times},
    }


def _plain(numbers: Any) -> list[float | None]:
    return [short(float(number), 4) for number in numbers]
