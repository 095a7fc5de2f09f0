"""Each family against what is known of it in closed form."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest

from topologies import (
    BarabasiAlbertOptions,
    BarbellOptions,
    CirculantOptions,
    CompleteOptions,
    EdgesOptions,
    ErdosRenyiOptions,
    ExponentialOptions,
    HypercubeOptions,
    PathOptions,
    RandomRegularOptions,
    RandomTreeOptions,
    RingOptions,
    SequenceOptions,
    StarOptions,
    Topology,
    TorusOptions,
    TreeOptions,
    WattsStrogatzOptions,
    diameter,
)


def edges(options, seed=0):
    return options.build(seed).edges.tolist()


def test_small_graphs_edge_by_edge():
    assert edges(RingOptions(nodes=4)) == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert edges(RingOptions(nodes=2)) == [[0, 1]]
    assert edges(CirculantOptions(nodes=5)) == edges(CompleteOptions(nodes=5))
    assert edges(CirculantOptions(nodes=6, offsets=(2, 3))) == [
        *([0, 2], [0, 3], [0, 4], [1, 3], [1, 4], [1, 5], [2, 4], [2, 5], [3, 5])
    ]
    assert edges(StarOptions(nodes=4)) == [[0, 1], [0, 2], [0, 3]]
    assert edges(PathOptions(nodes=4)) == [[0, 1], [1, 2], [2, 3]]
    assert edges(CompleteOptions(nodes=3)) == [[0, 1], [0, 2], [1, 2]]
    assert edges(HypercubeOptions(nodes=4)) == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert edges(ExponentialOptions(nodes=7)) == edges(CompleteOptions(nodes=7))  # 1, 2 and 4, which is -3
    assert edges(ExponentialOptions(nodes=8)) == edges(CirculantOptions(nodes=8, offsets=(1, 2, 4)))
    assert edges(ExponentialOptions(nodes=2)) == edges(HypercubeOptions(nodes=2)) == edges(BarbellOptions(nodes=2))
    assert edges(BarbellOptions(nodes=6)) == [[0, 1], [0, 2], [1, 2], [2, 3], [3, 4], [3, 5], [4, 5]]
    assert edges(BarbellOptions(nodes=4, bridge=2)) == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert edges(WattsStrogatzOptions(nodes=9, probability=0)) == edges(CirculantOptions(nodes=9))
    assert edges(BarabasiAlbertOptions(nodes=6, attachments=5)) == edges(StarOptions(nodes=6))
    assert edges(TorusOptions(nodes=6, rows=2)) == [
        *([0, 1], [0, 2], [0, 3], [1, 2], [1, 4], [2, 5], [3, 4], [3, 5], [4, 5])
    ]


@pytest.mark.parametrize("rows, columns", [(3, 3), (3, 5), (4, 4), (5, 6), (6, 4)])
def test_torus_degree_and_diameter(rows, columns):
    topology = TorusOptions(nodes=rows * columns, rows=rows).build(0)
    assert (topology.degrees == 4).all()
    assert diameter(topology.graph) == rows // 2 + columns // 2
    assert nx.is_isomorphic(topology.graph, nx.grid_2d_graph(rows, columns, periodic=True))


@pytest.mark.parametrize("nodes, rows, degree", [(8, 2, 3), (8, 4, 3), (4, 2, 2), (7, 1, 2), (7, 7, 2), (2, 1, 1)])
def test_torus_with_a_side_of_one_or_two_has_no_double_edges(nodes, rows, degree):
    topology = TorusOptions(nodes=nodes, rows=rows).build(0)
    assert (topology.degrees == degree).all()


@pytest.mark.parametrize("nodes, rows", [(16, 4), (12, 3), (24, 4), (7, 1)])
def test_torus_is_as_square_as_can_be(nodes, rows):
    assert edges(TorusOptions(nodes=nodes)) == edges(TorusOptions(nodes=nodes, rows=rows))
    assert rows > 1 or edges(TorusOptions(nodes=nodes)) == edges(RingOptions(nodes=nodes))


@pytest.mark.parametrize("nodes", [5, 6, 11])
def test_diameters(nodes):
    assert diameter(RingOptions(nodes=nodes).graph(0)) == nodes // 2
    assert diameter(PathOptions(nodes=nodes).graph(0)) == nodes - 1
    assert diameter(StarOptions(nodes=nodes).graph(0)) == 2
    assert diameter(CompleteOptions(nodes=nodes).graph(0)) == 1
    assert diameter(CirculantOptions(nodes=nodes).graph(0)) == -(-(nodes // 2) // 2)


@pytest.mark.parametrize("dimension", range(1, 8))
def test_hypercube_degree_and_diameter(dimension):
    topology = HypercubeOptions(nodes=2**dimension).build(0)
    assert (topology.degrees == dimension).all()
    assert diameter(topology.graph) == dimension
    assert nx.is_isomorphic(topology.graph, nx.hypercube_graph(dimension))


@pytest.mark.parametrize("dimension", range(2, 9))
def test_exponential_degree(dimension):
    # all 2^k and their opposites, but 2^(d - 1) is its own; one node more, and 2^d is the opposite of 1
    assert (ExponentialOptions(nodes=2**dimension).build(0).degrees == 2 * dimension - 1).all()
    assert (ExponentialOptions(nodes=2**dimension + 1).build(0).degrees == 2 * dimension).all()


@pytest.mark.parametrize("half, bridge", [(1, 1), (2, 1), (4, 1), (5, 3), (6, 6)])
def test_barbell_is_two_clusters_and_a_bridge(half, bridge):
    graph = BarbellOptions(nodes=2 * half, bridge=bridge).graph(0)
    crossing = [edge for edge in graph.edges if (min(edge) < half) != (max(edge) < half)]
    assert nx.is_matching(graph, set(crossing)) and len(crossing) == bridge
    graph.remove_edges_from(crossing)
    assert nx.utils.graphs_equal(graph, nx.disjoint_union(nx.complete_graph(half), nx.complete_graph(half)))


def test_barbell_with_one_edge_is_the_barbell_graph():
    assert nx.utils.graphs_equal(BarbellOptions(nodes=10).graph(0), nx.barbell_graph(5, 0))


def test_watts_strogatz_leads_as_many_edges_elsewhere_as_said():
    lattice = CirculantOptions(nodes=100, offsets=(1, 2, 3)).graph(0)
    for probability in (0.2, 1):
        options = WattsStrogatzOptions(nodes=100, neighbors=6, probability=probability)
        graphs = [options.graph(seed) for seed in range(10)]
        assert all(graph.number_of_edges() == 300 for graph in graphs)
        # an edge that is led elsewhere falls on a place of the lattice, of which some are free, only now and then
        kept = np.mean([len(nx.intersection(graph, lattice).edges) / 300 for graph in graphs])
        assert kept == pytest.approx(1 - probability, abs=0.07)


def test_watts_strogatz_is_drawn_again_until_connected():
    rewired = WattsStrogatzOptions(nodes=20, neighbors=2, probability=0.3)  # about one draw in five is not
    assert all(nx.is_connected(rewired.graph(seed)) for seed in range(30))


@pytest.mark.parametrize("nodes, attachments", [(30, 1), (30, 3), (9, 8)])
def test_barabasi_albert_edges(nodes, attachments):
    topology = BarabasiAlbertOptions(nodes=nodes, attachments=attachments).build(2)
    # the star at the start has as many edges as each node that comes after
    assert len(topology.edges) == attachments * (nodes - attachments)
    assert topology.is_tree == (attachments == 1 or nodes == attachments + 1)
    assert topology.degrees[attachments + 1 :].min(initial=attachments) == attachments


def test_barabasi_albert_has_hubs():
    degrees = [BarabasiAlbertOptions(nodes=300, attachments=2).build(seed).degrees.max() for seed in range(5)]
    assert min(degrees) > 20  # a random graph with as many edges, 4 neighbors in the mean, has no node above 14


@pytest.mark.parametrize("branching, height", [(2, 3), (3, 2), (4, 1)])
def test_a_full_tree_is_the_balanced_one(branching, height):
    expected = nx.balanced_tree(branching, height)
    assert nx.utils.graphs_equal(TreeOptions(nodes=len(expected), branching=branching).graph(0), expected)


def test_a_tree_that_is_not_full_lacks_the_last_leaves():
    assert edges(TreeOptions(nodes=6)) == [[0, 1], [0, 2], [1, 3], [1, 4], [2, 5]]
    assert edges(TreeOptions(nodes=5, branching=1)) == edges(PathOptions(nodes=5))
    assert edges(TreeOptions(nodes=5, branching=9)) == edges(StarOptions(nodes=5))


def test_random_trees_are_drawn_uniformly():
    """4^2 trees on four nodes: 4 stars and 12 paths, each as often as the others."""
    drawn = [tuple(map(tuple, edges(RandomTreeOptions(nodes=4), seed))) for seed in range(1600)]
    counts = Counter(drawn)
    assert len(counts) == 16 and all(nx.is_tree(nx.Graph(tree)) for tree in counts)
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 37.7  # chi-squared, 15 degrees: 1 in 1000
    assert edges(RandomTreeOptions(nodes=2)) == [[0, 1]]
    assert RandomTreeOptions(nodes=40).build(3).is_tree


def test_trees_are_known_as_such():
    assert StarOptions().build(0).is_tree and PathOptions().build(0).is_tree and RingOptions(nodes=2).build(0).is_tree
    assert not RingOptions().build(0).is_tree


def test_doubly_stochastic_is_claimed_where_it_is_sure():
    assert RingOptions().build(0).is_doubly_stochastic
    assert StarOptions().build(0).is_doubly_stochastic
    assert RingOptions(weights="uniform").build(0).is_doubly_stochastic
    assert not StarOptions(weights="uniform").build(0).is_doubly_stochastic
    assert not RingOptions(weights="uniform", schedule="failing").build(0).is_doubly_stochastic


@pytest.mark.parametrize("nodes, degree", [(8, 3), (9, 4), (8, 7), (2, 1), (5, 2), (30, 27), (40, 20)])
def test_random_regular_is_regular(nodes, degree):
    assert (RandomRegularOptions(nodes=nodes, degree=degree).build(1).degrees == degree).all()


def test_erdos_renyi_has_the_expected_number_of_edges():
    count = np.mean([len(edges(ErdosRenyiOptions(nodes=40, probability=0.3), seed)) for seed in range(20)])
    pairs = 40 * 39 / 2
    assert abs(count - 0.3 * pairs) < 5 * np.sqrt(pairs * 0.3 * 0.7 / 20)
    assert edges(ErdosRenyiOptions(nodes=5, probability=1)) == edges(CompleteOptions(nodes=5))


@pytest.mark.parametrize(
    "options",
    [
        ErdosRenyiOptions(nodes=20),
        RandomRegularOptions(nodes=20),
        WattsStrogatzOptions(nodes=20),
        BarabasiAlbertOptions(nodes=20),
    ],
)
def test_random_graphs_follow_the_seed(options):
    assert edges(options, 3) == edges(options, 3)
    assert len({str(edges(options, seed)) for seed in range(5)}) == 5


def test_random_graphs_are_drawn_again_until_connected():
    sparse = ErdosRenyiOptions(nodes=10, probability=0.2)  # about one draw in four is connected
    assert all(nx.is_connected(sparse.graph(seed)) for seed in range(30))


def test_any_networkx_graph_becomes_options():
    graph = nx.Graph([("oslo", "bern"), ("bern", "rome"), ("rome", "oslo"), ("rome", "kyiv")])
    options = EdgesOptions.from_graph(graph, weights="uniform", schedule="matching")
    # sorted: bern 0, kyiv 1, oslo 2, rome 3
    assert options.nodes == 4 and options.weights == "uniform" and options.schedule.name == "matching"
    assert edges(options) == [[0, 2], [0, 3], [1, 3], [2, 3]]


def test_labels_that_are_indices_stay_what_they_are():
    graph = nx.Graph([(3, 1), (1, 0), (0, 2)])
    assert edges(EdgesOptions.from_graph(graph)) == [[0, 1], [0, 2], [1, 3]]
    assert EdgesOptions.from_graph(graph).edges == ((0, 1), (0, 2), (1, 3))


def test_a_topology_takes_networkx_graphs_as_they_are():
    topology = Topology([nx.Graph([("d", "b"), ("c", "a")]), nx.Graph([("c", "b"), ("b", "d")])])
    assert topology.edges.tolist() == [[0, 2], [1, 2], [1, 3]]
    assert topology.active(0).tolist() == [True, False, True]
    assert topology.active(1).tolist() == [False, True, True]


def test_labels_that_cannot_be_compared_keep_the_order_of_the_graph():
    graph = nx.Graph([("hub", 7), ("hub", (1, 2)), ((1, 2), 3.5)])
    assert edges(EdgesOptions.from_graph(graph)) == [[0, 1], [0, 2], [2, 3]]


def test_relabeling_keeps_the_graph():
    graph = nx.petersen_graph()
    renamed = nx.relabel_nodes(graph, {node: f"node {7 * node % 10}" for node in graph})
    assert nx.is_isomorphic(EdgesOptions.from_graph(renamed).build(0).graph, graph)


def test_a_sequence_is_cycled_and_a_node_is_the_same_in_every_graph():
    graphs = [nx.Graph([("a", "c")]), nx.Graph([("b", "c"), ("c", "d")]), nx.Graph([("a", "b")])]
    topology = SequenceOptions.from_graphs(graphs).build(0)
    assert topology.edges.tolist() == [[0, 1], [0, 2], [1, 2], [2, 3]]
    for start in (0, 3, 300):
        assert topology.active(start).tolist() == [False, True, False, False]
        assert topology.active(start + 1).tolist() == [False, False, True, True]
        assert topology.active(start + 2).tolist() == [True, False, False, False]
    assert not topology.is_static


def test_a_sequence_of_one_graph_is_static():
    assert SequenceOptions.from_graphs([nx.cycle_graph(5)]).build(0).is_static
