"""Families of periodic graphs: a rule gives each round of a period its own graph.

Their edges carry the weights that make the rounds of one period, together, an exact or nearly exact average.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import chain
from typing import ClassVar, Literal, Self

import networkx as nx
from pydantic import Field, model_validator

from topologies.base import NodeCount
from topologies.families import powers_below
from topologies.finite_time import Edges, base_graph, fewest_factors, hyper_hypercube, simple_base_graph
from topologies.graphs import graph_of
from topologies.options import TopologyOptions
from topologies.topology import Topology
from topologies.weights import WeightsName


class PeriodicOptions(TopologyOptions):
    """Base of the periodic families, whose graphs carry their own weights in each round."""

    other_weights: ClassVar[tuple[WeightsName, ...]] = ("push-sum",)

    weights: WeightsName = Field(
        "own",
        description="mixing weights W_ij: own (the family's, which its promises are about), metropolis, max-degree or "
        "uniform",
    )

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average, at most."""
        return getattr(self, "max_degree", 2) * 2 * math.log2(self.nodes)

    @abstractmethod
    def rounds(self) -> list[Edges]:
        """Return the edges and weights of each round of a period."""

    def graph(self, seed: int) -> nx.Graph:
        """Return the union graph."""
        return graph_of(self.nodes, [(i, j) for i, j, _ in chain(*self.rounds())])

    def build(self, seed: int) -> Topology:
        """Return the topology; its schedule is keyed by the seed."""
        graphs = []
        for edges in self.rounds():
            graph = nx.empty_graph(self.nodes)
            graph.add_weighted_edges_from(edges)
            graphs.append(graph)
        return Topology(graphs, self.schedule, self.weights, seed)


class OnePeerExponentialOptions(PeriodicOptions):
    """The exponential graph in turns: in round r node i meets i - 2^r and i + 2^r modulo N, for every 2^r below N.

    In the literature node i only listens, to the one node i + 2^r, and averages: W = D_r = (I + P^(2^r)) / 2 with P
    the shift by one; after log2(N) rounds all hold the exact mean where N is a power of two (Ying, Yuan, Chen, Hu,
    Pan, Yin, "Exponential graph is provably efficient for decentralized deep training", NeurIPS 2021). Here every edge
    runs both ways: a node has *two* peers, or one where 2^r = N/2, and W = D_r D_r^T gives 1/2 to itself and the rest
    evenly to them. All these matrices commute, so powers of two keep their exact mean after log2(N) rounds; for other
    N it is approached. With truly one peer: ``hyper-hypercube`` for powers of two, ``base-graph`` for any N.
    """

    name: Literal["one-peer-exponential"] = "one-peer-exponential"

    def rounds(self) -> list[Edges]:
        """Return the edges and weights of each round of a period."""
        return [
            [(i, (i + offset) % self.nodes, 1 / 2 if 2 * offset == self.nodes else 1 / 4) for i in range(self.nodes)]
            for offset in powers_below(self.nodes)
        ]


class HyperHypercubeOptions(PeriodicOptions):
    """The k-peer hyper-hypercube graph: all hold the exact mean after a period, at most max(1, 2 log_{k+2} N) rounds.

    For numbers without a prime factor above k + 1 only (see ``finite_time``). With ``max_degree`` 1 it is the one-peer
    hypercube (Shi, Li, Johansson, Johansson, "Finite-time convergent gossiping", IEEE/ACM Transactions on Networking
    24, 2016): N = 2^d, d rounds, and in round r node i meets i XOR 2^r. Of the edges that ``one-peer-exponential``
    has in that round these are a perfect matching, and they reach the mean in as many rounds.
    """

    name: Literal["hyper-hypercube"] = "hyper-hypercube"
    nodes: NodeCount = Field(8, description="N, the number of nodes, without a prime factor above max_degree + 1")
    max_degree: int = Field(1, ge=1, description="k, the most neighbors of a node in a round")

    @model_validator(mode="after")
    def _smooth(self) -> Self:
        largest = self.max_degree + 1
        if fewest_factors(self.nodes, largest) is None:
            raise ValueError(
                f"nodes: must have no prime factor above max_degree + 1 = {largest}; base-graph takes any number "
                f"(got {self.nodes})"
            )
        return self

    def rounds(self) -> list[Edges]:
        """Return the edges and weights of each round of a period."""
        return hyper_hypercube(range(self.nodes), self.max_degree)


class SimpleBaseGraphOptions(PeriodicOptions):
    """The simple Base-(k+1) graph: as ``base-graph``, by a plainer rule, in as many rounds or more."""

    name: Literal["simple-base-graph"] = "simple-base-graph"
    max_degree: int = Field(1, ge=1, description="k, the most neighbors of a node in a round")

    def rounds(self) -> list[Edges]:
        """Return the edges and weights of each round of a period."""
        return simple_base_graph(range(self.nodes), self.max_degree)


class BaseGraphOptions(PeriodicOptions):
    """The Base-(k+1) graph: all hold the exact mean after a period, at most 2 log_{k+1}(N) + 2 rounds, for any N.

    Takezawa, Sato, Bao, Niwa, Yamada, "Beyond exponential graph: communication-efficient topologies for decentralized
    learning via finite-time convergence", NeurIPS 2023. See ``finite_time``.
    """

    name: Literal["base-graph"] = "base-graph"
    max_degree: int = Field(1, ge=1, description="k, the most neighbors of a node in a round")

    def rounds(self) -> list[Edges]:
        """Return the edges and weights of each round of a period."""
        return base_graph(range(self.nodes), self.max_degree)
