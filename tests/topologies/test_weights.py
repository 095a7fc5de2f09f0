"""The weight rules against an example by hand.

The graph: a triangle 0, 1, 2 with a tail 2 - 3 - 4. Degrees 2, 2, 3, 2, 1.
"""

import numpy as np
import pytest

from topologies import WEIGHTS
from topologies.weights import max_degree, metropolis_hastings, uniform_neighbor

EDGES = np.array([[0, 1], [0, 2], [1, 2], [2, 3], [3, 4]])
ALL = np.ones(5, dtype=bool)


def test_metropolis_hastings_by_hand():
    third, quarter = 1 / 3, 1 / 4
    weights = metropolis_hastings(EDGES, ALL, 5)
    np.testing.assert_allclose(
        weights.matrix().toarray(),
        [
            [5 / 12, third, quarter, 0, 0],
            [third, 5 / 12, quarter, 0, 0],
            [quarter, quarter, quarter, quarter, 0],
            [0, 0, quarter, 5 / 12, third],
            [0, 0, 0, third, 2 / 3],
        ],
    )


def test_max_degree_by_hand():
    weights = max_degree(EDGES, ALL, 5)
    np.testing.assert_array_equal(weights.edge, np.full((5, 2), 1 / 4))
    np.testing.assert_allclose(weights.own, [1 / 2, 1 / 2, 1 / 4, 1 / 2, 3 / 4])


def test_uniform_by_hand():
    third, quarter, half = 1 / 3, 1 / 4, 1 / 2
    weights = uniform_neighbor(EDGES, ALL, 5)
    # what i gives to j first, then what j gives to i
    np.testing.assert_allclose(
        weights.edge, [[third, third], [third, quarter], [third, quarter], [quarter, third], [third, half]]
    )
    np.testing.assert_allclose(weights.own, [third, third, quarter, third, half])


def test_matrix_acts_as_each_node_averaging_what_it_hears():
    values = np.array([3.0, -1.0, 4.0, 1.0, -5.0])
    mixed = uniform_neighbor(EDGES, ALL, 5).matrix() @ values
    np.testing.assert_allclose(mixed, [2, 2, 7 / 4, 0, -2], atol=1e-12)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_degrees_are_those_of_the_active_graph(name):
    active = np.array([True, False, False, False, True])  # a matching: every degree is 0 or 1
    weights = WEIGHTS[name](EDGES, active, 5)
    np.testing.assert_array_equal(weights.edge, np.where(active[:, None], 0.5, 0.0) * np.ones((5, 2)))
    np.testing.assert_array_equal(weights.own, [0.5, 0.5, 1, 0.5, 0.5])


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_without_active_edges_every_node_keeps_its_value(name):
    weights = WEIGHTS[name](EDGES, ~ALL, 5)
    np.testing.assert_array_equal(weights.matrix().toarray(), np.eye(5))
