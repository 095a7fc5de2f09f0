"""DiNNO against torch's Adam on the augmented Lagrangian, consensus ADMM with exact solves, and the minimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from strategies import DiNNOOptions
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import quadratic_engine, quadratic_on, rounds_to, run_rounds
from tests.support.recursion import Recursion

RING = {"name": "ring", "nodes": 4}
STAR = {"name": "star", "nodes": 5}
MATCHING = {"name": "ring", "nodes": 6, "schedule": "matching"}


class ConsensusADMM(Recursion):
    """Duals of all nodes, and the augmented Lagrangian about the last exchange; rho is 0.5."""

    def rounds(self, solve: Any) -> Iterator[Tensor]:
        params, dual, edges = self.zero, self.zero, self.union()
        for round in range(100):
            params = solve(params, dual, edges)
            edges = self.active(round)
            dual = dual + 0.5 * (edges.sum(1)[:, None] * params - edges @ params)
            yield params

    def with_adam(self, local_steps: int) -> Iterator[Tensor]:
        def solve(start: Tensor, dual: Tensor, edges: Tensor) -> Tensor:
            params = start.clone().requires_grad_()
            adam = torch.optim.Adam([params], lr=0.05, eps=0.1)
            middle = (start[:, None] + start[None]) / 2
            for _ in range(local_steps):
                adam.zero_grad()
                apart = params - self.problem.targets
                loss = 0.5 * torch.einsum("ni,nij,nj->", apart, self.problem.hessians, apart)
                penalty = 0.5 * (edges[..., None] * (params[:, None] - middle) ** 2).sum()
                (loss + (params * dual).sum() + penalty).backward()
                adam.step()
            return params.detach()

        return self.rounds(solve)

    def solved(self) -> Iterator[Tensor]:
        def solve(start: Tensor, dual: Tensor, edges: Tensor) -> Tensor:
            degree = edges.sum(1)[:, None]
            matrix = self.problem.hessians + degree[..., None] * torch.eye(start.shape[1], dtype=start.dtype)
            right = torch.einsum("nij,nj->ni", self.problem.hessians, self.problem.targets) - dual
            return torch.linalg.solve(matrix, right + 0.5 * (degree * start + edges @ start))

        return self.rounds(solve)


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("topology", [RING, STAR, MATCHING], ids=lambda graph: graph["name"])
def test_one_node_at_a_time_is_torchs_adam_on_the_augmented_lagrangian(topology: Any, local_steps: int) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, DiNNOOptions(lr=0.05, epsilon=0.1), graph, local_steps)
    for _, expected in zip(range(20), ConsensusADMM(problem, graph).with_adam(local_steps), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("topology", [RING, STAR], ids=lambda graph: graph["name"])
def test_with_many_steps_it_is_consensus_admm(topology: Any) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, DiNNOOptions(lr=2.0, epsilon=10.0), graph, local_steps=600)
    for _, expected in zip(range(5), ConsensusADMM(problem, graph).solved(), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("topology", [RING, STAR, {**MATCHING, "nodes": 4}], ids=["ring", "star", "matching"])
def test_exact(topology: Any, local_steps: int) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, DiNNOOptions(lr=0.3 / local_steps, epsilon=1.0), graph, local_steps)
    assert rounds_to(engine, problem, 1e-9, limit=400) is not None
    assert problem.relative_error(run_rounds(engine, 20)) < 1e-9


def test_with_a_small_epsilon_a_constant_step_size_ends_near_the_minimizer_and_a_falling_one_at_it() -> None:
    problem, graph = quadratic_on(RING)
    constant, falling = (
        quadratic_engine(problem, DiNNOOptions(lr=0.005), graph, 2, lr_scale=scale)
        for scale in (lambda step: 1.0, lambda step: 0.997**step)
    )
    assert 1e-3 < problem.relative_error(run_rounds(constant, 800)) < 0.02
    assert problem.relative_error(run_rounds(falling, 800)) < 1e-4


@pytest.mark.parametrize("message_dtype", [None, "bfloat16"])
def test_duals_sum_to_zero_however_messages_are_rounded(message_dtype: Any) -> None:
    problem, graph = quadratic_on(STAR)
    options = DiNNOOptions(lr=0.05, message_dtype=message_dtype)
    network = quadratic_engine(problem, options, graph, 2, NaiveNetwork)
    run_rounds(network, 30)
    duals = torch.stack([network.states[node].dual for node in network.nodes])
    assert duals.norm() > 1e-2
    assert duals.sum(0).norm() < 1e-13
