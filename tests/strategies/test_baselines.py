"""First-order baselines against their papers' recursions for all nodes at once, and what their theory promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor

from strategies import D2, D2Options, StrategyOptions, parse_strategy
from strategies.parts.gossip import ParamsMessage
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import (
    Quadratic,
    QuadraticObjective,
    quadratic_engine,
    quadratic_on,
    rounds_to,
    run_rounds,
)
from tests.support.recursion import Recursion

RING = {"name": "ring", "nodes": 4}
STAR = {"name": "star", "nodes": 5}
PATH = {"name": "path", "nodes": 4}
MATCHING = {"name": "ring", "nodes": 6, "schedule": "matching"}
TORUS = {"name": "torus", "nodes": 16}


def options_of(name: str, **options: Any) -> StrategyOptions:
    return parse_strategy({"name": name, **options})


# The recursions, for the parameters of all nodes [N, P].


class Baselines(Recursion):
    """The papers' formulas."""

    def dsgt(self) -> Iterator[Tensor]:
        params, tracked = self.zero, self.gradient(self.zero)
        for round in range(100):
            before = self.gradient(params)
            params = self.weights(round) @ (params - 0.4 * tracked)
            yield params
            tracked = self.weights(round) @ tracked + self.gradient(params) - before

    def momentum_tracking(self) -> Iterator[Tensor]:
        params, velocity, correction = self.zero, self.zero, self.zero
        for round in range(100):
            velocity = 0.6 * velocity + self.gradient(params)
            params = self.weights(round) @ (params - 0.4 * (velocity - correction))
            correction = self.weights(round) @ (correction - velocity) + velocity
            yield params

    def local_exact_diffusion(self) -> Iterator[Tensor]:
        params, dual = self.zero, self.zero
        for round in range(100):
            phi = params
            for _ in range(3):
                phi = phi - 0.4 * self.gradient(phi) - dual / 3
            params = (phi + self.weights(round) @ phi) / 2
            dual = dual + phi - params
            yield params

    def ad_psgd_in_pairs(self) -> Iterator[Tensor]:
        params = self.zero
        for round in range(100):
            edges = self.topology.edges[self.topology.active(round)].tolist()
            averaged = params.clone()
            for pair in edges:
                averaged[pair] = params[pair].mean(0)
            params = averaged - 0.4 * self.gradient(params)
            yield params

    def relay(self) -> Iterator[Tensor]:
        """Every node's half-step reaches every other, as many rounds late as there are nodes between them."""
        distance = dict(nx.all_pairs_shortest_path_length(self.topology.graph))
        params, halves = self.zero, []
        for round in range(100):
            halves.append(params - 0.4 * self.gradient(params))
            params = torch.stack(
                [
                    torch.stack(
                        [halves[at][j] for j in distance if (at := round - max(distance[i][j] - 1, 0)) >= 0]
                    ).mean(0)
                    for i in range(len(params))
                ]
            )
            yield params


