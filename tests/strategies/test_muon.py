"""DeMuon and SUDA-Muon: the matrix sign, one node against torch's Muon, the papers' recursions, convergence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from strategies import DeMuon, DeMuonOptions, Matrix, SUDAMuon, SUDAMuonOptions, parse_strategy
from strategies.parts.muon import matrix_sign, muon_step
from tests.support.quadratic import (
    Quadratic,
    QuadraticObjective,
    make_quadratic,
    quadratic_engine,
    quadratic_on,
    run_rounds,
)
from tests.support.recursion import Recursion
from topologies import parse_topology

RING = {"name": "ring", "nodes": 5}
STAR = {"name": "star", "nodes": 5}
MATCHING = {"name": "ring", "nodes": 6, "schedule": "matching"}

MATRICES = (Matrix(1, 2, 4), Matrix(10, 3, 2))
"""A wide one and a tall one in a vector of 18; elements 0, 9, 16 and 17 are in none."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def polynomial(values: Tensor) -> Tensor:
    """The polynomial of the five steps, in the singular values of a matrix of norm 1."""
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


def sign_by_svd(matrix: Tensor) -> Tensor:
    """The iteration's result by its definition on singular values, without the iteration; 1e-7 guards the norm."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ torch.diag(polynomial(values / (values.norm() + 1e-7))) @ right


# The matrix sign.


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (1, 6), (6, 1)])
def test_the_matrix_sign_is_the_polynomial_of_the_singular_values_and_near_u_v(shape: tuple[int, int]) -> None:
    matrix = draw(*shape)
    torch.testing.assert_close(matrix_sign(matrix), sign_by_svd(matrix), rtol=0, atol=1e-12)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    assert (values / values.norm()).min() > 0.002
    turned = left.T @ matrix_sign(matrix) @ right.T
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), rtol=0, atol=1e-12)
    assert 0.68 < turned.diagonal().min() and turned.diagonal().max() < 1.21


def test_singular_values_above_0_002_of_the_norm_end_within_the_bounds() -> None:
    ends = polynomial(torch.logspace(-2.69, 0, 100_000, dtype=torch.float64))
    assert 0.68 < ends.min() and ends.max() < 1.21
    assert polynomial(torch.tensor(0.001)) < 0.5  # what the head says of smaller ones is not idle


def test_the_matrix_sign_does_not_depend_on_the_scale_and_leaves_zero_as_it_is() -> None:
    matrix = draw(3, 5)
    torch.testing.assert_close(matrix_sign(1000 * matrix), matrix_sign(matrix), rtol=0, atol=1e-6)
    assert not matrix_sign(torch.zeros(3, 5)).any()


def test_a_step_takes_signs_of_the_matrices_and_the_momentum_itself_elsewhere() -> None:
    options = DeMuonOptions(lr=0.3, other_lr=0.7)
    vector = draw(18)
    expected = 0.7 * vector
    expected[1:9] = 0.3 * sign_by_svd(vector[1:9].view(2, 4)).flatten()
    expected[10:16] = 0.3 * sign_by_svd(vector[10:16].view(3, 2)).flatten()
    torch.testing.assert_close(muon_step(vector, MATRICES, options), expected, rtol=0, atol=1e-12)
    stacked = torch.stack([vector, draw(18, seed=1)])
    batched = vmap(lambda one: muon_step(one, MATRICES, options))(stacked)
    torch.testing.assert_close(batched[0], muon_step(vector, MATRICES, options), rtol=1e-13, atol=1e-13)


# One node is Muon.


@pytest.mark.parametrize("name", ["demuon", "suda-muon"])
def test_one_node_is_torchs_muon(name: str) -> None:
    """torch computes signs in bfloat16, of 8 bits; its step is as long as ours where no matrix is tall."""
    problem, alone = make_quadratic(2, 1, dim=12), parse_topology({"name": "path", "nodes": 2}).build(seed=0)
    twins = Quadratic(problem.hessians.expand(2, -1, -1), problem.targets.expand(2, -1))
    algorithm = {"demuon": (DeMuon, DeMuonOptions), "suda-muon": (SUDAMuon, SUDAMuonOptions)}[name]
    options = algorithm[1](lr=0.02, momentum=0.9)
    strategy: Any = algorithm[0](options, QuadraticObjective([Matrix(0, 3, 4)]))
    engine = quadratic_engine(twins, options, alone, strategy=strategy)
    weight = torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    optimizer = torch.optim.Muon([weight], lr=0.02, weight_decay=0.0, momentum=0.9, nesterov=False)
    for _ in range(30):
        residual = weight.detach().flatten() - problem.targets[0]
        weight.grad = (problem.hessians[0] @ residual).view(3, 4)
        optimizer.step()
        params = run_rounds(engine, 1)
        assert torch.equal(params[0], params[1])
    moved = weight.detach().flatten()
    assert moved.norm() > 0.5
    assert (params[0] - moved).norm() < 0.02 * moved.norm()


# The recursions, for all nodes at once, with signs by singular values.


class Muon(Recursion):
    """The papers' formulas; mu is 0.1, 0.2 outside of the matrices, beta 0.6."""

    def step(self, tracked: Tensor) -> Tensor:
        steps = 0.2 * tracked
        for start, rows, columns in MATRICES:
            place = slice(start, start + rows * columns)
            for node in range(len(steps)):
                steps[node, place] = 0.1 * sign_by_svd(tracked[node, place].view(rows, columns)).flatten()
        return steps

    def demuon(self) -> Iterator[Tensor]:
        params, momentum, tracked = self.zero, self.zero, self.zero
        for round in range(100):
            before, momentum = momentum, 0.6 * momentum + 0.4 * self.gradient(params)
            tracked = (self.weights(round - 1) @ tracked if round else tracked) + momentum - before
            params = self.weights(round) @ (params - self.step(tracked))
            yield params

    def demuon_in_three_steps(self) -> Iterator[Tensor]:
        """The directions of a round's steps are M + c, and their mean is what is exchanged."""
        params, momentum, correction = self.zero, self.zero, self.zero
        for round in range(100):
            directions = []
            for _ in range(3):
                momentum = 0.6 * momentum + 0.4 * self.gradient(params)
                directions.append(momentum + correction)
                params = params - self.step(directions[-1])
            mean = sum(directions) / 3
            params = self.weights(round) @ params
            correction = correction - mean + self.weights(round) @ mean
            yield params

    def suda(self, outer: Any, inner: Any) -> Iterator[Tensor]:
        """w <- A (C w - mu d) - B y and y <- y + B w, with B B = I - W~, on a graph that does not vary."""
        half = (self.weights(0) + torch.eye(len(self.zero), dtype=torch.float64)) / 2
        values, basis = torch.linalg.eigh(torch.eye(len(half), dtype=torch.float64) - half)
        root = basis @ torch.diag(values.clamp(min=0).sqrt()) @ basis.T
        params, dual, momentum, tracked = self.zero, self.zero, self.zero, self.zero
        for _ in range(100):
            before, momentum = momentum, 0.6 * momentum + 0.4 * self.gradient(params)
            tracked = self.weights(0) @ tracked + momentum - before
            params = outer(half) @ (inner(half) @ params - self.step(tracked)) - root @ dual
            dual = dual + root @ params
            yield params

    def suda_in_three_steps(self, is_extra: bool) -> Iterator[Tensor]:
        """A round's correction is divided among its steps."""
        params, momentum, correction, dual, pull = (self.zero,) * 5
        for round in range(100):
            directions = []
            for _ in range(3):
                momentum = 0.6 * momentum + 0.4 * self.gradient(params)
                directions.append(momentum + correction)
                params = params - self.step(directions[-1]) - pull / 3
            mean = sum(directions) / 3
            moved = (self.weights(round) @ params - params) / 2
            dual = dual - moved
            params, pull = (params, dual - moved) if is_extra else (params + moved, dual)
            correction = correction - mean + self.weights(round) @ mean
            yield params

    def exact_diffusion(self) -> Iterator[Tensor]:
        yield from self.suda(lambda half: half, lambda half: torch.eye(len(half)).double())

    def extra(self) -> Iterator[Tensor]:
        yield from self.suda(lambda half: torch.eye(len(half)).double(), lambda half: half)


