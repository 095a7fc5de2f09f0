"""Placement of the parts of a partition on the nodes: label skew laid out with the graph, or against it.

The parts are placed on the nodes so that neighbors' label distributions are as alike, or as different, as
can be found. With d the total variation between two parts' label distributions and s(i) the part of node i,

    cost(s) = sum over the graph's edges (i, j) of d(s(i), s(j))                                                 (1)

is a quadratic assignment problem (Koopmans and Beckmann, "Assignment problems and the location of economic
activities", Econometrica 25, 1957). Local search exchanges the best two nodes' parts until no exchange improves (1),
from a few keyed random starts: the placement is good, not necessarily optimal. An exchange of the parts of i and j
changes (1) by

    S_ij + S_ji - S_ii - S_jj + 2 A_ij B_ij,    S = A B,   B_ij = d(s(i), s(j)),   A the adjacency matrix           (2)
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Placement = Literal["alike", "different", "random"]

_STARTS = 8
"""Searches from different starts; more hardly ever found anything better on 25 nodes."""

_MANY = 200
"""Number of nodes from which on there is only one search."""


def place(counts: NDArray[np.int64], edges: NDArray[np.int64], goal: Placement, rng: np.random.Generator) -> list[int]:
    """Return the part of each node: part ``place(...)[i]`` for node i.

    Args:
        counts: examples of each class in each part, int64 ``[N, C]``.
        edges: of the union graph, int64 ``[E, 2]``.
        goal: relation of neighbors: ``"alike"``, ``"different"`` or ``"random"``.
        rng: draws the starts.
    """
    num_nodes = len(counts)
    if goal == "random":
        return [int(part) for part in rng.permutation(num_nodes)]
    distances = label_distances(counts) * (1 if goal == "alike" else -1)
    ends = np.concatenate([edges, edges[:, ::-1]])
    adjacency = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(num_nodes, num_nodes))
    starts = [np.arange(num_nodes)]
    if num_nodes < _MANY:
        starts += [rng.permutation(num_nodes) for _ in range(_STARTS - 1)]
    placements = [_descend(start, distances, adjacency) for start in starts]
    best = min(placements, key=lambda parts: float(distances[parts[edges[:, 0]], parts[edges[:, 1]]].sum()))
    return [int(part) for part in best]


def label_distances(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the total variation between label distributions, float64 ``[N, N]``, of label counts ``[N, C]``."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    total = np.zeros((len(shares), len(shares)))
    for of_class in shares.T:  # class by class: [N, N, C] at once would not fit for many nodes
        total += np.abs(of_class[:, None] - of_class[None])
    return total / 2


def _descend(parts: NDArray[np.int64], distances: NDArray[np.float64], adjacency: csr_array) -> NDArray[np.int64]:
    """Exchange parts, the best pair first, until (2) is negative for none."""
    parts, dense = parts.copy(), adjacency.toarray()
    while True:
        between = distances[np.ix_(parts, parts)]
        placed = adjacency @ between
        stays = np.diag(placed)
        change = placed + placed.T - stays[:, None] - stays[None] + 2 * dense * between
        i, j = np.unravel_index(int(change.argmin()), change.shape)
        if change[i, j] > -1e-9:
            return parts
        parts[[i, j]] = parts[[j, i]]
