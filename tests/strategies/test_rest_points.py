"""Rest points of the algorithms on the quadratic problem, against closed forms; and errors without its rules."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from strategies import (
    NGPD,
    ADPSGDOptions,
    DSGDOptions,
    ECLOptions,
    GradientTrackingOptions,
    GUTOptions,
    KFACGossipOptions,
    NGPDOptions,
    NGPDTrackingOptions,
    QGDSGDmOptions,
    View,
)
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import (
    ExactCurvature,
    Quadratic,
    quadratic_engine,
    quadratic_on,
    run_rounds,
    undamped,
)

TWO_MATCHINGS = {"name": "sequence", "nodes": 4, "graphs": [[[0, 1], [2, 3]], [[1, 2], [0, 3]]]}
RING = {"name": "ring", "nodes": 4}
STAR = {"name": "star", "nodes": 5}
UNBOUNDED: dict[str, Any] = {"lr": 0.3, "damping": 0.2, "trust_radius": 0, "factor_every": 1, "basis_every": 1}

make = partial(quadratic_on, condition=10, dim=6)


def error_after(rounds: int, problem: Quadratic, *engine: Any, **settings: Any) -> float:
    return problem.relative_error(run_rounds(quadratic_engine(problem, *engine, **settings), rounds))


def distance(params: Tensor, point: Tensor) -> float:
    """Largest distance of a node from ``point``, ``[P]`` or ``[N, P]``, relative to the point's."""
    return float((params - point).norm(dim=-1).max() / point.norm(dim=-1).max())


# The fisher metric: biased, unless all H_i are equal.


@pytest.mark.parametrize("damping", [0.0, 0.2])
@pytest.mark.parametrize(("topology", "theta"), [(RING, 1.0), (STAR, 0.5), (TWO_MATCHINGS, 1.0)])
def test_fisher_metric_rests_where_the_natural_gradients_sum_to_zero(
    topology: dict[str, Any], theta: float, damping: float
) -> None:
    problem, graph = make(topology)
    options = NGPDOptions(
        edge_metric="fisher",
        lr=0.5,
        edge_penalty=1.0,
        theta=theta,
        damping=damping,
        trust_radius=0,
        factor_every=1,
        basis_every=1,
    )
    # sum_i (H_i + damping I)^-1 H_i (w - b_i) = 0: the mean of the b_i where there is no damping.
    eye = torch.eye(6, dtype=torch.float64)
    natural = torch.linalg.solve(problem.hessians + damping * eye, problem.hessians)
    point = torch.linalg.solve(natural.sum(0), torch.einsum("nij,nj->i", natural, problem.targets))
    params = run_rounds(quadratic_engine(problem, options, graph), 250)
    assert distance(params, point) < 1e-9
    assert problem.relative_error(params) > 0.05
    if damping == 0:
        torch.testing.assert_close(point, problem.targets.mean(0))


def test_fisher_metric_is_exact_where_all_hessians_are_equal() -> None:
    problem, graph = make(RING, alike=True)
    options = undamped(edge_metric="fisher", lr=0.5, edge_penalty=1.0)
    assert error_after(150, problem, options, graph) < 1e-9


def test_euclidean_metric_has_no_bias_whatever_the_damping() -> None:
    problem, graph = make(STAR)
    options = NGPDOptions(lr=0.5, edge_penalty=0.3, damping=0.2, trust_radius=0, factor_every=1, basis_every=1)
    assert error_after(250, problem, options, graph) < 1e-9


# Gossip: biased by the step size.


def gossip_rest_point(problem: Quadratic, mixing: Tensor, lr: float, preconditioned: Tensor) -> Tensor:
    """Solve w_i = sum_j W_ij (w_j - lr M_j (w_j - b_j)) for all nodes at once, ``[N, P]``; M ``[N, P, P]``."""
    nodes, dim = problem.targets.shape
    eye = torch.eye(nodes * dim, dtype=torch.float64)
    whole = torch.kron(mixing, torch.eye(dim, dtype=torch.float64))
    step = lr * torch.block_diag(*preconditioned)
    right = whole @ step @ problem.targets.reshape(-1)
    return torch.linalg.solve(eye - whole @ (eye - step), right).reshape(nodes, dim)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("topology", [RING, {**STAR, "weights": "uniform"}])
