"""Layout of a graph: positions of its nodes and lines of its edges."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topologies import Topology, TopologyOptions, TorusOptions

Points = NDArray[np.float64]

_ROUND = (
    *("ring", "circulant", "exponential", "one-peer-exponential", "complete", "watts-strogatz"),
    *("directed-ring", "directed-exponential", "directed-one-peer-exponential"),
)
"""Families laid out on a circle."""

_KAMADA_KAWAI = 150
"""Most nodes for the layout by distances in the graph, which is slow for more."""

_STEPS = 50
"""Steps of the layout by forces."""

_DETOURS = 2_000_000
"""Most pairs of an edge and a node for which to avoid edges over nodes."""


def node_positions(options: TopologyOptions, topology: Topology) -> Points:
    """Return the nodes' positions, ``[N, 2]``, in the shape of the family if it has one."""
    num_nodes = topology.num_nodes
    if options.name in _ROUND:
        return _circle(num_nodes)
    if options.name == "star":
        return np.concatenate([np.zeros((1, 2)), _circle(num_nodes - 1)])
    if options.name == "path":
        return _serpentine(num_nodes)
    if isinstance(options, TorusOptions):
        rows = options.rows or max(rows for rows in range(1, math.isqrt(num_nodes) + 1) if num_nodes % rows == 0)
        return _grid(num_nodes, num_nodes // rows) if rows > 1 else _circle(num_nodes)
    if num_nodes > _KAMADA_KAWAI:
        return _spring(num_nodes, topology.edges)
    places = nx.kamada_kawai_layout(topology.graph)
    return np.array([places[node] for node in range(num_nodes)])


def edge_lines(positions: Points, edges: NDArray[np.int64], radius: float) -> list[Points]:
    """Return the edges as points of lines: straight, or an arc around a node on the way.

    Args:
        positions: positions of the nodes, ``[N, 2]``.
        edges: the edges, int64 ``[E, 2]``.
        radius: of the nodes, which straight edges do not touch.
    """
    ends = positions[edges]  # [E, 2, 2]
    if len(edges) * len(positions) > _DETOURS:
        return list(ends)
    inward, clearance = _is_round(positions), 1.2 * radius
    return [
        _arc(start, end, 1.15 * clearance, inward) if _passes_over(start, end, positions, clearance) else line
        for line in ends
        for start, end in [line]
    ]


def node_radius(closest: float, extent: float) -> float:
    """Return the radius of the drawn nodes, from their smallest distance and the extent of their positions."""
    return min(0.36 * closest, 0.06 * extent)


def smallest_distance(positions: Points) -> float:
    """Return the smallest distance between two nodes."""
    closest = [np.linalg.norm(positions[i + 1 :] - positions[i], axis=1).min() for i in range(len(positions) - 1)]
    return float(min(closest))


def _spring(num_nodes: int, edges: NDArray[np.int64]) -> Points:
    """Return positions after Fruchterman and Reingold (1991): edges attract their ends, and all nodes repel each other.

    The forces of a step are matrix products, so that 1,000 nodes take a fifth of a second, not the seconds of a loop.
    """
    start = np.random.default_rng(0).random((num_nodes, 2))
    places = start.astype(np.float32)
    ideal, ends = np.float32(1 / math.sqrt(num_nodes)), np.concatenate([edges, edges[:, ::-1]])
    for step in range(_STEPS):
        squares = (places**2).sum(axis=1)
        squared = places @ (-2 * places.T)
        squared += squares
        squared += squares[:, None]
        np.maximum(squared, np.float32(1e-6), out=squared)
        repulsion = np.divide(ideal**2, squared, out=squared)
        np.fill_diagonal(repulsion, 0)
        force = places * repulsion.sum(axis=1)[:, None] - repulsion @ places
        along = places[ends[:, 1]] - places[ends[:, 0]]
        pull = along * np.linalg.norm(along, axis=1)[:, None] / ideal
        for axis in range(2):
            force[:, axis] += np.bincount(ends[:, 0], pull[:, axis], num_nodes).astype(np.float32)
        length = np.maximum(np.linalg.norm(force, axis=1), np.float32(1e-6))[:, None]
        places += force / length * np.minimum(length, np.float32(0.1 * (1 - step / _STEPS)))
    return places.astype(np.float64)


def _circle(num_nodes: int) -> Points:
    """Return positions on a circle: node 0 on top, the others clockwise; two nodes side by side."""
    angles = 2 * np.pi * np.arange(num_nodes) / num_nodes + (np.pi / 2 if num_nodes == 2 else 0)
    return np.stack([np.sin(angles) * (-1 if num_nodes == 2 else 1), np.cos(angles)], axis=1)


def _grid(num_nodes: int, columns: int) -> Points:
    """Return positions row by row from the top left."""
    rows, places = np.divmod(np.arange(num_nodes), columns)
    return np.stack([places, -rows], axis=1).astype(np.float64)


def _serpentine(num_nodes: int) -> Points:
    """Return positions in rows of about ten that alternate in direction, so that neighbors stay close."""
    columns = max(min(num_nodes, 10), math.isqrt(num_nodes))
    grid = _grid(num_nodes, columns)
    odd = grid[:, 1] % 2 == 1
    grid[odd, 0] = columns - 1 - grid[odd, 0]
    return grid


def _passes_over(start: Points, end: Points, positions: Points, clearance: float) -> bool:
    """Return whether a node lies closer than ``clearance`` to the segment, between its ends."""
    along = end - start
    length = float(np.linalg.norm(along))
    offset = positions - start
    reach = offset @ along / length
    distance = np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0]) / length
    return bool(((reach > clearance) & (reach < length - clearance) & (distance < clearance)).any())


def _is_round(positions: Points) -> bool:
    """Return whether all nodes lie on one circle around the origin."""
    distances = np.linalg.norm(positions, axis=1)
    return bool(np.allclose(distances, distances[0]))


def _arc(start: Points, end: Points, height: float, inward: bool) -> Points:
    """Return a line parallel to the segment at distance ``height``, bent toward it at both ends.

    It lies on the side of the origin if ``inward``, else on the same side for all edges.
    """
    along = end - start
    length = np.linalg.norm(along)
    across = np.array([-along[1], along[0]]) / length
    side = -1 if inward and across @ start > 0 else 1
    t = np.linspace(0, 1, 60)[:, None]
    from_end = np.minimum(t, 1 - t) * length
    rise = 1 - (1 - np.minimum(from_end / (1.6 * height), 1)) ** 2
    return np.asarray(start + t * along + side * height * rise * across)
