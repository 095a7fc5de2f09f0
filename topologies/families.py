"""Families of deterministic graphs, the same for every seed.

Ring, circulant, exponential, torus, hypercube, complete, star, path, tree and barbell.
"""

from __future__ import annotations

import math
from itertools import chain, combinations
from typing import Annotated, Literal, Self

import networkx as nx
from pydantic import Field, model_validator

from topologies.base import NodeCount
from topologies.graphs import graph_of
from topologies.options import TopologyOptions


class RingOptions(TopologyOptions):
    """A cycle: node i has the neighbors i - 1 and i + 1 modulo N. Two nodes share a single edge."""

    name: Literal["ring"] = "ring"

    def graph(self, seed: int) -> nx.Graph:
        """Return the ring."""
        return nx.cycle_graph(self.nodes)


class CirculantOptions(TopologyOptions):
    """A ring with chords: node i has the neighbors i - o and i + o modulo N for every offset o.

    The default is the double ring.
    """

    name: Literal["circulant"] = "circulant"
    offsets: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2), description="distances on the ring, from 1 to nodes // 2, without a divisor in common with nodes"
    )

    @model_validator(mode="after")
    def _connected(self) -> Self:
        given = list(self.offsets)
        if len(set(given)) < len(given) or max(given, default=1) > self.nodes // 2:
            limit = self.nodes // 2
            raise ValueError(f"offsets: must be different numbers from 1 to nodes // 2 = {limit} (got {given})")
        divisor = math.gcd(self.nodes, *given)
        if divisor > 1:
            raise ValueError(
                f"offsets: must have no divisor in common with nodes = {self.nodes}: "
                f"{divisor} divides them all, so the graph is not connected (got {given})"
            )
        return self

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return 2 * len(self.offsets)

    def graph(self, seed: int) -> nx.Graph:
        """Return the circulant graph."""
        return nx.circulant_graph(self.nodes, self.offsets)


class ExponentialOptions(TopologyOptions):
    """Node i has the neighbors i - 2^k and i + 2^k modulo N for every 2^k below N.

    In the literature an edge leads from i to i + 2^k only, with ceil(log2 N) neighbors each (Assran, Loizou, Ballas,
    Rabbat, "Stochastic gradient push for distributed deep learning", ICML 2019; Ying, Yuan, Chen, Hu, Pan, Yin,
    "Exponential graph is provably efficient for decentralized deep training", NeurIPS 2021). Here every edge runs
    both ways, since methods with a dual on each edge need that: about twice as many neighbors, 2 log2(N) - 1 where N
    is a power of two, and symmetric weights.
    """

    name: Literal["exponential"] = "exponential"

    def graph(self, seed: int) -> nx.Graph:
        """Return the exponential graph."""
        return nx.circulant_graph(self.nodes, powers_below(self.nodes))


class TorusOptions(TopologyOptions):
    """A grid that wraps around in both directions; node r * columns + c has its place in row r and column c.

    Four neighbors each, where there are three rows and three columns or more; in a direction of size 2 both ways
    round lead to the same neighbor, by one edge; a single row is a ring.
    """

    name: Literal["torus"] = "torus"
    rows: int | None = Field(None, ge=1, description="a divisor of nodes; unset: the largest up to sqrt(nodes)")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.rows is not None and self.nodes % self.rows:
            allowed = ", ".join(map(str, _divisors(self.nodes)))
            raise ValueError(f"rows: must divide nodes = {self.nodes}; allowed: {allowed} (got {self.rows})")
        return self

    @property
    def caution(self) -> str:
        """A torus of a prime number of nodes is a ring."""
        if self.rows is not None or self._num_rows > 1:
            return ""
        return f"topology: a torus of {self.nodes} nodes, a prime number, has a single row: it is a ring"

    @property
    def _num_rows(self) -> int:
        return self.rows or max(divisor for divisor in _divisors(self.nodes) if divisor**2 <= self.nodes)

    def graph(self, seed: int) -> nx.Graph:
        """Return the torus."""
        rows = self._num_rows
        columns = self.nodes // rows
        places = [(row, column) for row in range(rows) for column in range(columns)]
        right = [(row * columns + column, row * columns + (column + 1) % columns) for row, column in places]
        down = [(row * columns + column, (row + 1) % rows * columns + column) for row, column in places]
        return graph_of(self.nodes, [(i, j) for i, j in right + down if i != j])


