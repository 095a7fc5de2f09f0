"""Refusals of bad options, word for word."""

import re

import networkx as nx
import pytest
from pydantic import ValidationError

from topologies import TOPOLOGIES, EdgesOptions, SequenceOptions, Topology, TopologyOptions, parse_topology
from topologies.options import TopologyOptions as Base


def message(values):
    with pytest.raises(ValidationError) as caught:
        parse_topology(values)
    (finding,) = caught.value.errors()
    return ".".join(map(str, finding["loc"])), finding["msg"].removeprefix("Value error, ")


@pytest.mark.parametrize(
    "values, words",
    [
        (
            {"name": "circulant", "nodes": 8, "offsets": [1, 5]},
            "offsets: must be different numbers from 1 to nodes // 2",
        ),
        (
            {"name": "circulant", "nodes": 8, "offsets": [1, 1]},
            "offsets: must be different numbers from 1 to nodes // 2",
        ),
        ({"name": "circulant", "nodes": 8, "offsets": [2, 4]}, "2 divides them all, so the graph is not connected"),
        ({"name": "circulant", "nodes": 8, "offsets": []}, "8 divides them all, so the graph is not connected"),
        ({"name": "torus", "nodes": 12, "rows": 5}, "rows: must divide nodes = 12; allowed: 1, 2, 3, 4, 6, 12 (got 5)"),
        ({"name": "random-regular", "nodes": 9}, "degree: must be even where nodes = 9 is odd (got 3)"),
        ({"name": "random-regular", "nodes": 3}, "degree: must be less than nodes = 3 (got 3)"),
        ({"name": "random-regular", "degree": 1}, "degree: must be at least 2 to connect nodes = 8 (got 1)"),
        ({"name": "hypercube", "nodes": 6}, "nodes: must be a power of two: 2, 4, 8, 16, ... (got 6)"),
        ({"name": "barbell", "nodes": 7}, "nodes: must be even, for two clusters of the same size (got 7)"),
        ({"name": "barbell", "bridge": 5}, "bridge: must be at most nodes / 2 = 4 (got 5)"),
        ({"name": "watts-strogatz", "nodes": 4}, "neighbors: must be less than nodes = 4 (got 4)"),
        ({"name": "barabasi-albert", "attachments": 8}, "attachments: must be less than nodes = 8 (got 8)"),
        (
            {"name": "hyper-hypercube", "nodes": 12},
            "nodes: must have no prime factor above max_degree + 1 = 2; base-graph takes any number (got 12)",
        ),
        ({"name": "edges", "nodes": 3, "edges": [[0, 1], [1, 1]]}, "edges: must join two different nodes (got [1, 1])"),
        ({"name": "edges", "nodes": 2, "edges": [[0, 1], [1, 0]]}, "edges: must name an edge of a graph once"),
        (
            {"name": "edges", "nodes": 2, "edges": [[0, 2]]},
            "edges: must name nodes from 0 to nodes - 1 = 1 (got [0, 2])",
        ),
        ({"name": "edges", "nodes": 3, "edges": [[0, 1]]}, "edges: the graph is not connected; there is no path"),
        ({"name": "edges", "nodes": 3, "edges": []}, "edges: the graph is not connected; there is no path"),
        ({"name": "sequence", "nodes": 3, "graphs": [[[0, 1]], [[1, 0]]]}, "graphs: the graph is not connected"),
        ({"name": "sequence", "nodes": 2, "graphs": [[[0, 1]], [[1, 1]]]}, "graphs: must join two different nodes"),
    ],
)
def test_values_that_do_not_fit_together(values, words):
    key, text = message(values)
    assert key == "" and words in text and "\n" not in text


