"""A topology: a fixed union graph, and which of its edges are active in each round."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from topologies.graphs import edge_array, edge_weights, graph_of, node_index, require_connected, require_simple
from topologies.schedules import Schedule, StaticSchedule
from topologies.weights import DOUBLY_STOCHASTIC, WEIGHTS, Weights, WeightsName, degrees_of, own_weights, push_sum


class Topology:
    """A schedule of active edges over a fixed, connected union graph.

    Attributes:
        graph: the union graph, nodes 0..N-1, without attributes.
        num_nodes: N.
        edges: its edges, int64 ``[E, 2]``, i < j in each row, rows in lexicographic order.
        degrees: its degrees, int64 ``[N]``.
        is_directed: whether edges may run one way only. Edge e = (i, j) is directed edge 2 e from i to j, 2 e + 1 back.
    """

    def __init__(
        self,
        graphs: Sequence[nx.Graph],
        schedule: Schedule | None = None,
        weights: WeightsName = "metropolis",
        seed: int = 0,
    ) -> None:
        """Unite the graphs and number their nodes.

        Args:
            graphs: the graphs of rounds 0, 1, ..., repeated after the last; one graph for a static network.
                Each without self-loops, their union (strongly) connected; all directed, an edge from a sender to its
                receiver, or none; any labels (see ``graphs.node_index``).
            schedule: chooses the edges of a round's graph that are active in it. Defaults to all edges.
            weights: a name in ``WEIGHTS`` (directed graphs always have ``push-sum``); or ``own``: in each graph the
                edges' attribute ``weight`` is W_ij = W_ji in that graph's rounds, above 0 and at most one in sum over a
                node's edges.
            seed: keys the schedule's draws.
        """
        self.is_directed = any(graph.is_directed() for graph in graphs)
        for graph in graphs:
            require_simple(graph, directed=self.is_directed)
        index = node_index(graphs)
        arrays = [edge_array(graph, index) for graph in graphs]
        self.num_nodes = len(index)
        self.edges = np.unique(np.concatenate(arrays), axis=0)
        self.graph = graph_of(self.num_nodes, self.edges.tolist())
        require_connected(nx.compose_all(graphs) if self.is_directed else self.graph, at_least=1)
        self.degrees = degrees_of(self.edges, self.num_nodes)
        self._present = [np.isin(self._codes(self.edges), self._codes(array)) for array in arrays]
        self._runs = [self._directions(graph, index) for graph in graphs] if self.is_directed else []
        self._carried = [np.zeros(len(self.edges)) for _ in graphs]
        if weights == "own":
            for graph, present, carried in zip(graphs, self._present, self._carried, strict=True):
                carried[present] = edge_weights(graph, index)
        self._schedule = schedule or StaticSchedule()
        self._weights: WeightsName = "push-sum" if self.is_directed else weights
        self._seed = seed

    def active(self, round: int) -> NDArray[np.bool_]:
        """Return which edges are active in the round, bool ``[E]``: a pure function of (seed, round)."""
        present = self._present[round % self.num_graphs]
        return self._schedule.active(self.edges, present, self._seed, round)

    def sent(self, round: int) -> NDArray[np.bool_]:
        """Return the directed edges that carry messages in the round, bool ``[2 E]``."""
        active = np.repeat(self.active(round), 2)
        return active & self._runs[round % self.num_graphs] if self.is_directed else active

    def weights(self, round: int) -> Weights:
        """Return the mixing weights of the graph that is active in the round."""
        if self._weights == "push-sum":
            return push_sum(self.edges, self.sent(round), self.num_nodes)
        if self._weights == "own":
            return own_weights(self.edges, self.active(round), self.num_nodes, self._carried[round % self.num_graphs])
        return WEIGHTS[self._weights](self.edges, self.active(round), self.num_nodes)

    @property
    def num_graphs(self) -> int:
        """The number of graphs that alternate; 1 for a static network."""
        return len(self._present)

    @property
    def period(self) -> int | None:
        """The number of rounds after which edges and weights repeat; None if the schedule thins the graphs."""
        return self.num_graphs if self._schedule.is_static else None

    @property
    def is_static(self) -> bool:
        """Whether every edge is active in every round."""
        return self._schedule.is_static and all(present.all() for present in self._present)

    @property
    def is_tree(self) -> bool:
        """Whether the union graph is a tree, along whose edges messages run both ways."""
        return len(self.edges) == self.num_nodes - 1 and not self.is_directed

    @property
    def is_doubly_stochastic(self) -> bool:
        """Whether the columns of the mixing weights are known to sum to one in every round, as the rows do."""
        if self.is_directed:
            return all(np.allclose(self.weights(r).matrix().sum(axis=1), 1) for r in range(self.period or 1)) and (
                self.period is not None
            )
        regular = bool((self.degrees == self.degrees[0]).all())
        return self._weights in DOUBLY_STOCHASTIC or (self.is_static and regular)

    def _directions(self, graph: nx.DiGraph, index: Mapping[Hashable, int]) -> NDArray[np.bool_]:
        """Return which directed edges a graph has, bool ``[2 E]``."""
        number = {(i, j): 2 * e for e, (i, j) in enumerate(self.edges.tolist())}
        number |= {(j, i): edge + 1 for (i, j), edge in number.items()}
        runs = np.zeros(2 * len(self.edges), dtype=np.bool_)
        runs[[number[index[a], index[b]] for a, b in graph.edges]] = True
        return runs

    def _codes(self, edges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one number per edge, int64 ``[E]``, so that edges can be looked up in each other's arrays."""
        return edges[:, 0] * self.num_nodes + edges[:, 1]
