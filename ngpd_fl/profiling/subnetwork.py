"""A smaller network with the mean degree of the whole, on which rounds are measured."""

from __future__ import annotations

import networkx as nx

from topologies import Topology

_FEWEST_NODES = 8


def smallest_part(topology: Topology) -> int:
    """Return the number of nodes of the smallest part with the network's mean degree."""
    fewest = max(_FEWEST_NODES, _mean_degree(topology) + 2)
    size: int = min(fewest + fewest % 2, topology.num_nodes)
    return size


def _mean_degree(topology: Topology) -> int:
    return max(round(float(topology.degrees.mean())), 1)


def part_of(topology: Topology, size: int) -> Topology:
    """Return a regular network of ``size`` nodes (an even number) with the mean degree, or the whole network."""
    if size == topology.num_nodes:
        return topology
    degree = _mean_degree(topology)
    opposite = [size // 2] * (degree % 2)
    return Topology([nx.circulant_graph(size, [*range(1, degree // 2 + 1), *opposite])])
