"""Every node holds the exact mean after the promised number of rounds, with the promised number of neighbors."""

import math

import numpy as np
import pytest

from topologies.finite_time import base_graph, fewest_factors, hyper_hypercube, simple_base_graph

DEGREES = [1, 2, 3, 4]
NODES = range(1, 65)


def smooth(number, largest):
    """Whether no prime factor is above ``largest``."""
    for factor in range(2, largest + 1):
        while number % factor == 0:
            number //= factor
    return number == 1


def matrices(rounds, nodes):
    """The weights W of each round, each entry given once."""
    for edges in rounds:
        matrix = np.zeros((nodes, nodes))
        for i, j, weight in edges:
            assert i != j and matrix[i, j] == 0 and weight > 0
            matrix[i, j] = matrix[j, i] = weight
        np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
        yield matrix


def check_consensus(rounds, nodes, max_degree):
    product = np.eye(nodes)
    for matrix in matrices(rounds, nodes):
        # symmetric with rows that sum to one, by how it is made; and so doubly stochastic if no entry is negative
        assert (matrix.diagonal() > 0).all()
        assert (np.count_nonzero(matrix, axis=1) - 1).max() <= max_degree
        product = matrix @ product
    np.testing.assert_allclose(product, 1 / nodes, rtol=0, atol=1e-10)


@pytest.mark.parametrize("max_degree", DEGREES)
def test_hyper_hypercube(max_degree):
    for nodes in NODES:
        if not smooth(nodes, max_degree + 1):
            with pytest.raises(ValueError, match=f"^{nodes} has a prime factor above {max_degree + 1}$"):
                hyper_hypercube(range(nodes), max_degree)
            continue
        rounds = hyper_hypercube(range(nodes), max_degree)
        check_consensus(rounds, nodes, max_degree)
        assert len(rounds) <= max(1, 2 * math.log(nodes, max_degree + 2) + 1e-9)
        assert (max_degree + 1) ** len(rounds) >= nodes  # a node has heard of (k + 1)^L nodes at most


@pytest.mark.parametrize("make", [simple_base_graph, base_graph])
@pytest.mark.parametrize("max_degree", DEGREES)
def test_base_graphs(make, max_degree):
    for nodes in NODES:
        rounds = make(range(nodes), max_degree)
        check_consensus(rounds, nodes, max_degree)
        assert len(rounds) <= 2 * math.log(nodes, max_degree + 1) + 2 + 1e-9


@pytest.mark.parametrize("max_degree", DEGREES)
def test_who_is_shorter(max_degree):
    for nodes in NODES:
        simple, base = simple_base_graph(range(nodes), max_degree), base_graph(range(nodes), max_degree)
        assert len(base) <= len(simple)
        if smooth(nodes, max_degree + 1):
            assert base == simple == hyper_hypercube(range(nodes), max_degree)


@pytest.mark.parametrize("max_degree", DEGREES)
def test_simple_base_graphs_are_as_long_as_their_digits_say(max_degree):
    base = max_degree + 1
    for nodes in NODES:
        if smooth(nodes, base):
            continue
        power = int(math.log(nodes, base) + 1e-9)
        first = nodes // base**power
        # the largest part to its mean, one round to meet the others, each of its blocks to its mean
        assert len(simple_base_graph(range(nodes), max_degree)) == (power + (first > 1)) + 1 + power


@pytest.mark.parametrize(
    "make, max_degree, lengths",
    [
        # by hand, e.g. 6 = 4 + 2: 2 + 1 + 2 rounds; 6 = 2 x 3 with 3 = 2 + 1: (1 + 1 + 1) + 1 rounds
        (simple_base_graph, 1, {1: 0, 2: 1, 3: 3, 4: 2, 5: 5, 6: 5, 7: 5, 8: 3, 12: 7, 25: 9, 64: 6}),
        (base_graph, 1, {1: 0, 2: 1, 3: 3, 4: 2, 5: 5, 6: 4, 7: 5, 8: 3, 12: 5, 25: 9, 64: 6}),
        (base_graph, 2, {3: 1, 5: 3, 6: 2, 7: 4, 8: 3, 12: 3, 25: 6, 64: 6}),
        (base_graph, 3, {3: 1, 5: 3, 6: 2, 7: 3, 8: 2, 12: 2, 25: 5, 64: 3}),
        (base_graph, 4, {3: 1, 5: 1, 6: 2, 7: 3, 8: 2, 12: 2, 25: 2, 64: 3}),
        (base_graph, 11, {5: 1, 12: 1, 13: 3}),
    ],
)
def test_lengths(make, max_degree, lengths):
    assert {nodes: len(make(range(nodes), max_degree)) for nodes in lengths} == lengths


