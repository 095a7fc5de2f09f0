"""Checks that faults are about nodes and edges that are there."""

from __future__ import annotations

from ngpd_fl.config import FaultsConfig, InputError
from topologies import Topology


def check_faults(config: FaultsConfig, topology: Topology) -> None:
    """Raise ``InputError`` with one line where a schedule names a node or an edge that is not there."""
    for key, nodes in config.nodes().items():
        if nodes and max(nodes) >= topology.num_nodes:
            last = topology.num_nodes - 1
            raise InputError(f"faults.{key}: there is no node {max(nodes)}; allowed: 0 to {last}")
    edges = {frozenset(pair) for pair in topology.edges.tolist()}
    for number, cut in enumerate(config.cut):
        for pair in cut.edges:
            if frozenset(pair) not in edges:
                raise InputError(f"faults.cut.{number}.edges: there is no edge between {pair[0]} and {pair[1]}")
