"""Global update tracking against its paper's variables, and between the algorithms that it lies between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from strategies import GUTOptions, parse_strategy
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import Quadratic, quadratic_engine, quadratic_on, run_rounds
from tests.support.recursion import Recursion
from topologies import parse_topology

RING = {"name": "ring", "nodes": 4}
STAR = {"name": "star", "nodes": 5}
MATCHING = {"name": "ring", "nodes": 6, "schedule": "matching"}
TORUS = {"name": "torus", "nodes": 16}


class Updates(Recursion):
    """The formulas with y and delta, and those of the two limits."""

    def updates(self, scaling: float, momentum: float) -> Iterator[Tensor]:
        sent = before = mixed = update = buffer = self.zero
        for round in range(100):
            gradient = self.gradient(mixed)
            last, update = update, gradient - (mixed - sent) / self.lr
            tracked = update + scaling * ((before - mixed) / self.lr - last)
            before, sent = sent, sent - self.lr * (tracked + momentum * buffer)
            whole, mixed = mixed, self.weights(round) @ sent
            buffer = momentum * buffer + (1 - momentum) * (whole - mixed) / self.lr
            yield mixed

    def d2(self) -> Iterator[Tensor]:
        """Tang et al. 2018 with W itself."""
        params = previous = change = self.zero
        for round in range(100):
            last, change = change, self.lr * self.gradient(params)
            params, previous = self.weights(round) @ (2 * params - previous - change + last), params
            yield params


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("topology", [RING, STAR, MATCHING], ids=lambda graph: graph["name"])
def test_one_node_at_a_time_is_the_papers_recursion(topology: Any, momentum: float) -> None:
    problem, graph = quadratic_on(topology)
    options = GUTOptions(lr=0.4, scaling=0.3, momentum=momentum)
    engine = quadratic_engine(problem, options, graph)
    for _, expected in zip(range(20), Updates(problem, graph).updates(0.3, momentum), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("topology", [RING, STAR, MATCHING], ids=lambda graph: graph["name"])
def test_the_whole_update_tracked_is_d2_with_the_weights_themselves(topology: Any) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, GUTOptions(lr=0.4, scaling=1.0), graph)
    for _, expected in zip(range(20), Updates(problem, graph).d2(), strict=False):
        torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("message_loss", [0.0, 0.3])
@pytest.mark.parametrize(
    ("other", "momentum"),
    [
        ({"name": "dsgd", "momentum": 0.0}, 0.0),
        ({"name": "qg-dsgdm", "momentum": 0.5, "nesterov": False}, 0.5),
    ],
    ids=["dsgd", "qg-dsgdm"],
)
def test_nothing_tracked_is_decentralized_sgd(other: Any, momentum: float, message_loss: float) -> None:
    problem, graph = quadratic_on(STAR)
    settings = {"message_loss": message_loss, "lr_scale": lambda step: 1 / (1 + 0.1 * step), "local_steps": 3}
    untracked, plain = (
        quadratic_engine(problem, options, graph, **settings)
        for options in (GUTOptions(lr=0.3, scaling=0.0, momentum=momentum), parse_strategy({**other, "lr": 0.3}))
    )
    for _ in range(10):
        torch.testing.assert_close(run_rounds(untracked, 1), run_rounds(plain, 1), rtol=1e-12, atol=1e-12)


class Losing(NaiveNetwork):
    """Loses the message from 0 to 1 in the first three rounds."""

    def arrives(self) -> set[tuple[int, int]]:
        return self.sends() - ({(0, 1)} if self.round < 3 else set())

    def corrections(self) -> Tensor:
        return torch.stack([self.states[node].correction for node in self.nodes])


def test_corrections_sum_to_zero_and_what_a_lost_message_leaves_fades_away() -> None:
    problem, graph = quadratic_on(STAR)
    settings = {"lr_scale": lambda step: 1 / (1 + 0.1 * step), "local_steps": 3}
    options = GUTOptions(lr=0.1, scaling=0.3)
    whole = quadratic_engine(problem, options, graph, engine=NaiveNetwork, **settings)
    run_rounds(whole, 5)
    corrections = torch.stack([whole.states[node].correction for node in whole.nodes])
    assert corrections.norm() > 1e-2 and corrections.sum(0).norm() < 1e-14
    network = quadratic_engine(problem, options, graph, engine=Losing, **settings)
    run_rounds(network, 3)
    left = network.corrections().sum(0)
    assert left.norm() > 1e-3
    for _ in range(3):
        run_rounds(network, 1)
        left = 0.3 * left
        torch.testing.assert_close(network.corrections().sum(0), left, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("scaling", "grows"), [(0.3, False), (0.36, True)])
def test_the_smallest_eigenvalue_of_the_weights_bounds_the_scaling(scaling: float, grows: bool) -> None:
    """-3/5 on a 4 x 4 torus is -1 / (1 + 2 s) for s = 1/3."""
    flat = Quadratic(torch.zeros(16, 2, 2, dtype=torch.float64), torch.zeros(16, 2, dtype=torch.float64))
    graph = parse_topology(TORUS).build(seed=0)
    network = quadratic_engine(flat, GUTOptions(lr=0.1, scaling=scaling), graph, engine=NaiveNetwork)
    for node, params in zip(network.nodes, torch.randn(16, 2, generator=torch.Generator().manual_seed(0)), strict=True):
        network.states[node] = network.states[node]._replace(params=params.double(), start=params.double())
    early, late = (params - params.mean(0) for params in (run_rounds(network, 60), run_rounds(network, 60)))
    assert (late.norm() > early.norm()) == grows
