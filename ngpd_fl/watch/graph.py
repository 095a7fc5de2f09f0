"""The graph of a run for the page: built and laid out once, when somebody looks at it."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from ngpd_fl.config import Config, InputError, build_topology
from ngpd_fl.report.layout import edge_lines, node_positions, node_radius, smallest_distance
from ngpd_fl.report.setting import graph_words
from ngpd_fl.watch.numbers import short, shorts
from topologies import Topology

_NODES = 3_000
"""Most nodes of a graph that is built."""

_EDGES, _ARC_POINTS = 60_000, 24
"""Most edges that are drawn; points of an edge that runs around a node."""

_CACHED = 8

_lock = threading.Lock()
_cache: OrderedDict[str, Graph] = OrderedDict()


class Graph:
    """A graph and its layout.

    Attributes:
        key: the same for the same graph.
        topology: the graph; None where it is too large, or cannot be built here.
        problem: the reason for that.
    """

    def __init__(self, config: Config, key: str) -> None:
        """Take the options of a graph; nothing is built yet."""
        self._config = config.topology
        self.key, self.problem = key, ""
        self.topology: Topology | None = None
        self.names = [name[:40] for name in config.topology.node_names]
        self.words = graph_words(config)
        self._layout: dict[str, Any] | None = None
        self._lock = threading.Lock()
        nodes = config.topology.nodes
        edges = nodes * min(config.topology.mean_degree, nodes - 1) / 2
        if nodes > _NODES or edges > _EDGES:
            self.problem = f"a graph of {nodes:,} nodes and about {edges:,.0f} edges is too large to be drawn here"
            return
        try:
            self.topology = build_topology(config)
        except (InputError, ValueError, OSError) as error:
            self.problem = str(error)

    @classmethod
    def of(cls, config: Config) -> Graph:
        """Return the graph of a configuration, the same one for the same options and seed."""
        text = f"{config.topology.model_dump_json()} {config.seed}"
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        with _lock:
            if key not in _cache:
                _cache[key] = cls(config, key)
                if len(_cache) > _CACHED:
                    _cache.popitem(last=False)
            return _cache[key]

    def layout(self) -> dict[str, Any]:
        """Return places of nodes, lines of edges, and names, in a square of side 1. Many nodes take seconds."""
        with self._lock:
            if self._layout is None:
                self._layout = self._laid_out()
            return self._layout

    def _laid_out(self) -> dict[str, Any]:
        if self.topology is None:
            return {"key": self.key, "words": self.words, "problem": self.problem, "nodes": [[], []]}
        positions = node_positions(self._config, self.topology)
        edges, too_many = self.topology.edges, len(self.topology.edges) > _EDGES
        closest, extent = smallest_distance(positions), float(np.ptp(positions, axis=0).max())
        lines = [] if too_many else edge_lines(positions, edges, node_radius(closest, extent))
        everything = np.concatenate([positions, *lines])
        low, size = everything.min(axis=0), np.ptp(everything, axis=0)
        extent = float(size.max()) or 1.0

        def placed(points: Any) -> Any:
            """Return points in the middle of the square; a screen's y grows downward."""
            return np.array([0, 1]) + np.array([1, -1]) * (
                (np.asarray(points) - low) / extent + (1 - size / extent) / 2
            )

        positions, lines, closest = placed(positions), [placed(line) for line in lines], closest / extent
        return {
            "key": self.key,
            "words": self.words,
            "problem": f"{len(edges):,} edges are too many to be drawn" if too_many else "",
            "names": self.names,
            "nodes": [shorts(axis) for axis in positions.T.tolist()],
            "ends": [] if too_many else edges.tolist(),
            "edges": [_thin(line) for line in lines],
            "spacing": short(closest, 4),
        }


def _thin(line: Any) -> list[Any]:
    """Return the points of an edge after each other; nothing for a straight one, whose ends say all."""
    if len(line) == 2:
        return []
    places = np.linspace(0, len(line) - 1, _ARC_POINTS).round().astype(int)
    return shorts(np.asarray(line)[places].reshape(-1).tolist())
