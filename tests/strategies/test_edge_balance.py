"""Edge balance: the regression of the opposite gradient on the pull, its bounds, and what both ends make of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from strategies import NGPDOptions
from strategies.contract import Headers
from strategies.parts.edge_balance import EdgeBalance, after_pull, after_ratios, after_trust, ratio
from tests.support.quadratic import make_quadratic, quadratic_engine, run_rounds
from topologies import parse_topology

ONE = torch.ones((), dtype=torch.float64)


def balance_of(*steps: tuple[list[float], list[float]]) -> EdgeBalance:
    """Return a balance after steps with these pulls and gradients."""
    zero = torch.zeros((), dtype=torch.float64)
    balance = EdgeBalance(zero, zero, ONE, torch.full((2,), 0.25, dtype=torch.float64))
    for pull, gradient in steps:
        balance = after_pull(balance, *(torch.tensor(vector, dtype=torch.float64) for vector in (pull, gradient)))
    return balance


def test_ratio_is_the_regression_of_the_opposite_gradient_on_the_pull() -> None:
    pull, gradient = [1.0, 2.0, 0.0], [-1.0, -1.0, 5.0]
    expected = torch.linalg.lstsq(torch.tensor([pull]).T, -torch.tensor([gradient]).T).solution
    assert ratio(balance_of((pull, gradient)), ONE).item() == pytest.approx(expected.item())


def test_ratio_is_one_at_rest_whatever_came_before() -> None:
    at_rest = [([3.0, -4.0], [-3.0, 4.0])] * 1000
    assert ratio(balance_of(([1.0, 0.0], [9.0, 2.0]), *at_rest), ONE).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], 0.5),
        ([([0.0, 0.0], [1.0, 1.0])], 0.5),
        ([([1.0, 0.0], [0.0, 1.0])], 1 / 3),
        ([([1.0, 0.0], [4.0, 0.0])], 1 / 3),
        ([([1.0, 0.0], [-9.0, 0.0])], 2.0),
    ],
    ids=["no step", "no pull", "unrelated", "along the gradient", "far too weak"],
)
def test_bounds(steps: Any, expected: float) -> None:
    assert ratio(balance_of(*steps), ONE).item() == pytest.approx(expected)


def test_a_pull_that_overflows_does_not_count() -> None:
    huge, gradient = [1e200, 1.0], [-3.0, 2.0]
    assert ratio(balance_of((huge, gradient)), ONE).item() == 0.5
    known = balance_of(([2.0, 0.0], [-1.6, 9.0]))
    after = balance_of(([2.0, 0.0], [-1.6, 9.0]), (huge, gradient), ([1.0, 0.0], [-1e300, 1e300]))
    assert ratio(after, ONE).isfinite() and ratio(known, ONE).item() == pytest.approx(0.8)
    assert ratio(balance_of(([2.0, 0.0], [-1.6, 9.0]), (huge, gradient)), ONE).item() == pytest.approx(0.8)


def test_whatever_a_neighbor_sends_a_penalty_has_its_bounds_and_its_sign() -> None:
    theirs = torch.tensor([0.7, 0.0, -5.0, 1e30, 0.9], dtype=torch.float64)
    received = torch.tensor([True, True, True, True, False])
    balance = balance_of()._replace(scale=torch.full((5,), 0.25, dtype=torch.float64))
    zeros = torch.zeros(5, dtype=torch.int64)
    own = torch.tensor(0.5, dtype=torch.float64)
    found = after_ratios(balance, theirs, own, Headers(received, zeros, zeros, ~received)).scale
    assert found.tolist() == pytest.approx([0.35, 0.005, 0.005, 1.0, 0.25])


def test_rounded_messages_leave_one_penalty_an_edge() -> None:
    """Both ends multiply what has traveled: also their own ratio as the other end has it."""
    problem = make_quadratic(10, nodes=2, dim=4)
    options = NGPDOptions(lr=0.5, damping=0.2, trust_radius=0, factor_every=1, basis_every=1, message_dtype="float16")
    engine = quadratic_engine(problem, options, parse_topology({"name": "path", "nodes": 2}).build(seed=0))
    run_rounds(engine, 5)
    (state,) = engine.group.states
    (first,), (second,) = state.balance.scale
    assert first == second and 0.01 < first < 4 and first != 0.25


@pytest.mark.parametrize("message_loss", [0.0, 0.3])
@pytest.mark.parametrize(
    "topology",
    [{"name": "ring", "nodes": 5}, {"name": "one-peer-exponential", "nodes": 4}],
    ids=lambda topology: topology["name"],
)
def test_network_rests_at_the_minimizer_with_one_penalty_an_edge(topology: dict[str, Any], message_loss: float) -> None:
    problem = make_quadratic(10, nodes=topology["nodes"], dim=4)
    options = NGPDOptions(lr=0.5, damping=0.2, penalty_scale=1, trust_radius=0, factor_every=1, basis_every=1)
    graph = parse_topology(topology).build(seed=0)
    engine = quadratic_engine(problem, options, graph, local_steps=3, message_loss=message_loss, seed=3)
    run_rounds(engine, 600)
    assert problem.relative_error(engine.params()) < 1e-10
    (state,) = engine.group.states
    slots = [sorted(graph.graph.neighbors(node)) for node in range(graph.num_nodes)]
    of_edge = {(i, j): float(state.balance.scale[i, slot]) for i, row in enumerate(slots) for slot, j in enumerate(row)}
    assert all(scale == pytest.approx(of_edge[j, i], abs=1e-6) for (i, j), scale in of_edge.items())
    assert any(abs(scale - 0.25) > 0.01 for scale in of_edge.values())  # it has moved


def test_balance_bounds_what_a_constant_penalty_lets_explode() -> None:
    """On this varying graph, Peaceman-Rachford splitting with c = 4 and eta as it is at rest is not stable."""
    problem = make_quadratic(10, nodes=4, dim=4)
    graph = parse_topology({"name": "one-peer-exponential", "nodes": 4}).build(seed=0)
    shared: dict[str, Any] = {"lr": 0.5, "damping": 0.2, "trust_radius": 0, "factor_every": 1, "basis_every": 1}
    errors = [
        problem.relative_error(run_rounds(quadratic_engine(problem, options, graph, local_steps=3), 400))
        for options in (NGPDOptions(**shared), NGPDOptions(edge_penalty=4 * 0.2 / (0.5 * 3), **shared))
    ]
    assert errors[0] < 0.01
    assert not errors[1] < 1e6


def test_penalties_follow_the_damping_of_both_ends() -> None:
    one_step = balance_of(([1.0, 0.0], [-1.0, 0.0]))
    assert ratio(one_step, torch.tensor(0.25)).item() == pytest.approx(0.5)  # eta is in proportion to the root of both


def test_penalties_are_weak_while_the_trust_region_shortens_steps() -> None:
    balance = balance_of(([1.0, 0.0], [-1.0, 0.0]))
    for _ in range(1000):
        balance = after_trust(balance, torch.tensor(0.3, dtype=torch.float64))
    assert ratio(balance, ONE).item() == pytest.approx(0.3)


def test_no_ratio_is_below_what_neighbors_accept() -> None:
    """Otherwise the ends of an edge would have different penalties, and the rest point would move."""
    balance = balance_of(([1.0, 0.0], [4.0, 0.0]))._replace(trust=torch.tensor(0.01, dtype=torch.float64))
    sent = ratio(balance, torch.tensor(0.01, dtype=torch.float64))
    other = balance_of()._replace(scale=torch.zeros(1, dtype=torch.float64))
    none = torch.zeros(1, dtype=torch.int64)
    headers = Headers(torch.tensor([True]), none, none, torch.tensor([False]))
    mine = after_ratios(other, ONE[None] * 0.7, sent, headers).scale
    theirs = after_ratios(other, sent[None], ONE * 0.7, headers).scale
    assert mine.item() == theirs.item()