@pytest.mark.parametrize(
    ("name", "options", "local_steps", "recursion", "topologies"),
    [
        ("demuon", {}, 1, Muon.demuon, (RING, STAR, MATCHING)),
        ("demuon", {}, 3, Muon.demuon_in_three_steps, (RING, STAR, MATCHING)),
        ("suda-muon", {"template": "ed"}, 1, Muon.exact_diffusion, (RING, STAR)),
        ("suda-muon", {"template": "extra"}, 1, Muon.extra, (RING, STAR)),
        ("suda-muon", {"template": "ed"}, 3, partial(Muon.suda_in_three_steps, is_extra=False), (STAR, MATCHING)),
        (
            "suda-muon",
            {"template": "extra"},
            3,
            partial(Muon.suda_in_three_steps, is_extra=True),
            (STAR, MATCHING),
        ),
    ],
)
def test_one_node_at_a_time_is_the_papers_recursion(
    name: str, options: Any, local_steps: int, recursion: Any, topologies: Any
) -> None:
    algorithm: Any = {"demuon": DeMuon, "suda-muon": SUDAMuon}[name]
    chosen = parse_strategy({"name": name, "lr": 0.1, "other_lr": 0.2, "momentum": 0.6, **options})
    for topology in topologies:
        problem, graph = quadratic_on(topology, dim=18)
        strategy = algorithm(chosen, QuadraticObjective(MATRICES))
        engine = quadratic_engine(problem, chosen, graph, local_steps, strategy=strategy)
        for _, expected in zip(range(8), recursion(Muon(problem, graph)), strict=False):
            params = run_rounds(engine, 1)
            torch.testing.assert_close(params, expected, rtol=0, atol=1e-6)  # signs magnify rounding
        assert (params - params.mean(0)).norm() > 1e-2


