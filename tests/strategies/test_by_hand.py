"""Single steps and single exchanges against numbers that are worked out another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ngpd_fl.engines import EngineSettings, SynchronousEngine
from strategies import DSGD, ECL, CECLOptions, DSGDOptions, ECLOptions, KFACGossipOptions, NGPDOptions
from strategies.parts.gossip import gossip
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import (
    ExactCurvature,
    Quadratic,
    make_quadratic,
    quadratic_engine,
    quadratic_strategy,
    run_rounds,
    undamped,
)
from topologies import parse_topology

PATH = {"name": "path", "nodes": 3}
EXACT: dict[str, Any] = {"damping": 0.1, "trust_radius": 0, "factor_every": 1, "basis_every": 1}


def graph(**options: Any) -> Any:
    return parse_topology({**PATH, **options}).build(seed=0)


# The step and the exchange of ECL, number by number: f_i(w) = 1/2 (w - b_i)^2, path 0 - 1 - 2, all at w = 1.


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
@pytest.mark.parametrize("theta", [1.0, 0.5])
def test_two_rounds_of_ecl_on_three_nodes(theta: float, engine: Any) -> None:
    targets = torch.tensor([[3.0], [0.0], [-1.0]], dtype=torch.float64)
    problem = Quadratic(torch.ones(3, 1, 1, dtype=torch.float64), targets)
    options = ECLOptions(lr=0.5, edge_penalty=2.0, theta=theta, mixing=0.0)
    start = torch.ones(1, dtype=torch.float64)
    network = quadratic_engine(problem, options, graph(), engine=engine, start=start)

    # Round 1: the edges exert no force, so w moves by g / (1/mu + E eta): g = 1 - b = -2, 1, 2; 1/4, 1/6, 1/4.
    w = [1 + 2 / 4, 1 - 1 / 6, 1 - 2 / 4]
    torch.testing.assert_close(run_rounds(network, 1).flatten().tolist(), w)

    # z_0|1 = 1, z_1|0 = -1, z_1|2 = 1, z_2|1 = -1 were sent as y = z - 2 a w.
    y01, y10, y12, y21 = 1 - 2 * w[0], -1 + 2 * w[1], 1 - 2 * w[1], -1 + 2 * w[2]
    keep = 1 - theta
    z01, z10 = keep * 1 + theta * y10, keep * -1 + theta * y01
    z12, z21 = keep * 1 + theta * y21, keep * -1 + theta * y12

    # Round 2, as the argmin of <g, v> + |v - w|^2 / (2 mu) + sum eta/2 (a v - z)^2, in the form of its quotient.
    def argmin(w: float, b: float, pull: float, edges: int) -> float:
        return (w / 0.5 - (w - b) + 2.0 * pull) / (1 / 0.5 + 2.0 * edges)

    expected = [argmin(w[0], 3, z01, 1), argmin(w[1], 0, -z10 + z12, 2), argmin(w[2], -1, -z21, 1)]
    torch.testing.assert_close(run_rounds(network, 1).flatten().tolist(), expected)


# The step of NGPD against a dense solve of its definition.


def argmin_by_definition(
    w: Tensor, fisher: Tensor, gradient: Tensor, edges: list[tuple[float, float, Tensor]], lr: float, damping: float
) -> Tensor:
    """Minimize <g, v - w> + |v - w|^2_{F + damping I} / (2 lr) + sum eta/2 |a v - z|^2 by its normal equations."""
    proximal = (fisher + damping * torch.eye(len(w), dtype=w.dtype)) / lr
    matrix = proximal + sum(eta * a * a for eta, a, _ in edges) * torch.eye(len(w), dtype=w.dtype)
    right = proximal @ w - gradient
    for eta, a, z in edges:
        right = right + eta * a * z
    return torch.linalg.solve(matrix, right)


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
@pytest.mark.parametrize(
    ("given", "damping", "radius"),
    [(None, 0.2, 0), (0.7, 0.2, 0), (None, 0.2, 1e-2), (None, "auto", 1e-2)],
    ids=["balanced", "given", "balanced, trust region", "balanced, automatic damping"],
)
def test_rounds_of_ngpd_on_three_nodes(engine: Any, given: float | None, damping: Any, radius: float) -> None:
    problem = make_quadratic(10, nodes=3, dim=4)
    options = NGPDOptions(
        lr=0.3,
        damping=damping,
        penalty_scale=3.0,
        edge_penalty=given,
        theta=0.5,
        mixing=0.0,
        trust_radius=radius,
        factor_every=1,
        basis_every=1,
    )
    delta = 0.02 if damping == "auto" else damping
    network = quadratic_engine(problem, options, graph(), local_steps=3, engine=engine)
    edges = [(0, 1), (1, 2)]
    w = [torch.zeros(4, dtype=torch.float64)] * 3
    z = {pair: torch.zeros(4, dtype=torch.float64) for i, j in edges for pair in ((i, j), (j, i))}
    sign = {(i, j): 1.0 if i < j else -1.0 for i, j in z}
    scale = 3.0 * delta / (0.3 * np.sqrt(1 * 2))  # c delta / (mu sqrt(E_i E_j))
    eta = dict.fromkeys(z, given or scale / 4)  # r = 1/2
    opposed: list[list[Tensor]] = [[], [], []]
    energy: list[list[Tensor]] = [[], [], []]
    trust, share, gamma = [0.5] * 3, [1.0] * 3, [1e4] * 3
    ratios, shares = [], []
    for _ in range(20):
        for i in range(3):
            own = [(eta[pair], sign[pair], z[pair]) for pair in z if pair[0] == i]
            for _ in range(3):
                hessian = problem.hessians[i]
                gradient = hessian @ (w[i] - problem.targets[i])
                pull = sum((e * (w[i] - a * dual) for e, a, dual in own), torch.zeros_like(w[i]))
                if opposed[i] or pull.any():
                    opposed[i].append(-pull @ gradient)
                    energy[i].append(pull @ pull)
                if damping == "auto":
                    share[i] = max(share[i], float(torch.linalg.eigvalsh(hessian)[-1]) / 1000 / delta)
                change = argmin_by_definition(w[i], hessian, gradient, own, 0.3, share[i] * delta) - w[i]
                divergence = float(change @ hessian @ change) / 2
                factor = min(1.0, (radius / gamma[i] / divergence) ** 0.5) if radius else 1.0
                gamma[i] = 1.0  # F is exact
                trust[i] = 0.98 * trust[i] + 0.02 * factor
                if damping == "auto":
                    share[i] = min(1.0, share[i] * 0.9 if divergence <= 0.05 * radius else share[i] / 0.9)
                w[i] = w[i] + factor * change
        shares.append(share.copy())
        y = {(i, j): z[i, j] - 2 * sign[i, j] * w[i] for i, j in z}
        z = {(i, j): 0.5 * z[i, j] + 0.5 * y[j, i] for i, j in z}
        torch.testing.assert_close(run_rounds(network, 1), torch.stack(w), rtol=1e-12, atol=1e-12)
        if given is None:
            weights = [[0.98 ** (len(of) - 1 - n) * (0.02 if n else 1.0) for n in range(len(of))] for of in energy]
            sums = [
                [float(sum(w * x for w, x in zip(of, values[i], strict=True))) for values in (opposed, energy)]
                for i, of in enumerate(weights)
            ]
            ratios.append([min(max(above / below, 1 / 3), 2.0) for above, below in sums])
            r = [ratios[-1][i] * trust[i] * share[i] ** 0.5 for i in range(3)]
            eta = {(i, j): scale * r[i] * r[j] for i, j in z}
    assert given or any(1 / 3 < ratio < 2 for at_round in ratios for ratio in at_round)  # not at its bounds alone
    assert damping != "auto" or len({round(of, 6) for at_round in shares for of in at_round}) > 5


def test_with_the_hessian_as_curvature_a_step_lands_on_the_minimizer_of_loss_and_edge_terms() -> None:
    problem = make_quadratic(100, nodes=3, dim=4)
    params = run_rounds(quadratic_engine(problem, undamped(lr=1.0, edge_penalty=0.7), graph(schedule="matching")), 1)
    # z = 0 at the start 0, hence the minimizer of f_i + E_i eta/2 |v|^2; no exchange follows at the unmatched node.
    (pair,) = graph().edges[graph(schedule="matching").active(0)].tolist()
    (lone,) = {0, 1, 2} - set(pair)
    eta = 0.7 * graph().degrees[lone] * torch.eye(4, dtype=torch.float64)
    hessian = problem.hessians[lone]
    torch.testing.assert_close(params[lone], torch.linalg.solve(hessian + eta, hessian @ problem.targets[lone]))


def test_mixing_averages_the_parameters_that_were_sent() -> None:
    problem, topology = make_quadratic(10, nodes=3, dim=4), graph(weights="uniform")  # not symmetric
    start = torch.arange(4, dtype=torch.float64)
    plain, half, full = (
        run_rounds(
            quadratic_engine(problem, undamped(lr=0.5, edge_penalty=0.5, mixing=mixing), topology, start=start), 1
        )
        for mixing in (0.0, 0.5, 1.0)
    )
    weights = torch.tensor(topology.weights(0).matrix().toarray())
    torch.testing.assert_close(full, weights @ plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(half, 0.5 * plain + 0.5 * weights @ plain, rtol=1e-12, atol=1e-12)


# Signs: an exchange between two nodes, z and y written out.


def test_one_exchange_of_duals() -> None:
    strategy = ECL(ECLOptions(lr=1.0, edge_penalty=1.0, theta=0.25, mixing=0.0), None)  # type: ignore[arg-type]
    topology = parse_topology({"name": "path", "nodes": 2}).build(seed=0)
    settings = EngineSettings(strategy, topology, None, torch.tensor([5.0]), local_steps=0, rounds=1)  # type: ignore[arg-type]
    network = NaiveNetwork(settings)
    assert [network.states[node].edges.dual.item() for node in (0, 1)] == [5.0, -5.0]  # a w: no force
    for node, params in ((0, 2.0), (1, 3.0)):
        network.states[node] = network.states[node]._replace(params=torch.tensor([params]))
    network.run_round()
    # y_0|1 = 5 - 2 * 2 = 1 goes to node 1, y_1|0 = -5 + 2 * 3 = 1 to node 0.
    assert network.states[0].edges.dual.item() == 0.75 * 5 + 0.25 * 1
    assert network.states[1].edges.dual.item() == 0.75 * -5 + 0.25 * 1


# The default edge penalty.


@pytest.mark.parametrize(("local_steps", "divisor"), [(1, 1), (2, 1), (3, 2), (8, 7)])
def test_default_edge_penalty(local_steps: int, divisor: int) -> None:
    ngpd = quadratic_strategy(NGPDOptions(lr=0.5, damping=0.2, penalty_scale=3.0))
    fisher = quadratic_strategy(NGPDOptions(lr=0.5, damping=0.2, penalty_scale=3.0, edge_metric="fisher"))
    ecl = quadratic_strategy(ECLOptions(lr=0.5, penalty_scale=3.0))
    root = np.sqrt(2 * 5)
    assert ngpd.edge_penalty(2, 5, local_steps) == pytest.approx(3.0 * 0.2 / (0.5 * root))
    assert fisher.edge_penalty(2, 5, local_steps) == pytest.approx(3.0 / (0.5 * root))
    assert ecl.edge_penalty(2, 5, local_steps) == pytest.approx(3.0 / (0.5 * root * divisor))
    for strategy in (ngpd, ecl):
        assert strategy.edge_penalty(2, 5, local_steps) == strategy.edge_penalty(5, 2, local_steps)
    assert quadratic_strategy(ECLOptions(edge_penalty=0.7)).edge_penalty(2, 5, local_steps) == 0.7


@pytest.mark.parametrize(
    ("local_steps", "keep", "divisor"), [(5, 0.1, 49), (5, 0.01, 499), (1, 0.2, 4), (8, 1.0, 7), (1, 0.8, 1)]
)
def test_default_edge_penalty_where_a_share_of_the_entries_travels(
    local_steps: int, keep: float, divisor: float
) -> None:
    """Takezawa, Niwa, Yamada 2023: 1 / (mu E (K / keep - 1)), their 100 K / k with k % kept."""
    compress = {"name": "random-k", "keep": keep}
    expected = pytest.approx(1 / (0.5 * 4 * divisor))
    for options in (CECLOptions(lr=0.5, compress=compress), ECLOptions(lr=0.5, compress=compress)):
        assert quadratic_strategy(options).edge_penalty(4, 4, local_steps) == expected
    of_all = ECLOptions(lr=0.5, theta=0.5, compress={"name": "top-k", "keep": keep})
    assert quadratic_strategy(of_all).edge_penalty(4, 4, local_steps) == pytest.approx(
        1 / (2 * max(local_steps - 1, 1))
    )
    given = CECLOptions(compress=compress, edge_penalty=0.7)
    assert quadratic_strategy(given).edge_penalty(4, 4, local_steps) == 0.7


def test_no_damping_needs_an_explicit_edge_penalty() -> None:
    with pytest.raises(ValueError, match="damping: 0 makes the default eta 0"):
        NGPDOptions(damping=0)
    assert NGPDOptions(damping=0, edge_penalty=0.1).damping == 0


# Clipping: f_i(w) = 1/2 (w - b_i)^2, path 0 - 1 - 2, all at w = 1; a neighbor's message changes 1/4 at most.


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
def test_two_rounds_of_clipped_ecl_on_three_nodes(engine: Any) -> None:
    targets = torch.tensor([[3.0], [0.0], [-1.0]], dtype=torch.float64)
    problem = Quadratic(torch.ones(3, 1, 1, dtype=torch.float64), targets)
    options = ECLOptions(lr=0.5, edge_penalty=2.0, mixing=0.5, clip=0.25)
    start = torch.ones(1, dtype=torch.float64)
    network = quadratic_engine(problem, options, graph(), engine=engine, start=start)

    # Round 1, as without clip: w = 3/2, 5/6, 1/2 and y_0|1 = -2, y_1|0 = 2/3, y_1|2 = -2/3, y_2|1 = 0. Duals are 1, -1,
    # 1, -1: they move by -1, -1/3, -1, 1/3, each shortened to 1/4. Parameters are 2/3, 2/3, 1/3, 1/3 apart: the same.
    z01, z10, z12, z21 = 1 - 1 / 4, -1 - 1 / 4, 1 - 1 / 4, -1 + 1 / 4
    w = [3 / 2 - 1 / 6 * 1 / 4, 5 / 6, 1 / 2 + 1 / 6 * 1 / 4]  # Metropolis weights of 1/3, halved
    torch.testing.assert_close(run_rounds(network, 1).flatten().tolist(), w)

    # Round 2: local steps w - (w - b + 2 sum (w - a z)) / (2 + 2 E).
    w[0] -= (w[0] - 3 + 2 * (w[0] - z01)) / 4
    w[1] -= (w[1] - 0 + 2 * (2 * w[1] + z10 - z12)) / 6
    w[2] -= (w[2] + 1 + 2 * (w[2] + z21)) / 4

    def shortened(change: float) -> float:
        return max(-0.25, min(0.25, change))

    right, left = shortened(w[1] - w[0]), shortened(w[2] - w[1])
    expected = [w[0] + right / 6, w[1] - right / 6 + left / 6, w[2] - left / 6]
    torch.testing.assert_close(run_rounds(network, 1).flatten().tolist(), expected)


def test_a_clip_shortens_the_change_of_each_neighbor_and_no_more() -> None:
    params, neighbors = torch.tensor([1.0, 2.0]), torch.tensor([[4.0, 6.0], [1.5, 2.0]])  # 5 and 1/2 away
    weights, both = torch.tensor([0.25, 0.5]), torch.tensor([True, True])
    clipped = gossip(params, neighbors, weights, both, 1.0)
    torch.testing.assert_close(clipped, params + 0.25 * torch.tensor([0.6, 0.8]) + 0.5 * torch.tensor([0.5, 0.0]))
    assert torch.equal(gossip(params, neighbors, weights, both, 5.0), gossip(params, neighbors, weights, both))
    far = torch.tensor([[1e30, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(gossip(params, far, weights, both, 1.0), params, atol=0.3, rtol=0)


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
@pytest.mark.parametrize(
    "options",
    [
        NGPDOptions(lr=0.3, edge_penalty=0.5, memory=4, **EXACT),
        ECLOptions(lr=0.3, edge_penalty=0.5, theta=0.5),
        DSGDOptions(lr=0.3),
        KFACGossipOptions(lr=0.3, **EXACT),
    ],
    ids=lambda options: options.name,
)
def test_a_clip_that_nothing_reaches_changes_no_bit(options: Any, engine: Any) -> None:
    problem, topology = make_quadratic(10, nodes=3, dim=4), graph(schedule="matching")
    free, clipped, tight = (
        run_rounds(quadratic_engine(problem, options.model_copy(update={"clip": clip}), topology, 2, engine), 12)
        for clip in (None, 1e9, 0.1)
    )
    assert torch.equal(clipped, free)
    assert (tight - free).norm() > 1e-2


# Gossip.


def test_gossip_is_a_weighted_mean_and_a_missing_neighbors_weight_stays_at_home() -> None:
    params, neighbors = torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 5.0], [10.0, 20.0]])
    weights = torch.tensor([0.25, 0.5])
    everyone = gossip(params, neighbors, weights, torch.tensor([True, True]))
    torch.testing.assert_close(everyone, 0.25 * params + 0.25 * neighbors[0] + 0.5 * neighbors[1])
    first = gossip(params, neighbors, weights, torch.tensor([True, False]))
    torch.testing.assert_close(first, 0.75 * params + 0.25 * neighbors[0])
    assert torch.equal(gossip(params, neighbors, weights, torch.tensor([False, False])), params)
    # Rows sum to one: where all agree, nothing moves, whoever is missing.
    for at_hand in ([True, True], [True, False], [False, True]):
        torch.testing.assert_close(gossip(params, params.expand(2, 2), weights, torch.tensor(at_hand)), params)


def test_gossip_on_a_complete_graph_is_averaging() -> None:
    problem = make_quadratic(10, nodes=5, dim=3)
    topology = parse_topology({"name": "complete", "nodes": 5, "weights": "uniform"}).build(seed=0)
    params = run_rounds(quadratic_engine(problem, DSGDOptions(lr=0.3, momentum=0.0), topology), 1)
    moved = 0.3 * torch.einsum("nij,nj->ni", problem.hessians, problem.targets)  # w - lr H (w - b) from w = 0
    torch.testing.assert_close(params, moved.mean(0).expand(5, -1), rtol=1e-14, atol=1e-15)


def test_heavy_ball_momentum() -> None:
    problem = Quadratic(torch.zeros(2, 1, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64))

    class Constant:
        def gradient(self, params: Tensor, batch: Any) -> tuple[Tensor, Tensor]:
            return params.sum(), torch.ones_like(params)

    options = DSGDOptions(lr=0.1, momentum=0.25)
    topology = parse_topology({"name": "path", "nodes": 2}).build(seed=0)
    strategy = DSGD(options, Constant())
    network = quadratic_engine(problem, options, topology, local_steps=3, strategy=strategy)
    # v = 1, 1.25, 1.3125: the velocity lives on over steps, and over rounds.
    assert run_rounds(network, 1).flatten().tolist() == pytest.approx([-0.1 * 3.5625] * 2)
    following = 3.5625 + 1.328125 + 1.33203125 + 1.3330078125
    assert run_rounds(network, 1).flatten().tolist() == pytest.approx([-0.1 * following] * 2)


# The trust region.


@pytest.mark.parametrize("metric", ["euclidean", "fisher"])
@pytest.mark.parametrize("name", ["ngpd", "kfac-gossip"])
def test_steps_are_shortened_to_the_trust_region_exactly(name: str, metric: str) -> None:
    problem = make_quadratic(10, nodes=3, dim=4)
    topology = graph(schedule={"name": "failing", "probability": 0.99})  # no exchange in the first round

    def steps(radius: float, count: int = 1) -> tuple[Tensor, Tensor]:
        shared: dict[str, Any] = {"lr": 0.5, "damping": 0.1, "trust_radius": radius}
        options = KFACGossipOptions(**shared) if name == "kfac-gossip" else NGPDOptions(**shared, edge_metric=metric)
        network = quadratic_engine(problem, options, topology, local_steps=count)
        info = network.run_round()
        return network.params(), info.shrink

    def energy(moved: Tensor) -> Tensor:
        return 0.5 * torch.einsum("ni,nij,nj->n", moved, problem.hessians, moved)

    assert not topology.active(0).any()
    whole, shrink = steps(0)
    assert shrink == 1 and energy(whole).min() > 1e-3
    first, shrink = steps(1e-4)  # before the first measurement the estimate counts 10,000 times
    torch.testing.assert_close(energy(first), torch.full((3,), 1e-8, dtype=torch.float64))
    torch.testing.assert_close(first / first.norm(dim=1, keepdim=True), whole / whole.norm(dim=1, keepdim=True))
    torch.testing.assert_close(shrink, (1e-8 / energy(whole)).sqrt().mean())
    second, _ = steps(1e-4, 2)  # the estimate of an exact F is the divergence
    torch.testing.assert_close(energy(second - first), torch.full((3,), 1e-4, dtype=torch.float64))
    roomy, shrink = steps(2e4 * energy(whole).max().item())
    assert torch.equal(roomy, whole) and shrink == 1


def test_the_phase_refreshes_what_is_due() -> None:
    strategy = quadratic_strategy(NGPDOptions(factor_every=2, basis_every=3))
    assert [tuple(strategy.phase(step)) for step in range(5)] == [
        (True, True),
        (False, False),
        (True, False),
        (False, True),
        (True, False),
    ]


def test_exact_curvature_solves_its_definition() -> None:
    """The oracle itself: [(F + damping I) / lr + shift I] step = force."""
    problem, curvature = make_quadratic(100, nodes=1, dim=5), ExactCurvature(0.3, 5)
    fisher, force = problem.hessians[0], problem.targets[0]
    step, quadratic = curvature.solve(fisher, force, torch.tensor(0.2), torch.tensor(0.7))
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(((fisher + 0.3 * eye) / 0.2 + 0.7 * eye) @ step, force)
    torch.testing.assert_close(quadratic, step @ fisher @ step)