def test_dsgd_rests_at_its_biased_point(topology: dict[str, Any], momentum: float) -> None:
    problem, graph = make(topology)
    mixing = torch.tensor(graph.weights(0).matrix().toarray())
    params = run_rounds(quadratic_engine(problem, DSGDOptions(lr=0.5, momentum=momentum), graph), 500)
    if momentum == 0:
        assert distance(params, gossip_rest_point(problem, mixing, 0.5, problem.hessians)) < 1e-9
    else:  # at rest v_i = g_i / (1 - momentum): the same point as with that much larger a step
        assert distance(params, gossip_rest_point(problem, mixing, 1.0, problem.hessians)) < 1e-9
    assert problem.relative_error(params) > 0.05


@pytest.mark.parametrize("topology", [RING, STAR])
def test_kfac_gossip_rests_at_its_biased_point(topology: dict[str, Any]) -> None:
    problem, graph = make(topology)
    options = KFACGossipOptions(lr=0.3, damping=0.1, trust_radius=0, factor_every=1, basis_every=1)
    mixing = torch.tensor(graph.weights(0).matrix().toarray())
    eye = torch.eye(6, dtype=torch.float64)
    natural = torch.linalg.solve(problem.hessians + 0.1 * eye, problem.hessians)
    params = run_rounds(quadratic_engine(problem, options, graph), 250)
    assert distance(params, gossip_rest_point(problem, mixing, 0.3, natural)) < 1e-9
    assert problem.relative_error(params) > 0.05


@pytest.mark.parametrize(("nesterov", "step"), [(False, 0.5), (True, 0.5 * 1.4)])
@pytest.mark.parametrize("topology", [RING, {**STAR, "weights": "uniform"}])
def test_quasi_global_momentum_rests_where_dsgd_without_momentum_does(
    topology: dict[str, Any], nesterov: bool, step: float
) -> None:
    problem, graph = make(topology)
    mixing = torch.tensor(graph.weights(0).matrix().toarray())
    options = QGDSGDmOptions(lr=0.5, momentum=0.4, buffer_decay=0.6, nesterov=nesterov)
    params = run_rounds(quadratic_engine(problem, options, graph), 300)
    assert distance(params, gossip_rest_point(problem, mixing, step, problem.hessians)) < 1e-9
    assert problem.relative_error(params) > 0.05


@pytest.mark.parametrize("momentum", [0.0, 0.4])
@pytest.mark.parametrize("topology", [RING, {**STAR, "weights": "uniform"}])
def test_global_update_tracking_rests_where_dsgd_with_a_smaller_step_does(
    topology: dict[str, Any], momentum: float
) -> None:
    problem, graph = make(topology)
    mixing = torch.tensor(graph.weights(0).matrix().toarray())
    options = GUTOptions(lr=0.5, scaling=0.3, momentum=momentum)
    params = run_rounds(quadratic_engine(problem, options, graph), 300)
    assert distance(params, gossip_rest_point(problem, mixing, 0.5 * (1 - 0.3), problem.hessians)) < 1e-9
    assert problem.relative_error(params) > 0.05


@pytest.mark.parametrize("topology", [RING, {**STAR, "weights": "uniform"}])
def test_ad_psgd_rests_at_its_biased_point(topology: dict[str, Any]) -> None:
    """(I - W) w + mu H (w - b) = 0: what averaging changes in a round is what the step at the same point undoes."""
    problem, graph = make(topology)
    mixing = torch.kron(torch.tensor(graph.weights(0).matrix().toarray()), torch.eye(6, dtype=torch.float64))
    step = 0.3 * torch.block_diag(*problem.hessians)
    point = torch.linalg.solve(torch.eye(len(step)) - mixing + step, step @ problem.targets.flatten())
    params = run_rounds(quadratic_engine(problem, ADPSGDOptions(lr=0.3), graph), 500)
    assert distance(params, point.view_as(params)) < 1e-9
    assert problem.relative_error(params) > 0.05


# Negative controls: the two rules that make the rest point exact, each broken on purpose.


class ForceOverActiveEdgesOnly(NaiveNetwork):
    """The local force sums over the edges of this round instead of those of the union graph."""

    def local_view(self, node: int) -> View:
        view, sends = self.views[node], self.sends()
        active = torch.tensor([(node, other) in sends for other in self.neighbors[node]])
        return view._replace(edge_penalty=view.edge_penalty * active)


class PenaltyOfOwnDegree(NaiveNetwork):
    """eta is divided by the node's own number of neighbors, so that it differs at the two ends of an edge."""

    def view(self, node: int) -> View:
        view = super().view(node)
        return view._replace(edge_penalty=view.edge_penalty / len(self.neighbors[node]))


