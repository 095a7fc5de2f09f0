"""GTAdam against its formula for all nodes at once, torch's optimizers, and the minimizer of the sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from strategies import GTAdamOptions
from tests.support.quadratic import (
    Quadratic,
    QuadraticObjective,
    make_quadratic,
    quadratic_engine,
    quadratic_on,
    rounds_to,
    run_rounds,
)
from tests.support.recursion import Recursion
from topologies import parse_topology

RING = {"name": "ring", "nodes": 4}
STAR = {"name": "star", "nodes": 5}
MATCHING = {"name": "ring", "nodes": 6, "schedule": "matching"}
EVEN = {"beta1": 0.7, "beta2": 0.8, "epsilon": 0.01}


class Formula(Recursion):
    """The paper's formula, and the one with local steps."""

    def step(self, first: Tensor, second: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, second = 0.7 * first + 0.3 * direction, 0.8 * second + 0.2 * direction**2
        return first, second, self.lr * first / (second.sqrt() + 0.01)

    def gtadam(self) -> Iterator[Tensor]:
        params, first, second, tracked = self.zero, self.zero, self.zero, self.gradient(self.zero)
        for round in range(100):
            before = self.gradient(params)
            first, second, change = self.step(first, second, tracked)
            params = self.weights(round) @ params - change
            yield params
            tracked = self.weights(round) @ tracked + self.gradient(params) - before

    def with_local_steps(self, steps: int, decay: float) -> Iterator[Tensor]:
        params, first, second, correction = self.zero, self.zero, self.zero, self.zero
        for round in range(100):
            local, mean = params, self.zero
            for _ in range(steps):
                direction = self.gradient(local) + correction
                first, second, change = self.step(first, second, direction)
                local = local - change - self.lr * decay * local
                mean = mean + direction / steps
            params = self.weights(round) @ params + local - params
            correction = correction + self.weights(round) @ mean - mean
            yield params


@pytest.mark.parametrize("topology", [RING, STAR, MATCHING], ids=lambda graph: graph["name"])
def test_one_node_at_a_time_is_the_papers_recursion(topology: Any) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, GTAdamOptions(lr=0.4, **EVEN), graph)
    for _, expected in zip(range(20), Formula(problem, graph).gtadam(), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("topology", [RING, MATCHING], ids=lambda graph: graph["name"])
def test_local_steps_and_weight_decay(topology: Any) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, GTAdamOptions(lr=0.4, weight_decay=0.1, **EVEN), graph, local_steps=3)
    for _, expected in zip(range(20), Formula(problem, graph).with_local_steps(3, 0.1), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_nodes_with_the_same_data_do_the_steps_of_torch(weight_decay: float, local_steps: int) -> None:
    one = make_quadratic(10, nodes=1, dim=4)
    problem = Quadratic(one.hessians.repeat(4, 1, 1), one.targets.repeat(4, 1))
    options = GTAdamOptions(lr=0.03, bias_correction=True, weight_decay=weight_decay)
    engine = quadratic_engine(problem, options, parse_topology(RING).build(seed=0), local_steps)
    params = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.AdamW([params], lr=0.03, weight_decay=weight_decay)
    for _ in range(30):
        for _ in range(local_steps):
            adam.zero_grad()
            QuadraticObjective().gradient(params, (one.hessians[0], one.targets[0]))[0].backward()
            adam.step()
        torch.testing.assert_close(run_rounds(engine, 1), params.detach().expand(4, -1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("topology", [RING, STAR, {**MATCHING, "nodes": 4}], ids=["ring", "star", "matching"])
def test_exact(topology: Any, local_steps: int) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, GTAdamOptions(lr=0.1, epsilon=1.0), graph, local_steps)
    assert rounds_to(engine, problem, 1e-9, limit=500) is not None
    assert problem.relative_error(run_rounds(engine, 20)) < 1e-9


def test_with_a_small_epsilon_a_constant_step_size_ends_near_the_minimizer_and_a_falling_one_at_it() -> None:
    problem, graph = quadratic_on(RING)
    constant, falling = (
        quadratic_engine(problem, GTAdamOptions(lr=0.01, beta2=0.9), graph, lr_scale=scale)
        for scale in (lambda step: 1.0, lambda step: 0.995**step)
    )
    near = (run_rounds(constant, 1500) - problem.minimizer).abs().max()
    assert 1e-4 < near < 0.05
    assert problem.relative_error(run_rounds(falling, 1500)) < 1e-5
