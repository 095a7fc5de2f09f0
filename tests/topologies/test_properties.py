"""Properties of every family, schedule and weight rule, on drawn examples."""

import pickle
import tomllib
from typing import get_args

import networkx as nx
import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies import DOUBLY_STOCHASTIC, TOPOLOGIES, WEIGHTS, EdgesOptions, SequenceOptions, parse_topology
from topologies.directed import DirectedOptions
from topologies.weights import WeightsName

PRIMES = (2, 3, 5, 7, 11)

SCHEDULES = ["static", "matching", {"name": "failing", "probability": 0.4}]


UNDIRECTED = {name for name, family in TOPOLOGIES.items() if not issubclass(family, DirectedOptions)}
"""Those with edges that run both ways; the others are in test_directed.py."""


@st.composite
def graphs(draw, nodes: int) -> nx.Graph:
    """A connected graph: a random tree and some more edges."""
    graph = nx.empty_graph(nodes)
    graph.add_edges_from((draw(st.integers(0, node - 1)), node) for node in range(1, nodes))
    pairs = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).filter(lambda pair: pair[0] != pair[1])
    graph.add_edges_from(draw(st.lists(pairs, max_size=5)))
    return graph


@st.composite
def options(draw):
    """Valid options of any family, but for graphs from files."""
    name = draw(st.sampled_from(sorted(UNDIRECTED - {"file"})))
    nodes = draw(st.integers(2, 12))
    weights = ["own"] * ("own" not in TOPOLOGIES[name].other_weights) + sorted(WEIGHTS)
    shared = {"weights": draw(st.sampled_from(weights)), "schedule": draw(st.sampled_from(SCHEDULES))}
    if name == "edges":
        return EdgesOptions.from_graph(draw(graphs(nodes)), **shared)
    if name == "sequence":
        union = draw(graphs(nodes))
        parts = [nx.empty_graph(nodes) for _ in range(draw(st.integers(1, 4)))]
        for edge in union.edges:
            for part in draw(st.lists(st.sampled_from(parts), min_size=1, max_size=2)):
                part.add_edge(*edge)
        return SequenceOptions.from_graphs(parts, **shared)
    extra = {}
    if name == "circulant":
        largest = nodes // 2
        others = st.sets(st.integers(2, max(2, largest)), max_size=2).map(sorted)
        extra = {"offsets": [1, *(draw(others) if largest > 1 else [])]}
    if name == "torus":
        divisors = [divisor for divisor in range(1, nodes + 1) if nodes % divisor == 0]
        extra = {"rows": draw(st.none() | st.sampled_from(divisors))}
    if name == "random-regular":
        allowed = [degree for degree in range(2, nodes) if nodes * degree % 2 == 0] if nodes > 2 else [1]
        extra = {"degree": draw(st.sampled_from(allowed))}
    if name == "tree":
        extra = {"branching": draw(st.integers(1, 5))}
    if name == "hypercube":
        nodes = draw(st.sampled_from([2, 4, 8, 16]))
    if name == "barbell":
        nodes += nodes % 2
        extra = {"bridge": draw(st.integers(1, nodes // 2))}
    if name == "watts-strogatz":
        nodes = max(nodes, 3)
        extra = {"neighbors": 2 * draw(st.integers(1, (nodes - 1) // 2)), "probability": draw(st.floats(0, 1))}
    if name == "barabasi-albert":
        extra = {"attachments": draw(st.integers(1, nodes - 1))}
    if name in ("simple-base-graph", "base-graph"):
        extra = {"max_degree": draw(st.integers(1, 5))}
    if name == "hyper-hypercube":
        prime = max(factor for factor in PRIMES if nodes % factor == 0)
        extra = {"max_degree": draw(st.integers(prime - 1, nodes))}
    return TOPOLOGIES[name](nodes=nodes, **shared, **extra)


seeds = st.integers(0, 2**63 - 1)
rounds = st.integers(0, 10**6)
some = settings(max_examples=150, deadline=None)


@some
@given(options=options(), seed=seeds)
def test_union_graph_is_connected_and_described_by_its_arrays(options, seed):
    topology = options.build(seed)
    assert topology.num_nodes == options.nodes
    assert set(topology.graph) == set(range(options.nodes))
    assert nx.is_connected(topology.graph)
    assert nx.number_of_selfloops(topology.graph) == 0
    assert topology.edges.dtype == np.int64 and topology.edges.shape == (topology.graph.number_of_edges(), 2)
    assert (topology.edges[:, 0] < topology.edges[:, 1]).all()
    assert topology.edges.tolist() == sorted(sorted(edge) for edge in topology.graph.edges)
    assert topology.degrees.dtype == np.int64
    assert topology.degrees.tolist() == [topology.graph.degree[node] for node in range(options.nodes)]
    assert topology.is_tree == nx.is_tree(topology.graph)
    assert nx.utils.graphs_equal(topology.graph, nx.Graph(options.graph(seed)))


@some
@given(options=options(), seed=seeds, round=rounds)
def test_weights_average_over_the_active_edges(options, seed, round):
    topology = options.build(seed)
    active = topology.active(round)
    weights = topology.weights(round)
    matrix = weights.matrix().toarray()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    assert (matrix >= 0).all() and (weights.own > 0).all()
    assert (weights.edge[~active] == 0).all() and (weights.edge[active] > 0).all()
    expected = np.zeros_like(matrix)
    np.fill_diagonal(expected, weights.own)
    for (i, j), (forth, back) in zip(topology.edges, weights.edge, strict=True):
        expected[i, j], expected[j, i] = forth, back
    np.testing.assert_array_equal(matrix, expected)
    idle = np.setdiff1d(np.arange(topology.num_nodes), topology.edges[active])
    assert (weights.own[idle] == 1).all()
    if options.weights in DOUBLY_STOCHASTIC:
        np.testing.assert_array_equal(matrix, matrix.T)
    if topology.is_doubly_stochastic:
        np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-12)


@some
@given(options=options(), seed=seeds, rounds=st.lists(rounds, min_size=1, max_size=5))
def test_activity_depends_on_seed_and_round_only(options, seed, rounds):
    topology, again = options.build(seed), pickle.loads(pickle.dumps(options.build(seed)))
    expected = {round: topology.active(round) for round in rounds}
    for round in reversed(rounds):
        first = again.active(round)
        assert first.dtype == np.bool_ and first.shape == (len(topology.edges),)
        np.testing.assert_array_equal(first, expected[round])
        first[:] = False  # a caller's change must not reach the topology
        np.testing.assert_array_equal(again.active(round), expected[round])
    if topology.is_static:
        assert all(active.all() for active in expected.values())


@some
@given(options=options())
def test_options_survive_toml(options):
    text = tomli_w.dumps(options.model_dump(mode="json", exclude_none=True))
    assert parse_topology(tomllib.loads(text)) == options


def test_every_rule_has_its_name():
    assert set(get_args(WeightsName)) == {*WEIGHTS, "own", "push-sum"}
    assert set(get_args(WeightsName)) - DOUBLY_STOCHASTIC == {"uniform", "push-sum"}


@pytest.mark.parametrize("name", sorted(set(TOPOLOGIES) - {"edges", "sequence", "file", "directed-edges"}))
def test_a_plain_name_is_enough(name):
    assert parse_topology(name) == TOPOLOGIES[name]() == parse_topology({"name": name})
    assert parse_topology(name).build(0).num_nodes == 8