@pytest.mark.parametrize(
    ("options", "rounds"),
    [(undamped(lr=1.0, edge_penalty=0.6), 150), (ECLOptions(lr=0.5, edge_penalty=0.6), 300)],
    ids=["ngpd", "ecl"],
)
@pytest.mark.parametrize(("wrong", "topology"), [(ForceOverActiveEdgesOnly, TWO_MATCHINGS), (PenaltyOfOwnDegree, STAR)])
def test_the_rest_point_is_wrong_without_the_rule_and_exact_with_it(
    wrong: type[NaiveNetwork], topology: dict[str, Any], options: Any, rounds: int
) -> None:
    problem, graph = make(topology)
    assert error_after(rounds, problem, options, graph, engine=NaiveNetwork) < 1e-6
    engine = quadratic_engine(problem, options, graph, engine=wrong)
    errors = [problem.relative_error(run_rounds(engine, rounds)) for _ in range(2)]
    assert min(errors) > 0.05
    if wrong is PenaltyOfOwnDegree:  # it does come to rest, at a wrong point
        assert abs(errors[1] - errors[0]) < 1e-6


# Tracking: exact as NGPD, and sooner.


@pytest.mark.parametrize(("local_steps", "rounds"), [(1, 500), (3, 150)])
@pytest.mark.parametrize("topology", [RING, STAR, TWO_MATCHINGS])
def test_ngpd_with_tracking_is_exact_and_sooner(topology: dict[str, Any], local_steps: int, rounds: int) -> None:
    problem, graph = make(topology)
    tracking, ngpd = (
        quadratic_engine(problem, options(**UNBOUNDED), graph, local_steps)
        for options in (NGPDTrackingOptions, NGPDOptions)
    )
    assert problem.relative_error(run_rounds(tracking, rounds)) < 0.8 * problem.relative_error(run_rounds(ngpd, rounds))
    assert problem.relative_error(run_rounds(tracking, rounds)) < 2e-9


@pytest.mark.parametrize("topology", [RING, STAR])
def test_lost_messages_do_not_displace_ngpd_with_tracking(topology: dict[str, Any]) -> None:
    problem, graph = make(topology)
    tracking, ngpd, gradient_tracking = (
        quadratic_engine(problem, options, graph, 3, message_loss=0.3, seed=3)
        for options in (
            NGPDTrackingOptions(**UNBOUNDED),
            NGPDOptions(**UNBOUNDED),
            GradientTrackingOptions(lr=0.05),
        )
    )
    error = problem.relative_error(run_rounds(tracking, 400))
    assert error < 0.5 * problem.relative_error(run_rounds(ngpd, 400)) and error < 1e-6
    assert problem.relative_error(run_rounds(gradient_tracking, 400)) > 0.01


@pytest.mark.parametrize("options", [{"edge_penalty": 0.5}, {"edge_metric": "fisher"}])
def test_tracking_needs_an_eta_that_adapts(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="adapts eta; allowed: edge_penalty unset, edge_metric euclidean"):
        NGPDTrackingOptions(**options)


# NGPD without curvature is ECL.


@pytest.mark.parametrize("message_loss", [0.0, 0.3])
@pytest.mark.parametrize("topology", [STAR, TWO_MATCHINGS, {"name": "ring", "nodes": 6, "schedule": "matching"}])
@pytest.mark.parametrize(("theta", "mixing"), [(1.0, 1.0), (1.0, 0.0), (0.5, 0.5)])
def test_ngpd_with_the_identity_as_curvature_is_ecl(
    theta: float, mixing: float, topology: dict[str, Any], message_loss: float
) -> None:
    problem, graph = make(topology)
    shared = {"lr": 0.4, "edge_penalty": 0.7, "theta": theta, "mixing": mixing}
    identity = ExactCurvature(0.0, 6, torch.eye(6, dtype=torch.float64))
    settings = {"message_loss": message_loss, "seed": 3, "local_steps": 2}
    ngpd = quadratic_engine(problem, undamped(**shared), graph, strategy=NGPD(undamped(**shared), identity), **settings)
    ecl = quadratic_engine(problem, ECLOptions(**shared), graph, **settings)
    for _ in range(15):
        torch.testing.assert_close(run_rounds(ngpd, 1), run_rounds(ecl, 1), rtol=1e-12, atol=1e-13)
