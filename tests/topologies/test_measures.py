"""Spectral gap and diameter against closed forms."""

import networkx as nx
import numpy as np
import pytest

from topologies import (
    BarbellOptions,
    BaseGraphOptions,
    CompleteOptions,
    DirectedRingOptions,
    ExponentialOptions,
    HypercubeOptions,
    HyperHypercubeOptions,
    OnePeerExponentialOptions,
    PathOptions,
    RingOptions,
    SequenceOptions,
    StarOptions,
    TorusOptions,
    consensus_rate,
    diameter,
    spectral_gap,
)
from topologies.measures import DENSE_LIMIT


def gap(options):
    return spectral_gap(options.build(0).weights(0).matrix())


@pytest.mark.parametrize("nodes", [3, 8, 9, DENSE_LIMIT, DENSE_LIMIT + 1, 300])
def test_ring(nodes):
    # weights 1/3 each: eigenvalues (1 + 2 cos(2 pi k / N)) / 3
    assert gap(RingOptions(nodes=nodes)) == pytest.approx(2 / 3 * (1 - np.cos(2 * np.pi / nodes)), rel=1e-6)


@pytest.mark.parametrize("nodes", [3, 8, DENSE_LIMIT + 1, 257])
def test_directed_ring(nodes):
    # weights 1/2 each: eigenvalues (1 + exp(2 pi i k / N)) / 2, most of nearly one modulus, at which ARPACK gives up
    assert gap(DirectedRingOptions(nodes=nodes)) == pytest.approx(1 - np.cos(np.pi / nodes), rel=1e-6)


@pytest.mark.parametrize("nodes", [2, 3, 10])
def test_complete_graph_averages_at_once(nodes):
    assert gap(CompleteOptions(nodes=nodes)) == pytest.approx(1)


@pytest.mark.parametrize("rows, columns", [(3, 5), (10, 12)])
def test_torus(rows, columns):
    # weights 1/5 each: eigenvalues (1 + 2 cos(2 pi k / rows) + 2 cos(2 pi l / columns)) / 5
    expected = 2 / 5 * (1 - np.cos(2 * np.pi / columns))
    assert gap(TorusOptions(nodes=rows * columns, rows=rows)) == pytest.approx(expected)


def test_star():
    # Metropolis weights 1/N on each edge: I - L/N with L's eigenvalues 0, 1 and N
    assert gap(StarOptions(nodes=9)) == pytest.approx(1 / 9)


@pytest.mark.parametrize("dimension", range(1, 9))
def test_hypercube(dimension):
    # weights 1/(d + 1): eigenvalues 1 - 2 b / (d + 1) for b = 0..d
    assert gap(HypercubeOptions(nodes=2**dimension)) == pytest.approx(2 / (dimension + 1))


@pytest.mark.parametrize("dimension", range(2, 9))
def test_exponential_graph(dimension):
    # weights 1/(2 d); lambda_2 is that of the vector of alternating signs: 2^0 turns it round, 2^k keeps it
    assert gap(ExponentialOptions(nodes=2**dimension)) == pytest.approx(2 / dimension)


@pytest.mark.parametrize("half", [2, 5, 60])
def test_barbell_with_the_widest_bridge(half):
    # two complete graphs node by node: weights 1/(half + 1), eigenvalues 1 - 2/(half + 1) and +-1/(half + 1)
    expected = 1 - max(abs(1 - 2 / (half + 1)), 1 / (half + 1))
    assert gap(BarbellOptions(nodes=2 * half, bridge=half)) == pytest.approx(expected)
    assert gap(BarbellOptions(nodes=2 * half, bridge=1)) < expected


