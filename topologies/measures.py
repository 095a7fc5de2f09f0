"""Measures of how well a graph spreads information among its nodes."""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import sparray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs, svds

from topologies.topology import Topology

DENSE_LIMIT = 100
"""Up to this many nodes the dense solver is as fast as the sparse one, which needs more than a handful."""


WINDOW = 100
"""Rounds, at least, over which a rate is taken where rounds are drawn at random."""

ROUNDING = 1e-12
"""The share of a disagreement, left after one averaging, below which it is only rounding."""


def spectral_gap(matrix: NDArray[np.float64] | sparray) -> float:
    """Return 1 - |lambda_2|, with lambda_2 the eigenvalue of second largest modulus of mixing weights ``[N, N]``.

    The distance to consensus shrinks by |lambda_2| per averaging, in the long run: gap 0 never mixes, gap 1 does at
    once. The rows must sum to one: then 1 is an eigenvalue for the vector of ones, and subtracting the mean over the
    nodes moves it to 0 and leaves every other where it is (Brauer, "Limits for the characteristic roots of a matrix
    IV", Duke Mathematical Journal 19, 1952, theorem 27), so that lambda_2 is the largest one left.
    """
    num_nodes = matrix.shape[0]
    if num_nodes > DENSE_LIMIT:
        deflated = LinearOperator(matrix.shape, matvec=lambda x: matrix @ x - x.mean(), dtype=np.float64)
        # A start of our own: the solver's is random, and would let the last digits vary from call to call.
        start = np.random.default_rng(0).standard_normal(num_nodes)
        try:
            return _gap(eigs(deflated, k=1, which="LM", v0=start, return_eigenvectors=False))
        except ArpackError:  # many eigenvalues of one modulus, as in a directed ring, are beyond it
            pass
    dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    return _gap(np.linalg.eigvals(dense - 1 / num_nodes))


def _gap(eigenvalues: NDArray[np.complex128]) -> float:
    return max(0.0, 1 - float(np.abs(eigenvalues).max()))


def consensus_rate(topology: Topology, rounds: int | None = None, start: int = 0) -> float:
    """Return the factor by which a round of averaging shrinks the disagreement, in the geometric mean over rounds.

    That is || W_T ... W_2 W_1 - 11^T / N ||^(1 / T), the largest singular value, for doubly stochastic W; for others
    each column's difference from its own mean takes the place of that from 1 / N. 0: all nodes agree after these
    rounds, from any start. 1: some disagreement is as large as before. For a graph that stays and symmetric W it is
    1 - ``spectral_gap(W)``, for any T. The product is a dense N x N matrix.

    Args:
        topology: its graphs, schedule and weights.
        rounds: T; unset: the topology's period, or whole turns of its graphs of ``WINDOW`` rounds or more where a
            schedule thins them at random: then the rate is that of these draws, and of the seed.
        start: the first of the rounds.
    """
    if rounds is not None and rounds < 1:
        raise ValueError(f"rounds: must be at least 1 (got {rounds})")
    num_nodes = topology.num_nodes
    if rounds is None:
        rounds = topology.period or -(-WINDOW // topology.num_graphs) * topology.num_graphs
    spread = np.eye(num_nodes) - 1 / num_nodes  # what is left of every possible disagreement, [N, N]
    size, log_scale = float(np.linalg.norm(spread)), 0.0
    for round in range(start, start + rounds):
        spread = topology.weights(round).matrix() @ spread
        spread -= spread.mean(axis=0)
        before, size = size, float(np.linalg.norm(spread))
        if size < ROUNDING * before:
            return 0.0
        spread /= size  # a long product would underflow
        log_scale += np.log(size)
        size = 1.0
    return float(np.exp((log_scale + np.log(_norm(spread))) / rounds))


def _norm(matrix: NDArray[np.float64]) -> float:
    """Return the largest singular value."""
    if len(matrix) > DENSE_LIMIT:
        first = np.random.default_rng(0).standard_normal(len(matrix))
        try:
            return float(svds(matrix, k=1, v0=first, return_singular_vectors=False)[0])
        except ArpackError:
            pass
    return float(np.linalg.norm(matrix, 2))


def diameter(graph: nx.Graph) -> int:
    """Return the largest number of edges on a shortest path between two nodes of a connected graph."""
    return int(nx.diameter(graph, usebounds=True))
