"""Stochastic gradient push: push-sum's invariants, one round by hand, and where it comes to rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ngpd_fl.config import Config, InputError
from ngpd_fl.engines import SynchronousEngine, check_topology
from strategies import DSGDOptions, SGPOptions, parse_strategy
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import Quadratic, make_quadratic, quadratic_engine, run_rounds
from topologies import parse_topology

IRREGULAR = {"name": "directed-edges", "nodes": 5, "edges": [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [2, 0], [0, 3]]}
PLAIN: dict[str, Any] = {"momentum": 0.0}


def build(options: dict[str, Any]) -> Any:
    return parse_topology(options).build(seed=0)


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
def test_one_round_on_three_nodes_by_hand(engine: Any) -> None:
    # f_i(w) = 1/2 (w - b_i)^2, all at 1; arcs 0 -> 1, 1 -> 2, 2 -> 0 and 0 -> 2.
    topology = build({"name": "directed-edges", "nodes": 3, "edges": [[0, 1], [1, 2], [2, 0], [0, 2]]})
    problem = Quadratic(torch.ones(3, 1, 1).double(), torch.tensor([[3.0], [0.0], [-1.0]]).double())
    options, start = SGPOptions(lr=0.5, **PLAIN), torch.ones(1).double()
    network = quadratic_engine(problem, options, topology, engine=engine, start=start)
    # x = 1 - g/2 with g = 1 - b = -2, 1, 2; node 0 gives thirds, 1 and 2 halves.
    x = [2.0, 0.5, 0.0]
    x = [x[0] / 3 + x[2] / 2, x[1] / 2 + x[0] / 3, x[2] / 2 + x[1] / 2 + x[0] / 3]
    omega = [1 / 3 + 1 / 2, 1 / 2 + 1 / 3, 1 / 2 + 1 / 2 + 1 / 3]
    z = [a / b for a, b in zip(x, omega, strict=True)]
    torch.testing.assert_close(run_rounds(network, 1).flatten().tolist(), z)
    # The next gradients are taken at z, and move x.
    x = [a - 0.5 * (each - b) for a, each, b in zip(x, z, (3, 0, -1), strict=True)]
    x = [x[0] / 3 + x[2] / 2, x[1] / 2 + x[0] / 3, x[2] / 2 + x[1] / 2 + x[0] / 3]
    omega = [omega[0] / 3 + omega[2] / 2, omega[1] / 2 + omega[0] / 3, (omega[2] + omega[1]) / 2 + omega[0] / 3]
    z = [a / b for a, b in zip(x, omega, strict=True)]
    torch.testing.assert_close(run_rounds(network, 1).flatten().tolist(), z)


@pytest.mark.parametrize("topology", [IRREGULAR, {"name": "directed-one-peer-exponential", "nodes": 6}])
def test_sums_over_the_nodes_move_by_the_gradients_alone(topology: dict[str, Any]) -> None:
    graph = build(topology)
    problem = make_quadratic(10, graph.num_nodes, dim=4)
    engine = quadratic_engine(problem, SGPOptions(lr=0.2, **PLAIN), graph, engine=NaiveNetwork)
    for _ in range(20):
        z = engine.params()
        before = torch.stack([engine.states[node].numerator for node in engine.nodes]).sum(0)
        engine.run_round()
        gradients = torch.einsum("nij,nj->i", problem.hessians, z - problem.targets)
        after = torch.stack([engine.states[node].numerator for node in engine.nodes]).sum(0)
        torch.testing.assert_close(after, before - 0.2 * gradients)
        assert float(sum(engine.states[node].weight for node in engine.nodes)) == pytest.approx(graph.num_nodes)


def rest_point(problem: Quadratic, matrix: np.ndarray, lr: float) -> Tensor:
    """Solve x = P (x - lr H (x / omega - b)) with the omega that P leaves where it is and sum x free.

    omega: the eigenvector of P for 1, N in sum.
    """
    nodes, dim = problem.targets.shape
    values, vectors = np.linalg.eig(matrix)
    omega = np.real(vectors[:, np.argmin(abs(values - 1))])
    omega = torch.tensor(omega / omega.sum() * nodes)
    whole = torch.kron(torch.tensor(matrix), torch.eye(dim, dtype=torch.float64))
    curvature = lr * torch.block_diag(*(problem.hessians / omega[:, None, None]))
    pull = lr * torch.cat([hessian @ target for hessian, target in zip(problem.hessians, problem.targets, strict=True)])
    eye = torch.eye(nodes * dim, dtype=torch.float64)
    x = torch.linalg.solve(eye - whole @ (eye - curvature), whole @ pull)
    return x.reshape(nodes, dim) / omega[:, None]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("topology", [IRREGULAR, {"name": "directed-ring", "nodes": 5}])
def test_it_rests_at_its_biased_point_which_nears_the_minimizer_with_the_step(
    topology: dict[str, Any], momentum: float
) -> None:
    graph = build(topology)
    problem = make_quadratic(10, graph.num_nodes, dim=4)
    matrix = graph.weights(0).matrix().toarray()
    lr = 0.2 * (1 - momentum)  # at rest the velocity is g / (1 - momentum)
    params = run_rounds(quadratic_engine(problem, SGPOptions(lr=lr, momentum=momentum), graph), 900)
    torch.testing.assert_close(params, rest_point(problem, matrix, 0.2), rtol=0, atol=1e-9)
    assert problem.relative_error(params) > 0.05
    assert problem.relative_error(rest_point(problem, matrix, 1e-4)) < 1e-3  # unlike a row-stochastic average's


def test_on_a_balanced_graph_it_is_decentralized_sgd() -> None:
    graph = build({"name": "directed-exponential", "nodes": 6})
    problem = make_quadratic(10, 6, dim=4)
    push, plain = (quadratic_engine(problem, options(lr=0.2), graph, 3) for options in (SGPOptions, DSGDOptions))
    torch.testing.assert_close(run_rounds(push, 20), run_rounds(plain, 20), rtol=1e-11, atol=1e-12)


def test_every_message_has_to_arrive() -> None:
    # Else all weights omega shrink, and with them grows the step of x / omega, without end.
    several: list[dict[str, Any]] = [{"network": {"message_loss": 0.1}}, {"training": {"mode": "asynchronous"}}]
    for more in several:
        with pytest.raises(InputError, match="sgp needs every message"):
            Config(strategy={"name": "sgp"}, **more)


@pytest.mark.parametrize(
    ("name", "topology", "words"),
    [
        ("ngpd", {"name": "directed-ring", "nodes": 4}, "ngpd needs edges that run both ways"),
        ("dsgd", IRREGULAR, "dsgd needs as many edges into a node as out of it"),
    ],
)
def test_directed_graphs_are_refused_where_they_do_not_fit(name: str, topology: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_topology(parse_strategy(name), build(topology))