@pytest.mark.parametrize("nodes", [7, 150])
def test_weights_that_are_not_symmetric(nodes):
    # star, uniform: the hub averages all, a leaf halves: eigenvalues 1, 1/2 (N - 2 times) and 1/N - 1/2
    assert gap(StarOptions(nodes=nodes, weights="uniform")) == pytest.approx(1 / 2)
    # W is similar to a symmetric matrix, whose eigenvalues an independent solver finds
    topology = PathOptions(nodes=nodes, weights="uniform").build(0)
    root = np.sqrt(topology.degrees + 1.0)
    similar = root[:, None] * topology.weights(0).matrix().toarray() / root
    assert gap(PathOptions(nodes=nodes, weights="uniform")) == pytest.approx(
        1 - np.sort(np.abs(np.linalg.eigvalsh(similar)))[-2], rel=1e-6
    )


def test_the_modulus_counts():
    assert spectral_gap(np.array([[0.1, 0.9], [0.9, 0.1]])) == pytest.approx(0.2)  # eigenvalues 1 and -0.8


@pytest.mark.parametrize("nodes", [10, 150])
def test_a_graph_in_parts_never_mixes(nodes):
    gap_of_a_round = spectral_gap(RingOptions(nodes=nodes, schedule="matching").build(0).weights(0).matrix())
    assert gap_of_a_round == pytest.approx(0, abs=1e-12) and gap_of_a_round >= 0


@pytest.mark.parametrize("seed", range(5))
def test_diameter_is_the_largest_distance(seed):
    graph = nx.connected_watts_strogatz_graph(20, 4, 0.3, seed=seed)
    assert diameter(graph) == max(max(lengths.values()) for _, lengths in nx.all_pairs_shortest_path_length(graph))


@pytest.mark.parametrize("options", [RingOptions(nodes=9), StarOptions(), TorusOptions(nodes=130), HypercubeOptions()])
@pytest.mark.parametrize("rounds", [None, 1, 7, 3000])
def test_rate_of_a_graph_that_stays(options, rounds):
    # 3000 rounds on the hypercube shrink the disagreement far below the smallest number there is
    assert consensus_rate(options.build(0), rounds) == pytest.approx(1 - gap(options), rel=1e-6)


@pytest.mark.parametrize("nodes", [2, 8, 128])
def test_rate_is_zero_where_all_agree(nodes):
    assert consensus_rate(CompleteOptions(nodes=nodes).build(0)) == 0
    assert consensus_rate(HyperHypercubeOptions(nodes=nodes).build(0)) == 0
    assert consensus_rate(OnePeerExponentialOptions(nodes=nodes).build(0)) == 0
    assert consensus_rate(BaseGraphOptions(nodes=nodes + 3).build(0)) == 0


@pytest.mark.parametrize(
    "options",
    [
        BaseGraphOptions(nodes=13, weights="metropolis"),
        OnePeerExponentialOptions(nodes=12),
        RingOptions(nodes=120, schedule="failing"),
        StarOptions(nodes=6, weights="uniform", schedule="matching"),
    ],
)
@pytest.mark.parametrize("rounds, start", [(None, 0), (3, 0), (10, 4)])
def test_rate_is_the_norm_of_the_product(options, rounds, start):
    topology = options.build(0)
    product = np.eye(topology.num_nodes)
    length = rounds or topology.period or 100
    for round in range(start, start + length):
        product = topology.weights(round).matrix().toarray() @ product
    difference = product - (1 / topology.num_nodes if topology.is_doubly_stochastic else product.mean(axis=0))
    expected = np.linalg.norm(difference, 2) ** (1 / length)
    assert consensus_rate(topology, rounds, start) == pytest.approx(expected, rel=1e-6)


def test_rate_of_drawn_rounds_is_taken_over_whole_turns():
    graphs = [nx.cycle_graph(6), nx.path_graph(6), nx.star_graph(5)]
    topology = SequenceOptions.from_graphs(graphs, schedule="failing").build(3)
    assert topology.period is None
    assert consensus_rate(topology) == consensus_rate(topology, 102) != consensus_rate(topology, 100)


def test_rate_needs_a_round():
    with pytest.raises(ValueError, match="rounds: must be at least 1"):
        consensus_rate(RingOptions().build(0), 0)
