"""Directed graphs: who sends to whom, weights whose columns sum to one, and what is refused."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from pydantic import ValidationError

from topologies import Topology, consensus_rate, parse_topology

CYCLE_WITH_A_CHORD = [[0, 1], [1, 2], [2, 3], [3, 0], [0, 2]]


def build(name: str, nodes: int, **more: Any) -> Topology:
    return parse_topology({"name": name, "nodes": nodes, **more}).build(seed=0)


def arcs(topology: Topology, round: int = 0) -> set[tuple[int, int]]:
    """(sender, receiver) pairs of a round, from ``sent``."""
    found = set()
    for (i, j), (forth, back) in zip(topology.edges.tolist(), topology.sent(round).reshape(-1, 2), strict=True):
        found |= ({(i, j)} if forth else set()) | ({(j, i)} if back else set())
    return found


@pytest.mark.parametrize("nodes", [2, 5, 8])
def test_who_sends_to_whom(nodes: int) -> None:
    assert arcs(build("directed-ring", nodes)) == {(i, (i + 1) % nodes) for i in range(nodes)}
    hops = [hop for hop in (1, 2, 4) if hop < nodes]
    assert arcs(build("directed-exponential", nodes)) == {(i, (i + hop) % nodes) for i in range(nodes) for hop in hops}
    turns = build("directed-one-peer-exponential", nodes)
    assert turns.period == len(hops)
    for round, hop in enumerate(hops * 2):
        assert arcs(turns, round) == {(i, (i + hop) % nodes) for i in range(nodes)}
    given = build("directed-edges", 4, edges=CYCLE_WITH_A_CHORD)
    assert arcs(given) == set(map(tuple, CYCLE_WITH_A_CHORD))


def test_an_undirected_graph_sends_both_ways_over_what_is_active() -> None:
    ring = build("ring", 6, schedule="matching")
    for round in range(5):
        assert ring.sent(round).tolist() == np.repeat(ring.active(round), 2).tolist()
    assert not ring.is_directed


def test_a_node_divides_its_value_evenly_among_itself_and_its_receivers() -> None:
    matrix = build("directed-edges", 4, edges=CYCLE_WITH_A_CHORD).weights(0).matrix().toarray()
    # Column j is what node j gives: node 0 to itself, 1 and 2; the others to themselves and the next one.
    expected = np.zeros((4, 4))
    expected[[0, 1, 2], 0] = 1 / 3
    expected[[1, 2], 1] = expected[[2, 3], 2] = expected[[3, 0], 3] = 1 / 2
    np.testing.assert_allclose(matrix, expected)


@pytest.mark.parametrize("name", ["directed-ring", "directed-exponential", "directed-one-peer-exponential"])
def test_circulant_ones_are_doubly_stochastic_and_an_irregular_one_is_not(name: str) -> None:
    topology = build(name, 7)
    assert topology.is_doubly_stochastic
    for round in range(3):
        matrix = topology.weights(round).matrix().toarray()
        np.testing.assert_allclose([matrix.sum(0), matrix.sum(1)], 1)
    assert not build("directed-edges", 4, edges=CYCLE_WITH_A_CHORD).is_doubly_stochastic


@pytest.mark.parametrize("nodes", [4, 8, 16])
def test_one_peer_in_turns_reaches_the_mean_in_log_n_rounds(nodes: int) -> None:
    assert consensus_rate(build("directed-one-peer-exponential", nodes)) == 0
    assert consensus_rate(build("directed-one-peer-exponential", 6)) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"edges": [[0, 1], [1, 2]]}, "not strongly connected"),
        ({"edges": [[0, 1], [1, 0], [2, 2]]}, "[2, 2] must be two different nodes; allowed: 0 to 2"),
        ({"edges": [[0, 1], [1, 3]]}, "allowed: 0 to 2"),
        ({"edges": [[0, 1], [1, 2], [2, 0]], "weights": "metropolis"}, "should be 'push-sum'"),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        parse_topology({"name": "directed-edges", "nodes": 3, **options})
    assert words in str(refusal.value)


def test_where_edges_fail_columns_still_sum_to_one() -> None:
    topology = build("directed-ring", 6, schedule={"name": "failing", "probability": 0.5})
    assert not topology.is_doubly_stochastic
    sums = np.array([topology.weights(round).matrix().toarray().sum(0) for round in range(20)])
    np.testing.assert_allclose(sums, 1)
    assert len({int(topology.sent(round).sum()) for round in range(20)}) > 1


def test_directed_and_undirected_graphs_do_not_mix() -> None:
    with pytest.raises(ValueError, match="some graphs are directed"):
        Topology([nx.DiGraph([(0, 1), (1, 0)]), nx.Graph([(0, 1)])])
