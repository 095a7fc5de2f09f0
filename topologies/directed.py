"""Families of directed graphs, whose edges run from sender to receiver, for algorithms such as SGP."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import networkx as nx
from pydantic import Field, model_validator

from topologies.families import powers_below
from topologies.graphs import require_connected
from topologies.options import TopologyOptions
from topologies.topology import Topology
from topologies.weights import WeightsName


class DirectedOptions(TopologyOptions):
    """Base of the directed families: the graph of each round of a period, and weights that go by out-degrees."""

    other_weights: ClassVar[tuple[WeightsName, ...]] = ("metropolis", "max-degree", "uniform", "own")

    weights: WeightsName = Field("push-sum", description="of directed graphs: push-sum, 1/(1 + d_j) of what j sends")

    @abstractmethod
    def arcs(self) -> list[list[tuple[int, int]]]:
        """Return, for each round of a period, who sends to whom."""

    def graph(self, seed: int) -> nx.Graph:
        """Return the union of the graphs, without directions."""
        graph = nx.empty_graph(self.nodes)
        graph.add_edges_from(arc for arcs in self.arcs() for arc in arcs)
        return graph

    def build(self, seed: int) -> Topology:
        """Return the topology; its schedule is keyed by the seed."""
        graphs = []
        for arcs in self.arcs():
            graph = nx.empty_graph(self.nodes, create_using=nx.DiGraph)
            graph.add_edges_from(arcs)
            graphs.append(graph)
        return Topology(graphs, self.schedule, self.weights, seed)


class DirectedRingOptions(DirectedOptions):
    """Node i sends to node i + 1 modulo N."""

    name: Literal["directed-ring"] = "directed-ring"

    def arcs(self) -> list[list[tuple[int, int]]]:
        """Return who sends to whom."""
        return [[(i, (i + 1) % self.nodes) for i in range(self.nodes)]]


class DirectedExponentialOptions(DirectedOptions):
    """Node i sends to the nodes i + 2^r modulo N, for every 2^r below N (Assran et al., ICML 2019)."""

    name: Literal["directed-exponential"] = "directed-exponential"

    def arcs(self) -> list[list[tuple[int, int]]]:
        """Return who sends to whom."""
        return [[(i, (i + offset) % self.nodes) for offset in powers_below(self.nodes) for i in range(self.nodes)]]


class DirectedOnePeerExponentialOptions(DirectedOptions):
    """In round r node i sends to the one node i + 2^r modulo N, for every 2^r below N in turn (Assran et al. 2019).

    After log2(N) rounds all hold the exact mean where N is a power of two (Ying et al., NeurIPS 2021). For edges that
    run both ways see ``one-peer-exponential``.
    """

    name: Literal["directed-one-peer-exponential"] = "directed-one-peer-exponential"

    def arcs(self) -> list[list[tuple[int, int]]]:
        """Return who sends to whom, by round."""
        return [[(i, (i + offset) % self.nodes) for i in range(self.nodes)] for offset in powers_below(self.nodes)]


class DirectedEdgesOptions(DirectedOptions):
    """An explicit list of directed edges."""

    requires: ClassVar[tuple[str, ...]] = ("edges",)

    name: Literal["directed-edges"] = "directed-edges"
    edges: tuple[tuple[int, int], ...] = Field(
        description="[sender, receiver] pairs of node indices 0 to nodes - 1, each node with a way to every other"
    )

    @model_validator(mode="after")
    def _connected(self) -> DirectedEdgesOptions:
        for i, j in self.edges:
            if i == j or not (0 <= i < self.nodes and 0 <= j < self.nodes):
                raise ValueError(f"edges: [{i}, {j}] must be two different nodes; allowed: 0 to {self.nodes - 1}")
        graph = nx.empty_graph(self.nodes, create_using=nx.DiGraph)
        graph.add_edges_from(self.edges)
        try:
            require_connected(graph)
        except ValueError as error:
            raise ValueError(f"edges: {error}") from error
        return self

    def arcs(self) -> list[list[tuple[int, int]]]:
        """Return who sends to whom."""
        return [list(self.edges)]