def test_five_nodes_by_hand():
    # 5 = 4 + 1: two rounds of a hypercube, node 0 meets the one that is left, two rounds of the hypercube again
    even, far = [(0, 1, 1 / 2), (2, 3, 1 / 2)], [(0, 2, 1 / 2), (1, 3, 1 / 2)]
    met = [(0, 4, 4 / 5), (2, 3, 1 / 2)]
    assert [sorted(edges) for edges in simple_base_graph(range(5), 1)] == [even, far, met, even, far]


def test_six_nodes_by_hand():
    # 6 = 4 + 2: the same for nodes 0 to 3, which meet 4 and 5, while these two go on wherever they have time
    even, far, pair = [(0, 1, 1 / 2), (2, 3, 1 / 2)], [(0, 2, 1 / 2), (1, 3, 1 / 2)], (4, 5, 1 / 2)
    met = [(0, 4, 2 / 3), (1, 5, 2 / 3), (2, 3, 1 / 2)]
    rounds = [[*even, pair], [*far, pair], met, [*even, pair], [*far, pair]]
    assert [sorted(edges) for edges in simple_base_graph(range(6), 1)] == rounds
    # 6 = 2 x 3, 3 = 2 + 1: two groups that reach their means, then three pairs of a node from each
    groups = [[(0, 1, 1 / 2), (3, 4, 1 / 2)], [(0, 2, 2 / 3), (3, 5, 2 / 3)], [(0, 1, 1 / 2), (3, 4, 1 / 2)]]
    across = [(0, 3, 1 / 2), (1, 4, 1 / 2), (2, 5, 1 / 2)]
    assert [sorted(edges) for edges in base_graph(range(6), 1)] == [*groups, across]


def test_a_part_that_has_its_mean_begins_again():
    first, second, third = simple_base_graph(range(12), 1)[:3]  # 12 = 8 + 4: three rounds for the 8, two for the 4
    of_the_four = [[edge for edge in edges if min(edge[:2]) >= 8] for edges in (first, second, third)]
    assert of_the_four[0] == of_the_four[2] == [(8, 9, 1 / 2), (10, 11, 1 / 2)] != of_the_four[1]


def test_who_waits_adds_no_edge():
    for nodes, max_degree in [(5, 1), (23, 1), (25, 2), (57, 3), (63, 4)]:
        base = max_degree + 1
        power = int(math.log(nodes, base) + 1e-9)
        largest = nodes // base**power * base**power
        union = {edge[:2] for edges in simple_base_graph(range(nodes), max_degree) for edge in edges}
        within = {edge for edge in union if max(edge) < largest}
        cube = {edge[:2] for edges in hyper_hypercube(range(largest), max_degree) for edge in edges}
        assert within == cube


@pytest.mark.parametrize("make, nodes", [(hyper_hypercube, 12), (simple_base_graph, 25), (base_graph, 14)])
def test_nodes_may_have_any_numbers(make, nodes):
    names = [3 * (5 * node % nodes) + 100 for node in range(nodes)]
    renamed = [[(names[i], names[j], weight) for i, j, weight in edges] for edges in make(range(nodes), 2)]
    assert make(names, 2) == renamed


def test_fewest_factors():
    assert fewest_factors(1, 2) == ()
    assert fewest_factors(7, 6) is None and fewest_factors(14, 6) is None
    assert fewest_factors(72, 6) == (6, 6, 2) and fewest_factors(40, 8) == (8, 5)
    assert fewest_factors(30, 10) == (10, 3) and fewest_factors(36, 9) == (9, 4)
    assert fewest_factors(216, 8) == (6, 6, 6) and fewest_factors(900, 12) == (10, 10, 9)  # not 8 or 12 first
    for number in range(2, 200):
        for largest in (2, 3, 5, 6, 10):
            factors = fewest_factors(number, largest)
            assert (factors is not None) == smooth(number, largest)
            if factors is not None:
                assert math.prod(factors) == number and all(2 <= factor <= largest for factor in factors)
                assert len(factors) == brute_force(number, largest)


def brute_force(number, largest):
    """The fewest factors: breadth first over all products."""
    reached, steps = {1}, 0
    while number not in reached:
        reached = {product * factor for product in reached for factor in range(2, largest + 1)}
        reached = {product for product in reached if number % product == 0}
        steps += 1
    return steps