@pytest.mark.parametrize(
    "values, key",
    [
        ({"name": "ring", "nodes": 1}, "nodes"),
        ({"name": "ring", "node": 8}, "node"),
        ({"name": "ring", "weights": "equal"}, "weights"),
        ({"name": "ring", "schedule": "sometimes"}, "schedule"),
        ({"name": "ring", "schedule": {"name": "matching", "probability": 0.1}}, "schedule.matching.probability"),
        ({"name": "ring", "schedule": {"name": "failing", "probability": 1}}, "schedule.failing.probability"),
        ({"name": "circulant", "offsets": [0]}, "offsets.0"),
        ({"name": "torus", "rows": 0}, "rows"),
        ({"name": "erdos-renyi", "probability": 0}, "probability"),
        ({"name": "erdos-renyi", "probability": float("nan")}, "probability"),
        ({"name": "random-regular", "degree": 0}, "degree"),
        ({"name": "barbell", "bridge": 0}, "bridge"),
        ({"name": "watts-strogatz", "neighbors": 3}, "neighbors"),
        ({"name": "watts-strogatz", "neighbors": 0}, "neighbors"),
        ({"name": "watts-strogatz", "probability": 1.1}, "probability"),
        ({"name": "barabasi-albert", "attachments": 0}, "attachments"),
        ({"name": "base-graph", "max_degree": 0}, "max_degree"),
        ({"name": "simple-base-graph", "max_degree": 0}, "max_degree"),
        ({"name": "hyper-hypercube", "max_degree": 0}, "max_degree"),
        ({"name": "one-peer-exponential", "nodes": 1}, "nodes"),
        ({"name": "base-graph", "weights": "equal"}, "weights"),
        ({"name": "file"}, "path"),
        ({"name": "file", "path": 3}, "path"),
        ({"name": "edges", "edges": [[0, 1]]}, "nodes"),
        ({"name": "edges", "nodes": 2}, "edges"),
        ({"name": "edges", "nodes": 2, "edges": [[0, -1]]}, "edges.0.1"),
        ({"name": "sequence", "nodes": 2, "graphs": []}, "graphs"),
    ],
)
def test_values_out_of_range_are_found_at_their_key(values, key):
    assert message(values)[0] == key


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_number_of_nodes_is_bounded_before_anything_is_drawn(name):
    required = {"path": "nowhere.txt", "fingerprint": "x", "edges": [[0, 1]], "graphs": [[[0, 1]]]}
    wanted = required.keys() & TOPOLOGIES[name].model_fields.keys()
    key, text = message({"name": name, "nodes": 10**9, **{each: required[each] for each in wanted}})
    assert key == "nodes" and text == "Input should be less than or equal to 100000"


@pytest.mark.parametrize(
    "values",
    [
        {"name": "circulant", "offsets": list(range(1, 101))},
        {"name": "complete"},
        {"name": "barbell"},
        {"name": "erdos-renyi"},
        {"name": "random-regular", "degree": 50_000},
        {"name": "watts-strogatz", "neighbors": 50_000},
        {"name": "barabasi-albert", "attachments": 5_000},
        {"name": "base-graph", "max_degree": 99_999},
        {"name": "simple-base-graph", "max_degree": 99_999},
        {"name": "hyper-hypercube", "max_degree": 99_999},
    ],
)
def test_a_number_of_edges_is_bounded_before_anything_is_drawn(values):
    key, text = message({"nodes": 100_000, **values})
    assert key == "" and re.fullmatch(r"nodes: would have about [\d,]+ edges; allowed: 5,000,000 \(got 100000\)", text)


@pytest.mark.parametrize("name", ["ring", "exponential", "torus", "star", "erdos-renyi"])
def test_large_sparse_networks_are_not_refused(name):
    parse_topology({"name": name, "nodes": 100_000, **({"probability": 1e-4} if name == "erdos-renyi" else {})})


@pytest.mark.parametrize(
    "name", [name for name, family in TOPOLOGIES.items() if family.other_weights == ("own", "push-sum")]
)
def test_weights_of_their_own_are_for_graphs_that_have_them(name, tmp_path):
    (tmp_path / "graph.txt").write_text("0 1")
    required = {
        "edges": {"nodes": 2, "edges": [[0, 1]]},
        "sequence": {"nodes": 2, "graphs": [[[0, 1]]]},
        "file": {"path": tmp_path / "graph.txt"},
    }
    key, text = message({"name": name, **required.get(name, {}), "weights": "own"})
    assert key == "weights"
    assert text == "Input should be 'metropolis', 'max-degree' or 'uniform'"


def test_an_unknown_rule_of_weights_is_answered_with_all_that_there_are():
    text = "Input should be 'metropolis', 'max-degree', 'uniform' or 'own'"
    assert message({"name": "base-graph", "weights": "equal"}) == ("weights", text)


