"""Explicit graphs: one list of edges, or a sequence of them that repeats over the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal, Self

import networkx as nx
from pydantic import Field, model_validator

from topologies.base import NodeCount
from topologies.graphs import edge_array, graph_of, label_texts, node_index, require_connected, require_simple
from topologies.options import LabeledOptions
from topologies.topology import Topology

NodeIndex = Annotated[int, Field(ge=0)]
Edge = tuple[NodeIndex, NodeIndex]


class EdgesOptions(LabeledOptions):
    """An explicit list of edges."""

    name: Literal["edges"] = "edges"
    nodes: NodeCount = Field(description="N, the number of nodes")
    edges: tuple[Edge, ...] = Field(description="pairs of node indices from 0 to nodes - 1, e.g. [[0, 1], [1, 2]]")

    @model_validator(mode="after")
    def _connected_graph(self) -> Self:
        _require_edges("edges", self.edges, self.nodes)
        _require_connected("edges", self.graph(seed=0))
        return self

    @classmethod
    def from_graph(cls, graph: nx.Graph, **options: Any) -> Self:
        """Return the options that stand for any connected, undirected networkx graph without self-loops.

        Args:
            graph: any labels, which the nodes keep; they are numbered in natural order (see ``graphs.node_index``).
            options: ``weights`` and ``schedule``.
        """
        require_simple(graph)
        require_connected(graph)
        index = node_index([graph])
        edges = edge_array(graph, index).tolist()
        return cls(nodes=len(graph), edges=edges, **{"labels": label_texts(index), **options})

    def graph(self, seed: int) -> nx.Graph:
        """Return the graph of the given edges."""
        return graph_of(self.nodes, self.edges)


class SequenceOptions(LabeledOptions):
    """A given sequence of graphs: round r uses graph r modulo their number; their union must be connected.

    ``schedule`` says which edges of the round's graph are active: all of them, with the default.
    """

    name: Literal["sequence"] = "sequence"
    nodes: NodeCount = Field(description="N, the number of nodes")
    graphs: tuple[tuple[Edge, ...], ...] = Field(
        min_length=1, description="edge lists, one per graph, e.g. [[[0, 1]], [[1, 2], [2, 0]]]"
    )

    @model_validator(mode="after")
    def _connected_union(self) -> Self:
        for edges in self.graphs:
            _require_edges("graphs", edges, self.nodes)
        _require_connected("graphs", self.graph(seed=0))
        return self

    @classmethod
    def from_graphs(cls, graphs: Sequence[nx.Graph], **options: Any) -> Self:
        """Return the options that stand for a sequence of undirected networkx graphs without self-loops.

        Args:
            graphs: their union connected, a node the same where its label is; numbered as in ``EdgesOptions``.
            options: ``weights`` and ``schedule``.
        """
        for graph in graphs:
            require_simple(graph)
        require_connected(nx.compose_all(graphs))
        index = node_index(graphs)
        edges = (edge_array(graph, index).tolist() for graph in graphs)
        return cls(nodes=len(index), graphs=tuple(edges), **{"labels": label_texts(index), **options})

    def graph(self, seed: int) -> nx.Graph:
        """Return the union graph."""
        return graph_of(self.nodes, chain.from_iterable(self.graphs))

    def build(self, seed: int) -> Topology:
        """Return the topology; its schedule is keyed by the seed."""
        graphs = [graph_of(self.nodes, edges) for edges in self.graphs]
        return Topology(graphs, self.schedule, self.weights, seed)


def _require_edges(key: str, edges: Sequence[Edge], nodes: int) -> None:
    """Raise ``ValueError`` unless the edges are different pairs of different nodes below ``nodes``."""
    seen: set[Edge] = set()
    for i, j in edges:
        edge = (min(i, j), max(i, j))
        if edge[1] >= nodes:
            raise ValueError(f"{key}: must name nodes from 0 to nodes - 1 = {nodes - 1} (got [{i}, {j}])")
        if i == j:
            raise ValueError(f"{key}: must join two different nodes (got [{i}, {j}])")
        if edge in seen:
            raise ValueError(f"{key}: must name an edge of a graph once (got [{i}, {j}] again)")
        seen.add(edge)


def _require_connected(key: str, graph: nx.Graph) -> None:
    """Raise the finding of ``require_connected`` with the key that it is about."""
    try:
        require_connected(graph)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
