"""What the page shows of one run at a time: its graph over the rounds, its split, what its nodes did when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ngpd_fl.clock import Replay
from ngpd_fl.config import build_topology
from ngpd_fl.records import Metrics
from ngpd_fl.report.layout import edge_lines, node_positions, smallest_distance
from ngpd_fl.report.page.collection import Run
from ngpd_fl.report.page.curves import short, thinned
from ngpd_fl.report.page.groups import Cell
from ngpd_fl.report.plots import all_events
from ngpd_fl.report.setting import graph_words
from ngpd_fl.report.timeline import KINDS, chosen, excerpt, read_courses
from topologies import Topology

_BUDGET = 2_500_000
"""Characters of all runs' details together: with them the page stays one that can be sent by mail."""

_ROUNDS = 60
"""So many evaluations are on the slider at most."""

_ARC_POINTS = 24
"""Of an edge that goes round a node."""


def details(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return graphs, and runs that refer to them by their place; the first seeds first, as many as there is room for.

    Raises:
        InputError: a record is damaged.
    """
    graphs: dict[str, int] = {}
    drawn: list[dict[str, Any]] = []
    found, size, left_out = [], 0, 0
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
        found.append(entry)
    return {"graphs": drawn, "runs": sorted(found, key=lambda each: each["order"]), "left_out": left_out}


def labels(run: Run) -> dict[str, Any] | None:
    """Return each node's training examples per class; None where the run did not record them."""
    counts = run.folder.label_counts()
    return None if counts is None else {"counts": counts.tolist(), "group": run.outcome.measure.group}


def _first_seeds_first(cells: Sequence[Cell]) -> list[tuple[Run, dict[str, Any]]]:
    """Return the runs by importance, each with its place in the page."""
    places = [
        (number, run, {"cell": cell_place, "group": group_place, "seed": run.config.seed})
        for cell_place, cell in enumerate(cells)
        for group_place, group in enumerate(cell.groups)
        for number, run in enumerate(group.runs)
    ]
    numbered = [(number, run, {**place, "order": order}) for order, (number, run, place) in enumerate(places)]
    return [(run, place) for _, run, place in sorted(numbered, key=lambda each: each[0])]


def _graph(run: Run, topology: Topology) -> dict[str, Any]:
    """Return places of nodes, edges as lines, and how far apart nodes are at least, as a share of the whole."""
    positions = node_positions(run.config.topology, topology)
    extent = float(np.ptp(positions, axis=0).max())
    closest = smallest_distance(positions)
    lines = [
        np.asarray(line) for line in edge_lines(positions, topology.edges, 1.2 * min(0.36 * closest, 0.06 * extent))
    ]
    return {
        "words": graph_words(run.config),
        "nodes": [_plain(axis) for axis in positions.T],
        "edges": [[_plain(axis) for axis in np.array(thinned(line.tolist(), _ARC_POINTS)).T] for line in lines],
        "spacing": short(closest / extent, 3),
        "names": run.config.topology.node_names,
    }


def _values(run: Run) -> dict[str, Any]:
    """Return what the nodes were worth, evaluation by evaluation."""
    shown: list[Metrics] = thinned(run.outcome.metrics, _ROUNDS)
    return {
        "rounds": [metrics.round for metrics in shown],
        "values": [[short(value, 3) for value in metrics.nodes] for metrics in shown],
    }


def _timeline(run: Run, topology: Topology) -> dict[str, Any] | None:
    """Return when the nodes computed, waited or were away, ``[begin, length]`` in seconds; None without a log."""
    if not run.folder.has_events:
        return None
    events = Replay(run.path / "events.jsonl", topology.num_nodes, len(topology.edges))
    courses = read_courses(all_events(events), topology.num_nodes)
    end, part = excerpt(courses)
    nodes = chosen(courses)
    spells = {
        kind: [
            [place, short(begin), short(min(length, end - begin))]
            for place, node in enumerate(nodes)
            for begin, length in courses[node].spells[kind]
            if begin < end and length
        ]
        for kind in KINDS
    }
    return {
        "nodes": nodes,
        "part": part,
        "end": short(end),
        "spells": {kind: each for kind, each in spells.items() if each},
    }


def _plain(numbers: Any) -> list[float | None]:
    return [short(float(number), 4) for number in numbers]
