"""Graphs of the rounds, and the weights of messages that come in a later round than they were sent."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from ngpd_fl.engines.round_graphs import RoundGraphs
from topologies import Topology

# Node 1 receives from node 0 over directed edge 0 and from node 2 over directed edge 3.
PATH = nx.path_graph(3)


def pair() -> nx.Graph:
    """Return the first edge of the path alone, on its three nodes."""
    graph = nx.empty_graph(3)
    graph.add_edge(0, 1)
    return graph


def test_a_message_has_the_weight_of_the_round_in_which_it_was_sent() -> None:
    graphs = RoundGraphs(Topology([PATH, pair()]))
    assert graphs.weights_of([0, 3], [0, 0]).tolist() == pytest.approx([1 / 3, 1 / 3])
    assert graphs.weights_of([0], [1]).tolist() == pytest.approx([1 / 2])
    assert graphs.weights_of([3], [1]).tolist() == [0.0]
    assert graphs.weights_of([0], [2]) == graphs.weights_of([0], [0])


def test_weights_of_several_rounds_leave_a_share_for_the_node_itself() -> None:
    """1/2 from the round of the pair and 1/3 from that of the path exceed 2/3 together, and are scaled to it."""
    weights = RoundGraphs(Topology([PATH, pair()])).weights_of([0, 3], [1, 0])
    assert weights.sum() == pytest.approx(2 / 3)
    assert weights[0] / weights[1] == pytest.approx(3 / 2)


def test_no_message_has_no_weight() -> None:
    assert RoundGraphs(Topology([PATH])).weights_of([], []).shape == (0,)


def test_a_static_graph_is_made_once() -> None:
    graphs = RoundGraphs(Topology([PATH]))
    assert graphs.is_static and not RoundGraphs(Topology([PATH, pair()])).is_static
    first, later = graphs(0), graphs(7)
    assert np.array_equal(first.weight, later.weight) and first.sent.tolist() == [True, True, True, True, False]
