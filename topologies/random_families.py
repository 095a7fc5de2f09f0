"""Families of random graphs, drawn again until connected.

Erdos-Renyi, random regular, Watts-Strogatz, Barabasi-Albert and random trees.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Self

import networkx as nx
from pydantic import Field, model_validator

from topologies.draws import Purpose, generator
from topologies.graphs import graph_of
from topologies.options import TopologyOptions

ATTEMPTS = 100
"""Draws before a family is said to give no connected graph."""


class ErdosRenyiOptions(TopologyOptions):
    """Each pair of nodes is joined with the same probability, independently: G(N, p)."""

    name: Literal["erdos-renyi"] = "erdos-renyi"
    probability: float = Field(0.5, gt=0, le=1, description="probability of an edge; well above log(nodes) / nodes")

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return self.probability * (self.nodes - 1)

    def graph(self, seed: int) -> nx.Graph:
        """Return the first connected graph of the draws; raise ``ValueError`` where there is none."""
        threshold = math.log(self.nodes) / self.nodes
        return _connected(
            lambda draw: nx.fast_gnp_random_graph(self.nodes, self.probability, seed=draw),
            seed,
            f"probability: must be larger, well above log(nodes) / nodes = {threshold:.2g} (got {self.probability:g})",
        )


class RandomRegularOptions(TopologyOptions):
    """Every node has the same number of neighbors, drawn uniformly among all such graphs (in the limit of large N)."""

    name: Literal["random-regular"] = "random-regular"
    degree: int = Field(3, ge=1, description="neighbors of a node; below nodes, and nodes * degree must be even")

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return self.degree

    @model_validator(mode="after")
    def _exists(self) -> Self:
        if self.degree >= self.nodes:
            raise ValueError(f"degree: must be less than nodes = {self.nodes} (got {self.degree})")
        if self.nodes * self.degree % 2:
            raise ValueError(f"degree: must be even where nodes = {self.nodes} is odd (got {self.degree})")
        if self.degree == 1 and self.nodes > 2:
            raise ValueError(f"degree: must be at least 2 to connect nodes = {self.nodes} (got {self.degree})")
        return self

    def graph(self, seed: int) -> nx.Graph:
        """Return the first connected graph of the draws; raise ``ValueError`` where there is none."""
        return _connected(self._draw, seed, f"degree: must be larger for nodes = {self.nodes} (got {self.degree})")

    def _draw(self, number: int) -> nx.Graph:
        absent = self.nodes - 1 - self.degree
        if absent < self.degree:  # pairing up nodes nearly never succeeds where most pairs have to be joined
            return nx.complement(nx.random_regular_graph(absent, self.nodes, seed=number))
        return nx.random_regular_graph(self.degree, self.nodes, seed=number)


class WattsStrogatzOptions(TopologyOptions):
    """A small world: a ring of wide neighborhoods, some of whose edges lead anywhere.

    Node i is joined to the ``neighbors`` / 2 next nodes on either side; then each edge keeps one end and, with the
    same probability and independently, gets another node, drawn uniformly, as its other end. Watts, Strogatz,
    "Collective dynamics of 'small-world' networks", Nature 393, 1998.
    """

    name: Literal["watts-strogatz"] = "watts-strogatz"
    neighbors: int = Field(4, ge=2, multiple_of=2, description="neighbors on the ring, an even number below nodes")
    probability: float = Field(0.1, ge=0, le=1, description="probability that an edge is led elsewhere")

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return self.neighbors

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.neighbors >= self.nodes:
            raise ValueError(f"neighbors: must be less than nodes = {self.nodes} (got {self.neighbors})")
        return self

    def graph(self, seed: int) -> nx.Graph:
        """Return the first connected graph of the draws; raise ``ValueError`` where there is none."""
        return _connected(
            lambda draw: nx.watts_strogatz_graph(self.nodes, self.neighbors, self.probability, seed=draw),
            seed,
            f"neighbors: must be larger for probability = {self.probability:g} (got {self.neighbors})",
        )


class BarabasiAlbertOptions(TopologyOptions):
    """A network with hubs: it grows node by node, and the more neighbors a node has the more it gets.

    Nodes 0 to ``attachments`` form a star around node 0; each node after them is joined to ``attachments`` of those
    before it, with probabilities that are proportional to their degrees. Barabasi, Albert, "Emergence of scaling in
    random networks", Science 286, 1999.
    """

    name: Literal["barabasi-albert"] = "barabasi-albert"
    attachments: int = Field(2, ge=1, description="edges that a new node brings, fewer than nodes; 1: a tree")

    @property
    def mean_degree(self) -> float:
        """Neighbors that a node has on average."""
        return 2 * self.attachments

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.attachments >= self.nodes:
            raise ValueError(f"attachments: must be less than nodes = {self.nodes} (got {self.attachments})")
        return self

    def graph(self, seed: int) -> nx.Graph:
        """Return the graph, which is always connected."""
        number = int(generator(seed, Purpose.GRAPH).integers(2**32))
        return nx.barabasi_albert_graph(self.nodes, self.attachments, seed=number)


class RandomTreeOptions(TopologyOptions):
    """A tree, drawn uniformly among all N^(N - 2) on these nodes: by its Pruefer sequence."""

    name: Literal["random-tree"] = "random-tree"

    def graph(self, seed: int) -> nx.Graph:
        """Return the tree."""
        sequence = generator(seed, Purpose.GRAPH).integers(self.nodes, size=self.nodes - 2)
        return graph_of(self.nodes, nx.from_prufer_sequence(sequence.tolist()).edges)


def _connected(draw: Callable[[int], nx.Graph], seed: int, advice: str) -> nx.Graph:
    """Return the first connected one of the graphs ``draw(number)`` for random numbers keyed by the seed."""
    for number in generator(seed, Purpose.GRAPH).integers(2**32, size=ATTEMPTS):
        graph = draw(int(number))
        if nx.is_connected(graph):
            return graph
    raise ValueError(f"{advice}: none of {ATTEMPTS} draws was a connected graph")