@pytest.mark.parametrize(
    "edges, words",
    [
        ([(0, 1, 0.5), (1, 2, None)], "the edge from 1 to 2 needs an attribute 'weight' above 0 (got None)"),
        ([(0, 1, 0.5), (1, 2, 0)], "the edge from 1 to 2 needs an attribute 'weight' above 0 (got 0)"),
        ([(0, 1, 0.5), (1, 2, float("nan"))], "needs an attribute 'weight' above 0 (got nan)"),
        ([(0, 1, 0.5), (1, 2, "much")], "needs an attribute 'weight' above 0 (got 'much')"),
        ([(0, 1, 0.6), (1, 2, 0.5)], "the weights of the edges at node 1 must sum to one at most (got 1.1)"),
    ],
)
def test_weights_that_graphs_cannot_carry(edges, words):
    graph = nx.Graph()
    graph.add_weighted_edges_from(edges)
    with pytest.raises(ValueError) as caught:
        Topology([graph], weights="own")
    assert words in str(caught.value)
    Topology([graph])  # where they do not count, they do not matter


def test_unknown_names():
    allowed = (
        "ring, circulant, exponential, torus, hypercube, complete, star, path, tree, barbell, "
        "erdos-renyi, random-regular, watts-strogatz, barabasi-albert, random-tree, "
        "one-peer-exponential, hyper-hypercube, simple-base-graph, base-graph, "
        "directed-ring, directed-exponential, directed-one-peer-exponential, directed-edges, edges, sequence, file"
    )
    for value, name in [("moon", "'moon'"), ({"name": "moon", "nodes": 3}, "'moon'"), ({"name": ["ring"]}, "['ring']")]:
        with pytest.raises(ValueError) as caught:
            parse_topology(value)
        assert str(caught.value) == f"{name} is not known; allowed: {allowed}"
    with pytest.raises(ValueError, match="^this key is required; allowed: ring, "):
        parse_topology({"nodes": 8})


@pytest.mark.parametrize(
    "graph, words",
    [
        (nx.MultiGraph([(0, 1), (0, 1)]), "the graph is a multigraph"),
        (nx.Graph([("a", "b"), ("b", "b")]), "the graph joins node 'b' to itself"),
        (nx.Graph([("a", "b"), ("c", "d")]), "not connected; there is no path from node 'a' to node 'c'"),
        (nx.empty_graph(0), "the graph needs at least"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [EdgesOptions.from_graph, lambda graph: SequenceOptions.from_graphs([graph]), lambda graph: Topology([graph])],
)
def test_graphs_that_cannot_be_used(graph, words, make):
    with pytest.raises(ValueError) as caught:
        make(graph)
    text = str(caught.value)
    assert "\n" not in text and (words in text or words.replace("'a'", "0").replace("'c'", "2") in text)


def test_a_directed_graph_is_not_taken_for_one_whose_edges_run_both_ways():
    for make in (EdgesOptions.from_graph, lambda graph: SequenceOptions.from_graphs([graph])):
        with pytest.raises(ValueError, match="the graph is directed"):
            make(nx.DiGraph([(0, 1), (1, 0)]))


def test_one_node_is_no_network_to_configure_but_a_topology():
    for make in (EdgesOptions.from_graph, lambda graph: SequenceOptions.from_graphs([graph])):
        with pytest.raises(ValueError, match="at least 2 nodes"):
            make(nx.empty_graph(1))
    alone = Topology([nx.empty_graph(1)])
    assert (alone.num_nodes, len(alone.edges), alone.weights(0).own.tolist()) == (1, 0, [1.0])


@pytest.mark.parametrize(
    "values, words",
    [
        ({"name": "erdos-renyi", "nodes": 50, "probability": 0.01}, r"^probability: must be larger, .* \(got 0.01\)"),
        (
            {"name": "random-regular", "nodes": 3000, "degree": 2},
            r"^degree: must be larger for nodes = 3000 \(got 2\)",
        ),
        (
            {"name": "watts-strogatz", "nodes": 3000, "neighbors": 2, "probability": 1},
            r"^neighbors: must be larger for probability = 1 \(got 2\)",
        ),
    ],
)
def test_families_that_give_no_connected_graph_say_so(values, words, monkeypatch):
    monkeypatch.setattr("topologies.random_families.ATTEMPTS", 3)
    with pytest.raises(ValueError, match=words + ".* was a connected graph$"):
        parse_topology(values).build(0)


def test_the_base_is_no_family():
    assert TopologyOptions is Base
    with pytest.raises(TypeError):
        TopologyOptions(name="ring")


def test_options_do_not_change():
    options = parse_topology("ring")
    with pytest.raises(ValidationError):
        options.nodes = 9