class HypercubeOptions(TopologyOptions):
    """Nodes whose indices differ in one binary digit are neighbors: log2(N) each, and as many steps across."""

    name: Literal["hypercube"] = "hypercube"
    nodes: NodeCount = Field(8, description="N, the number of nodes, a power of two")

    @model_validator(mode="after")
    def _power_of_two(self) -> Self:
        if self.nodes & (self.nodes - 1):
            raise ValueError(f"nodes: must be a power of two: 2, 4, 8, 16, ... (got {self.nodes})")
        return self

    def graph(self, seed: int) -> nx.Graph:
        """Return the hypercube."""
        digits = powers_below(self.nodes)
        return graph_of(self.nodes, [(i, i ^ digit) for i in range(self.nodes) for digit in digits])


class CompleteOptions(TopologyOptions):
    """Every node is a neighbor of every other."""

    name: Literal["complete"] = "complete"

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return self.nodes - 1

    def graph(self, seed: int) -> nx.Graph:
        """Return the complete graph."""
        return nx.complete_graph(self.nodes)


class StarOptions(TopologyOptions):
    """Node 0 is the neighbor of all others, which have no other."""

    name: Literal["star"] = "star"

    def graph(self, seed: int) -> nx.Graph:
        """Return the star."""
        return nx.star_graph(self.nodes - 1)


class PathOptions(TopologyOptions):
    """A line: node i has the neighbors i - 1 and i + 1, where they exist."""

    name: Literal["path"] = "path"

    def graph(self, seed: int) -> nx.Graph:
        """Return the path."""
        return nx.path_graph(self.nodes)


class TreeOptions(TopologyOptions):
    """A balanced tree around node 0: every node has ``branching`` children, filled level by level, as far as N goes.

    Node i's parent is (i - 1) // branching; branching = 1 is a path.
    """

    name: Literal["tree"] = "tree"
    branching: int = Field(2, ge=1, description="children of a node")

    def graph(self, seed: int) -> nx.Graph:
        """Return the tree."""
        return graph_of(self.nodes, [((node - 1) // self.branching, node) for node in range(1, self.nodes)])


class BarbellOptions(TopologyOptions):
    """Two complete clusters of N/2 nodes, 0 to N/2 - 1 and the others, joined by edges that share no node.

    One edge (the barbell graph) is the narrowest bridge that there is, N/2 edges the widest: then every node has one
    neighbor in the other cluster.
    """

    name: Literal["barbell"] = "barbell"
    nodes: NodeCount = Field(8, description="N, the number of nodes, even")
    bridge: int = Field(1, ge=1, description="edges between the clusters, at most nodes / 2")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.nodes % 2:
            raise ValueError(f"nodes: must be even, for two clusters of the same size (got {self.nodes})")
        if self.bridge > self.nodes // 2:
            raise ValueError(f"bridge: must be at most nodes / 2 = {self.nodes // 2} (got {self.bridge})")
        return self

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return self.nodes / 2

    def graph(self, seed: int) -> nx.Graph:
        """Return the two clusters and their bridge, whose edges join N/2 - 1 - e to N/2 + e."""
        half = self.nodes // 2
        clusters = (combinations(range(start, start + half), 2) for start in (0, half))
        bridge = [(half - 1 - edge, half + edge) for edge in range(self.bridge)]
        return graph_of(self.nodes, [*chain(*clusters), *bridge])


def powers_below(number: int) -> list[int]:
    """Return 1, 2, 4, ..., all powers of two below the number: ceil(log2(number)) of them."""
    return [1 << exponent for exponent in range((number - 1).bit_length())]


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
