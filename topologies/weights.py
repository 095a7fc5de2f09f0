"""Mixing weights W of a graph: the weights of a node's own and its neighbors' values in an average.

Every rule makes W nonnegative with rows that sum to one, from the degrees of the graph that is *active* in a round or,
``own_weights``, from what the graph's edges carry. The symmetric ones (``DOUBLY_STOCHASTIC``) have columns that sum to
one as well, so that averaging keeps the mean over the nodes. One is added to every degree, so that W_ii > 0 and
bipartite graphs mix as well. Sources: Xiao, Boyd, Kim, "Distributed average consensus with least-mean-square
deviation", Journal of Parallel and Distributed Computing 67, 2007 (Metropolis-Hastings); Xiao, Boyd, "Fast linear
iterations for distributed averaging", Systems & Control Letters 53, 2004, section 4 (maximum degree).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


class Weights(NamedTuple):
    """The nonzero entries of W, without an N x N matrix.

    Attributes:
        own: W_ii, float64 ``[N]``; 1 where a node has no active edge.
        edge: float64 ``[E, 2]``; for edge e = (i, j), ``edge[e, 0]`` is W_ij, what i gives to j's value, and
            ``edge[e, 1]`` is W_ji, what j gives to i's. 0 on inactive edges.
        edges: (i, j) of each edge, int64 ``[E, 2]``.
    """

    own: NDArray[np.float64]
    edge: NDArray[np.float64]
    edges: NDArray[np.int64]

    def matrix(self) -> csr_array:
        """Return W, sparse ``[N, N]``."""
        nodes = np.arange(len(self.own))
        rows = np.concatenate([nodes, self.edges[:, 0], self.edges[:, 1]])
        columns = np.concatenate([nodes, self.edges[:, 1], self.edges[:, 0]])
        values = np.concatenate([self.own, self.edge[:, 0], self.edge[:, 1]])
        return csr_array((values, (rows, columns)), shape=(len(nodes), len(nodes)))


def metropolis_hastings(edges: NDArray[np.int64], active: NDArray[np.bool_], num_nodes: int) -> Weights:
    """Return W_ij = W_ji = 1 / (1 + max(d_i, d_j)) for ``edges [E, 2]`` and ``active [E]``."""
    degrees = degrees_of(edges[active], num_nodes)
    return _with_own(edges, active, num_nodes, 1 / (1 + degrees[edges].max(axis=1, keepdims=True)))


def max_degree(edges: NDArray[np.int64], active: NDArray[np.bool_], num_nodes: int) -> Weights:
    """Return W_ij = W_ji = 1 / (1 + max_k d_k) for ``edges [E, 2]`` and ``active [E]``."""
    degrees = degrees_of(edges[active], num_nodes)
    return _with_own(edges, active, num_nodes, 1 / (1 + degrees.max()))


def uniform_neighbor(edges: NDArray[np.int64], active: NDArray[np.bool_], num_nodes: int) -> Weights:
    """Return W_ij = 1 / (1 + d_i) for ``edges [E, 2]`` and ``active [E]``.

    Each node averages itself and its neighbors evenly: doubly stochastic only where neighbors' degrees are equal.
    """
    degrees = degrees_of(edges[active], num_nodes)
    return _with_own(edges, active, num_nodes, 1 / (1 + degrees[edges]))


def own_weights(
    edges: NDArray[np.int64], active: NDArray[np.bool_], num_nodes: int, carried: NDArray[np.float64]
) -> Weights:
    """Return W_ij = W_ji = ``carried [E]`` for ``edges [E, 2]`` and ``active [E]``.

    What an edge carries while it is not active stays with its nodes, so that thinning keeps W symmetric.
    """
    weights = _with_own(edges, active, num_nodes, carried[:, None])
    return weights._replace(own=np.maximum(weights.own, 0.0))  # 0, where all is given away, but for rounding


def push_sum(edges: NDArray[np.int64], sent: NDArray[np.bool_], num_nodes: int) -> Weights:
    """Return W_ij = 1 / (1 + d_j) for ``edges [E, 2]``, d_j the nodes that j sends to now, by ``sent [2 E]``.

    For directed graphs (Kempe, Dobra, Gehrke, "Gossip-based computation of aggregate information", FOCS 2003): each
    node divides its value evenly among itself and those it sends to, so that columns sum to one; rows need not.
    """
    forth, back = sent[0::2], sent[1::2]
    out_degrees = np.bincount(np.concatenate([edges[forth, 0], edges[back, 1]]), minlength=num_nodes)
    share = 1 / (1 + out_degrees)
    edge = np.stack([np.where(back, share[edges[:, 1]], 0.0), np.where(forth, share[edges[:, 0]], 0.0)], axis=1)
    return Weights(share, edge, edges)


WeightRule = Callable[[NDArray[np.int64], NDArray[np.bool_], int], Weights]
"""``(edges, active, num_nodes) -> Weights``."""

WeightsName = Literal["metropolis", "max-degree", "uniform", "own", "push-sum"]
"""The rules' names in a configuration; ``own`` are those that the graphs carry, ``push-sum`` those of directed ones."""

WEIGHTS: dict[WeightsName, WeightRule] = {
    "metropolis": metropolis_hastings,
    "max-degree": max_degree,
    "uniform": uniform_neighbor,
}
"""The rules that need no more than the graph, by name."""

DOUBLY_STOCHASTIC: frozenset[WeightsName] = frozenset({"metropolis", "max-degree", "own"})
"""The rules whose W is symmetric, hence doubly stochastic, on every graph."""


def degrees_of(edges: NDArray[np.int64], num_nodes: int) -> NDArray[np.int64]:
    """Return the number of edges at each node, int64 ``[N]``."""
    return np.bincount(edges.ravel(), minlength=num_nodes).astype(np.int64)


def _with_own(
    edges: NDArray[np.int64],
    active: NDArray[np.bool_],
    num_nodes: int,
    share: NDArray[np.float64],
) -> Weights:
    """Put ``share`` (broadcast to ``[E, 2]``) on the active edges and what is left of each row on the diagonal."""
    edge = np.where(active[:, None], np.broadcast_to(share, edges.shape), 0.0)
    own = np.ones(num_nodes)
    np.subtract.at(own, edges, edge)
    return Weights(own, edge, edges)
