"""Networkx graphs: validation, and conversion of labels and edges to node indices and arrays, and back."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-9
"""By how much a node's weights may sum to more than one: by what rounding does to them."""


def require_simple(graph: nx.Graph, directed: bool = False) -> None:
    """Raise ``ValueError`` unless the graph is (un)directed, without parallel edges and without self-loops."""
    if graph.is_directed() != directed:
        if directed:
            raise ValueError("some graphs are directed and some are not; make all directed: graph.to_directed()")
        raise ValueError("the graph is directed; make it undirected first: graph.to_undirected()")
    if graph.is_multigraph():
        raise ValueError("the graph is a multigraph; merge parallel edges first: networkx.Graph(graph)")
    loop = next(nx.selfloop_edges(graph), None)
    if loop is not None:
        raise ValueError(f"the graph joins node {loop[0]!r} to itself; no self-loops are allowed")


def require_connected(graph: nx.Graph, at_least: int = 2) -> None:
    """Raise ``ValueError`` unless the graph has that many nodes and a path from each of them to each other."""
    if len(graph) < at_least:
        raise ValueError(f"the graph needs at least {at_least} nodes (got {len(graph)})")
    if graph.is_directed():
        parts = list(nx.strongly_connected_components(graph))
        if len(parts) > 1:
            one, other = (next(iter(part)) for part in parts[:2])
            raise ValueError(f"the graph is not strongly connected; {one!r} and {other!r} do not both reach each other")
        return
    reached = nx.node_connected_component(graph, next(iter(graph)))
    if len(reached) < len(graph):
        start, apart = next(iter(graph)), next(node for node in graph if node not in reached)
        raise ValueError(f"the graph is not connected; there is no path from node {start!r} to node {apart!r}")


def node_index(graphs: Iterable[nx.Graph]) -> dict[Hashable, int]:
    """Return each label's node index 0..N-1, over all nodes of all graphs.

    Labels are numbered in natural order: numbers, and texts of digits, by value, so that labels 0..N-1 stay what they
    are; other texts with the digits in them by value, ``node2`` before ``node10``; tuples by what is in them. Where
    some are of another kind, or kinds are mixed that cannot be compared, all are numbered as the graphs hold them.
    """
    labels = list(dict.fromkeys(label for graph in graphs for label in graph))
    try:
        labels.sort(key=lambda label: (_natural(label), str(label), type(label).__name__))
    except TypeError:
        pass
    return {label: index for index, label in enumerate(labels)}


def label_texts(index: Mapping[Hashable, int]) -> tuple[str, ...] | None:
    """Return the labels in the order of their indices as different texts; None where they are just the indices."""
    labels = sorted(index, key=index.__getitem__)
    texts = [str(label) for label in labels]
    if len(set(texts)) < len(texts):  # 1 and "1"
        texts = [repr(label) for label in labels]
    return None if texts == [str(number) for number in range(len(texts))] else tuple(texts)


def _natural(label: Any) -> Any:
    """Return what labels are sorted by: a list, or for a tuple a tuple, which cannot be compared with a list."""
    if isinstance(label, int | float | np.integer | np.floating):
        return [(_NUMBER, label)]
    if isinstance(label, tuple):
        return tuple(_natural(part) for part in label)
    if not isinstance(label, str):
        raise TypeError(f"{label!r} has no natural order")
    if re.fullmatch("-?[0-9]+", label):
        return [(_NUMBER, Decimal(label))]  # an int has a bound on its digits
    parts = re.split("([0-9]+)", label)
    return [(_NUMBER, Decimal(part)) if number % 2 else (_TEXT, part) for number, part in enumerate(parts) if part]


_NUMBER, _TEXT = range(2)
"""Kinds of parts of a label, in the order in which they come."""


def edge_array(graph: nx.Graph, index: Mapping[Hashable, int]) -> NDArray[np.int64]:
    """Return the graph's edges as node indices, int64 ``[E, 2]``, i < j in each row, rows in lexicographic order."""
    ends = np.array([(index[a], index[b]) for a, b in graph.edges], dtype=np.int64).reshape(-1, 2)
    return np.unique(np.sort(ends, axis=1), axis=0)


def edge_weights(graph: nx.Graph, index: Mapping[Hashable, int]) -> NDArray[np.float64]:
    """Return the edges' attribute ``weight``, what their ends give to each other, float64 ``[E]`` as in ``edge_array``.

    Raises:
        ValueError: an edge has none above 0, or those of a node sum to more than one.
    """
    weights: dict[tuple[int, int], float] = {}
    given: dict[Hashable, float] = dict.fromkeys(graph, 0.0)
    for a, b, weight in graph.edges(data="weight"):
        if not isinstance(weight, int | float | np.integer | np.floating) or not weight > 0:
            raise ValueError(f"the edge from {a!r} to {b!r} needs an attribute 'weight' above 0 (got {weight!r})")
        weights[min(index[a], index[b]), max(index[a], index[b])] = float(weight)
        given[a] += float(weight)
        given[b] += float(weight)
    for node, total in given.items():
        if total > 1 + ROUNDING:
            raise ValueError(f"the weights of the edges at node {node!r} must sum to one at most (got {total:g})")
    return np.array([weights[i, j] for i, j in edge_array(graph, index).tolist()], dtype=np.float64)


def graph_of(num_nodes: int, edges: Iterable[Sequence[int]]) -> nx.Graph:
    """Return the graph of the nodes 0..num_nodes-1 with these edges."""
    graph = nx.empty_graph(num_nodes)
    graph.add_edges_from(edges)
    return graph
