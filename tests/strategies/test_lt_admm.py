"""LT-ADMM against its formula in the paper's variables, ECL, and the minimizer of the sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from strategies import ECLOptions, LTADMMOptions
from tests.support.quadratic import (
    make_quadratic,
    quadratic_engine,
    quadratic_on,
    quadratic_strategy,
    rounds_to,
    run_rounds,
)
from tests.support.recursion import Recursion
from topologies import parse_topology

RING = {"name": "ring", "nodes": 4}
STAR = {"name": "star", "nodes": 5}
MATCHING = {"name": "ring", "nodes": 6, "schedule": "matching"}


class Formula(Recursion):
    """z_ij of the paper is in ``z[i, j]``, rho and beta = mu."""

    def lt_admm(self, penalty: float, local_steps: int) -> Iterator[Tensor]:
        union = self.union()
        params, z = self.zero, self.zero.new_zeros(*union.shape, self.zero.shape[1])
        for round in range(100):
            pull = penalty * union.sum(1)[:, None] * params - (union[..., None] * z).sum(1)
            local = params
            for _ in range(local_steps):
                local = local - self.lr * self.gradient(local) - self.lr * pull
            params = local
            now = self.active(round)[..., None] > 0
            z = torch.where(now, (z - z.transpose(0, 1) + 2 * penalty * params[None]) / 2, z)
            yield params


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("topology", [RING, STAR, MATCHING], ids=lambda graph: graph["name"])
def test_one_node_at_a_time_is_the_papers_recursion(topology: Any, local_steps: int) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, LTADMMOptions(lr=0.4, edge_penalty=0.2), graph, local_steps)
    for _, expected in zip(range(20), Formula(problem, graph).lt_admm(0.2, local_steps), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("theta", "mixing"), [(0.5, 0.0), (1.0, 0.0), (0.5, 1.0)])
@pytest.mark.parametrize("message_loss", [0.0, 0.3])
def test_one_step_a_round_on_a_regular_graph_is_ecl_with_another_step_size(
    message_loss: float, theta: float, mixing: float
) -> None:
    problem, graph = quadratic_on(RING)
    shared = {"edge_penalty": 0.4, "theta": theta, "mixing": mixing}
    explicit, implicit = (
        quadratic_engine(problem, options, graph, message_loss=message_loss)
        for options in (LTADMMOptions(lr=0.5, **shared), ECLOptions(lr=1 / (1 / 0.5 - 2 * 0.4), **shared))
    )
    for _ in range(20):
        torch.testing.assert_close(run_rounds(explicit, 1), run_rounds(implicit, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("message_loss", [0.0, 0.3])
@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("topology", [RING, STAR, {**MATCHING, "nodes": 4}], ids=["ring", "star", "matching"])
def test_exact_with_the_default_penalty(topology: Any, local_steps: int, message_loss: float) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(
        problem, LTADMMOptions(lr=0.3 / local_steps), graph, local_steps, message_loss=message_loss
    )
    assert rounds_to(engine, problem, 1e-9, limit=400) is not None
    assert problem.relative_error(run_rounds(engine, 20)) < 1e-9


def test_default_edge_penalty() -> None:
    strategy = quadratic_strategy(LTADMMOptions(lr=0.5, penalty_scale=3.0))
    assert strategy.edge_penalty(2, 5, 4) == strategy.edge_penalty(5, 2, 4) == pytest.approx(3.0 / (0.5 * 5 * 4))
    assert quadratic_strategy(LTADMMOptions(edge_penalty=0.7)).edge_penalty(2, 5, 4) == 0.7


def test_the_default_penalty_holds_at_a_hub_of_any_degree() -> None:
    """On a star of 40 nodes the pull at the hub is 1 / mu; with sqrt(E_i E_j) as in ECL it would be six times that."""
    problem = make_quadratic(2, 40, dim=4)
    graph = parse_topology({"name": "star", "nodes": 40}).build(seed=0)
    params = run_rounds(quadratic_engine(problem, LTADMMOptions(lr=0.3), graph), 200)
    assert problem.relative_error(params) < 1
    too_strong = LTADMMOptions(lr=0.3, edge_penalty=1 / (0.3 * 39**0.5))
    assert problem.relative_error(run_rounds(quadratic_engine(problem, too_strong, graph), 200)) > 1e6
