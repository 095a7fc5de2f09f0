from __future__ import annotations

import itertools
from typing import Any

import networkx as nx
import numpy as np
import pytest

from ngpd_fl import run
from ngpd_fl.config import Config
from ngpd_fl.data import divide, neighborhood_skew
from ngpd_fl.data.placement import label_distances, place
from topologies import Topology, parse_topology

PATH_OF_THREE = Topology([nx.path_graph(3)])


def edges_of(name: str, nodes: int, **more: Any) -> np.ndarray:
    return parse_topology({"name": name, "nodes": nodes, **more}).build(seed=1).edges


def cost(counts: np.ndarray, edges: np.ndarray, parts: Any) -> float:
    """Sum over the edges of half the L1 distance of the ends' shares, by loops."""
    shares = counts / counts.sum(1, keepdims=True)
    return sum(abs(shares[parts[i]] - shares[parts[j]]).sum() / 2 for i, j in edges.tolist())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("edges", [edges_of("ring", 7), edges_of("star", 6), edges_of("path", 7)], ids=len)
def test_neighbors_are_as_alike_or_as_different_as_any_placement_makes_them(edges: np.ndarray, seed: int) -> None:
    nodes = int(edges.max()) + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(50, rng.dirichlet(0.3 * np.ones(4)), size=nodes) + np.eye(nodes, 4, dtype=int)
    counts = np.stack([rng.multinomial(60, rng.dirichlet(0.3 * np.ones(4))) for _ in range(nodes)])
    every = [cost(counts, edges, parts) for parts in itertools.permutations(range(nodes))]
    for goal, best in (("alike", min(every)), ("different", max(every))):
        parts = place(counts, edges, goal, np.random.default_rng(0))  # type: ignore[arg-type]
        assert sorted(parts) == list(range(nodes))
        assert cost(counts, edges, parts) == pytest.approx(best)


def test_a_larger_search_ends_where_no_exchange_is_better() -> None:
    rng, edges = np.random.default_rng(0), edges_of("erdos-renyi", 30, probability=0.2)
    counts = np.stack([rng.multinomial(60, rng.dirichlet(0.3 * np.ones(10))) for _ in range(30)])
    parts = place(counts, edges, "alike", np.random.default_rng(0))
    least = cost(counts, edges, parts)
    for i, j in itertools.combinations(range(30), 2):
        other = list(parts)
        other[i], other[j] = other[j], other[i]
        assert cost(counts, edges, other) >= least - 1e-9
    drawn = [cost(counts, edges, rng.permutation(30)) for _ in range(500)]
    assert least < min(drawn)


def test_distances_are_total_variations() -> None:
    distances = label_distances(np.array([[2, 2], [4, 0], [0, 1]]))
    np.testing.assert_allclose(distances, [[0, 0.5, 0.5], [0.5, 0, 1], [0.5, 1, 0]])


def test_neighborhood_skew_by_hand() -> None:
    # Path 0 - 1 - 2, Metropolis: the ends give 2/3 to themselves and 1/3 to the middle, which gives 1/3 to each.
    skew = neighborhood_skew(np.array([[10, 0], [0, 10], [10, 0]]), PATH_OF_THREE)
    assert skew.between_neighbors == 1
    # Seen: (2/3, 1/3), (2/3, 1/3), (2/3, 1/3); pooled (2/3, 1/3): around every node all is as in the whole.
    assert skew.of_neighborhoods == pytest.approx(0)
    skew = neighborhood_skew(np.array([[10, 0], [10, 0], [0, 10]]), PATH_OF_THREE)
    assert skew.between_neighbors == 0.5
    # Seen: (1, 0), (2/3, 1/3), (1/3, 2/3): 1/3, 0 and 1/3 from the pooled one.
    assert skew.of_neighborhoods == pytest.approx(2 / 9)


def settings(placement: str | None) -> Config:
    return Config(
        data={} if placement is None else {"placement": placement},
        partition={"name": "dirichlet", "alpha": 0.1},
        topology={"name": "ring", "nodes": 8},
        training={"rounds": 1},
        model="softmax",
    )


def test_a_run_deals_the_same_parts_to_other_nodes_and_records_how_they_lie(tmp_path: Any) -> None:
    plain = divide(settings(None)).parts
    between = {}
    for placement in ("alike", "random", "different"):
        parts = divide(settings(placement)).parts
        assert sorted(map(tuple, parts)) == sorted(map(tuple, plain))
        skew = run(settings(placement), tmp_path / placement).summary["skew"]
        between[placement] = skew["between_neighbors"]
        counts = divide(settings(placement)).counts
        ring = parse_topology({"name": "ring", "nodes": 8}).build(seed=0)
        assert skew["of_neighborhoods"] == neighborhood_skew(counts, ring).of_neighborhoods
    assert between["alike"] < between["random"] < between["different"]


def test_neighborhoods_of_iid_data_are_the_whole_on_any_directed_graph() -> None:
    # Node 0 sends to three and hears all of them: its row of push-sum weights is 1/4 + 3/2 in sum.
    star = nx.DiGraph([(0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0), (1, 2)])
    assert neighborhood_skew(np.full((4, 2), 5), Topology([star])).of_neighborhoods == pytest.approx(0)