@pytest.mark.parametrize(
    ("name", "options", "local_steps", "recursion", "topologies"),
    [
        ("gradient-tracking", {}, 1, Baselines.dsgt, (RING, STAR, MATCHING)),
        ("momentum-tracking", {"momentum": 0.6}, 1, Baselines.momentum_tracking, (RING, STAR, MATCHING)),
        ("momentum-tracking", {"momentum": 0.0}, 1, Baselines.dsgt, (RING,)),
        ("exact-diffusion", {}, 3, Baselines.local_exact_diffusion, (RING, STAR, MATCHING)),
        ("ad-psgd", {}, 1, Baselines.ad_psgd_in_pairs, (MATCHING,)),
        ("relay-sgd", {}, 1, Baselines.relay, (PATH, STAR, {"name": "random-tree", "nodes": 7})),
    ],
)
def test_one_node_at_a_time_is_the_papers_recursion(
    name: str, options: Any, local_steps: int, recursion: Any, topologies: Any
) -> None:
    for topology in topologies:
        problem, graph = quadratic_on(topology)
        engine = quadratic_engine(problem, options_of(name, lr=0.4, **options), graph, local_steps)
        for _, expected in zip(range(12), recursion(Baselines(problem, graph)), strict=False):
            torch.testing.assert_close(run_rounds(engine, 1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lr_scale", [lambda step: 1.0, lambda step: 1 / (1 + 0.1 * step)])
@pytest.mark.parametrize("message_loss", [0.0, 0.3])
def test_d2_is_exact_diffusion_in_other_variables(message_loss: float, lr_scale: Any) -> None:
    problem, graph = quadratic_on(STAR)
    d2, diffusion = (
        quadratic_engine(problem, options_of(name, lr=0.4), graph, message_loss=message_loss, lr_scale=lr_scale)
        for name in ("d2", "exact-diffusion")
    )
    for _ in range(20):
        torch.testing.assert_close(run_rounds(d2, 1), run_rounds(diffusion, 1), rtol=1e-12, atol=1e-12)


# They reach the minimizer of the sum, whatever the nodes' own minimizers are.


@pytest.mark.parametrize("topology", ["ring", "star", "matching"])
@pytest.mark.parametrize(
    ("name", "local_steps", "options"),
    [
        ("d2", 1, {"lr": 0.5}),
        ("exact-diffusion", 1, {"lr": 0.5}),
        ("exact-diffusion", 3, {"lr": 0.2}),
        ("gradient-tracking", 1, {"lr": 0.3}),
        ("gradient-tracking", 3, {"lr": 0.1}),
        ("momentum-tracking", 1, {"lr": 0.2, "momentum": 0.3}),
        ("momentum-tracking", 3, {"lr": 0.07, "momentum": 0.3}),
    ],
)
def test_exact(name: str, local_steps: int, options: Any, topology: str) -> None:
    small = {"ring": RING, "star": {"name": "star", "nodes": 3}, "matching": {**MATCHING, "nodes": 4}}
    problem, graph = quadratic_on(small[topology])
    engine = quadratic_engine(problem, options_of(name, **options), graph, local_steps)
    assert rounds_to(engine, problem, 1e-9, limit=130) is not None
    assert problem.relative_error(run_rounds(engine, 5)) < 1e-9


@pytest.mark.parametrize("topology", [PATH, STAR, {"name": "tree", "nodes": 7}], ids=["path", "star", "tree"])
def test_relay_sgd_is_exact_with_one_step_a_round(topology: Any) -> None:
    problem, graph = quadratic_on(topology)
    engine = quadratic_engine(problem, options_of("relay-sgd", lr=0.3, momentum=0.3), graph)
    assert rounds_to(engine, problem, 1e-9, limit=300) is not None


@pytest.mark.parametrize("topology", [PATH, STAR], ids=["path", "star"])
def test_relay_sgd_rests_where_the_rounds_of_local_steps_cancel(topology: Any) -> None:
    """Everyone at w with sum_i [(I - mu H_i)^3 - I] (w - b_i) = 0: as federated averaging."""
    problem, graph = quadratic_on(topology)
    step = torch.eye(4, dtype=torch.float64) - 0.4 * problem.hessians
    whole = torch.linalg.matrix_power(step, 3) - torch.eye(4, dtype=torch.float64)
    point = torch.linalg.solve(whole.sum(0), torch.einsum("nij,nj->i", whole, problem.targets))
    params = run_rounds(quadratic_engine(problem, options_of("relay-sgd", lr=0.4), graph, 3), 150)
    torch.testing.assert_close(params, point.expand_as(params), rtol=0, atol=1e-9)
    assert problem.relative_error(params) > 1e-2


# Why D2 averages with (I + W) / 2.


class PlainD2(D2):
    """With W itself."""

    def incoming(self, state: Any, view: Any, round_view: Any, *arguments: Any) -> Any:
        doubled = round_view._replace(weight_in=2 * round_view.weight_in)
        return super().incoming(state, view, doubled, *arguments)


def contraction(matrix: Tensor, problem: Quadratic, lr: float) -> float:
    """The largest modulus among the eigenvalues of D2's iteration of (w, d), d(t) = w(t) - psi(t).

    phi = w - lr H w + d, w <- M phi, d <- M phi - (w - lr H w). The mean of d never changes: an eigenvalue 1 for each
    coordinate, which is left out.
    """
    nodes, dim = problem.targets.shape
    mixing = torch.kron(matrix, torch.eye(dim, dtype=torch.float64))
    step = torch.eye(nodes * dim, dtype=torch.float64) - lr * torch.block_diag(*problem.hessians)
    iteration = torch.cat([torch.cat([mixing @ step, mixing], 1), torch.cat([mixing @ step - step, mixing], 1)])
    values = torch.linalg.eigvals(iteration)
    apart = (values - 1).abs() > 1e-6  # a multiple eigenvalue is found to about the root of the rounding
    assert (~apart).sum() == dim
    return float(values[apart].abs().max())


def test_d2_needs_weights_with_eigenvalues_above_minus_a_third() -> None:
    problem, graph = quadratic_on(TORUS)
    weights = torch.tensor(graph.weights(0).matrix().toarray())
    eye = torch.eye(16, dtype=torch.float64)
    assert torch.linalg.eigvalsh(weights)[0].item() == pytest.approx(-3 / 5)
    # As fast as the largest eigenvalue says, in the one case to the minimizer and in the other away from it.
    halved, plain = contraction((weights + eye) / 2, problem, 0.4), contraction(weights, problem, 0.4)
    assert halved < 1 < 1.3 < plain
    wrong = PlainD2(D2Options(lr=0.4), QuadraticObjective())
    for strategy, rate, rounds in ((None, halved, 60), (wrong, plain, 30)):
        d2 = quadratic_engine(problem, options_of("d2", lr=0.4), graph, strategy=strategy)
        early, late = (problem.relative_error(run_rounds(d2, rounds)) for _ in range(2))
        assert late / early == pytest.approx(rate**rounds, rel=0.3)


# What is corrected here is owed there.


@pytest.mark.parametrize("message_dtype", [None, "bfloat16"])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(
    "name", ["exact-diffusion", "gradient-tracking", "momentum-tracking", "gtadam", "demuon", "suda-muon"]
)
def test_corrections_sum_to_zero_however_messages_are_rounded_or_clipped(
    name: str, clip: Any, message_dtype: Any
) -> None:
    problem, graph = quadratic_on(STAR)
    options = options_of(name, lr=0.1, clip=clip, message_dtype=message_dtype)
    network = quadratic_engine(problem, options, graph, 2, NaiveNetwork)
    run_rounds(network, 30)
    states = [network.states[node] for node in network.nodes]
    corrections = torch.stack([getattr(state, "tracker", state).correction for state in states])
    assert corrections.norm() > 1e-2
    assert corrections.sum(0).norm() < 1e-13


@pytest.mark.parametrize(
    "name",
    [
        *("d2", "exact-diffusion", "gradient-tracking", "momentum-tracking", "gtadam", "demuon", "suda-muon"),
        *("gut", "ad-psgd"),
    ],
)
def test_an_exchange_leaves_the_nodes_mean_where_it_is_however_messages_are_rounded(name: str) -> None:
    problem, graph = quadratic_on(STAR)
    network = quadratic_engine(problem, options_of(name, lr=0.1, message_dtype="bfloat16"), graph, 1, NaiveNetwork)
    run_rounds(network, 3)
    for node in network.nodes:
        network.local_step(node, 3)
    before, network.local_steps = network.params(), 0
    after = run_rounds(network, 1)
    assert (after - before).norm() > 1e-2
    torch.testing.assert_close(after.mean(0), before.mean(0), rtol=0, atol=1e-14)


def test_what_is_averaged_by_ad_psgd_is_the_model_before_the_steps() -> None:
    problem, graph = quadratic_on(PATH)
    network = quadratic_engine(problem, options_of("ad-psgd", lr=0.4), graph, 3, NaiveNetwork)
    before = run_rounds(network, 1)
    for step in range(3, 6):
        network.local_step(0, step)
    message: ParamsMessage = network.strategy.outgoing(network.states[0], None, None)
    assert torch.equal(message.params, before[0])
    assert (network.states[0].params - before[0]).norm() > 1e-2