# Limits in which they are other algorithms.


@pytest.mark.parametrize("message_loss", [0.0, 0.3])
@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_without_matrices_demuon_is_momentum_tracking(momentum: float, local_steps: int, message_loss: float) -> None:
    """A running average is (1 - beta) times a heavy ball's velocity."""
    problem, graph = quadratic_on(STAR, dim=18)
    options = DeMuonOptions(other_lr=0.1, momentum=momentum)
    demuon = quadratic_engine(
        problem, options, graph, local_steps, message_loss=message_loss, strategy=DeMuon(options, QuadraticObjective())
    )
    heavy_ball = parse_strategy({"name": "momentum-tracking", "lr": 0.1 * (1 - momentum), "momentum": momentum})
    tracking = quadratic_engine(problem, heavy_ball, graph, local_steps, message_loss=message_loss)
    for _ in range(10):
        torch.testing.assert_close(run_rounds(demuon, 1), run_rounds(tracking, 1), rtol=1e-11, atol=1e-12)


# Tracking: without it the signs of the nodes' own momenta cancel at other points.


class Untracked(DeMuon):
    """The nodes' own signs."""

    def incoming(self, state: Any, *arguments: Any) -> Any:
        after = super().incoming(state, *arguments)
        return after._replace(tracker=after.tracker._replace(correction=torch.zeros_like(after.params)))


def falling(step: int) -> float:
    return 1 / (1 + 0.1 * step)


@pytest.mark.parametrize("local_steps", [1, 3])
@pytest.mark.parametrize(
    "options",
    [DeMuonOptions(lr=0.3), SUDAMuonOptions(lr=0.3), SUDAMuonOptions(lr=0.3, template="extra")],
    ids=["demuon", "ed", "extra"],
)
def test_they_come_near_the_minimizer_of_the_sum_where_untracked_signs_do_not(options: Any, local_steps: int) -> None:
    problem, graph = make_quadratic(2, 5, dim=12, seed=1), parse_topology(RING).build(seed=0)
    objective = QuadraticObjective([Matrix(0, 3, 4)])

    def error(algorithm: Any, options: Any) -> float:
        settings: Any = {"lr_scale": falling, "strategy": algorithm(options, objective)}
        return problem.relative_error(
            run_rounds(quadratic_engine(problem, options, graph, local_steps, **settings), 200)
        )

    tracked = error(SUDAMuon if options.name == "suda-muon" else DeMuon, options)
    assert tracked < 0.03
    if options.name == "demuon":
        assert error(Untracked, options) > 0.5
