"""The quadratic consensus problem: everything about it is known in closed form.

f_i(w) = 1/2 (w - b_i)^T H_i (w - b_i) with Fisher matrix F_i = H_i exactly, so that the minimizer of sum_i f_i is
(sum_i H_i)^-1 sum_i H_i b_i. Parameters: H_i = Q_i diag(l_i) Q_i^T with l_i log-spaced from 1 to 1/condition times
exp(0.5 normal), Q_i the orthonormalized (Q + 0.1 normal / sqrt(d)) of a common orthogonal Q, b_i normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ngpd_fl.engines import EngineSettings, SynchronousEngine
from strategies import Matrix, NGPDOptions, Phase, StrategyOptions, make_strategy
from topologies import Topology, parse_topology


@dataclass(frozen=True)
class Quadratic:
    """H ``[N, d, d]`` and b ``[N, d]`` in float64."""

    hessians: Tensor
    targets: Tensor

    @property
    def minimizer(self) -> Tensor:
        return torch.linalg.solve(self.hessians.sum(0), torch.einsum("nij,nj->i", self.hessians, self.targets))

    def minibatches(self, nodes: Tensor, steps: Sequence[int], phase: Phase) -> tuple[Any, Tensor]:
        return (self.hessians[nodes], self.targets[nodes]), self.targets.new_zeros(len(nodes), 1)

    def relative_error(self, params: Tensor) -> float:
        """Largest distance of a node from the minimizer, relative to the minimizer's norm."""
        return float((params - self.minimizer).norm(dim=1).max() / self.minimizer.norm())


def make_quadratic(condition: float, nodes: int = 8, dim: int = 20, seed: int = 0, alike: bool = False) -> Quadratic:
    """Return the problem; ``alike`` gives every node the same H."""
    random = np.random.default_rng(seed)
    common = np.linalg.qr(random.normal(size=(dim, dim)))[0]
    hessians, targets = [], []
    for _ in range(nodes):
        values = np.logspace(0, -np.log10(condition), dim) * np.exp(0.5 * random.normal(size=dim))
        basis = np.linalg.qr(common + 0.1 * random.normal(size=(dim, dim)) / np.sqrt(dim))[0]
        hessians.append(basis @ np.diag(values) @ basis.T)
        targets.append(random.normal(size=dim))
    if alike:
        hessians = [hessians[0]] * nodes
    return Quadratic(torch.tensor(np.array(hessians)), torch.tensor(np.array(targets)))


def quadratic_on(
    topology: dict[str, Any], condition: float = 2, dim: int = 4, alike: bool = False
) -> tuple[Quadratic, Topology]:
    """Return a problem and the graph of its nodes."""
    problem = make_quadratic(condition, topology["nodes"], dim=dim, alike=alike)
    return problem, parse_topology(topology).build(seed=0)


class QuadraticObjective:
    """Gradient of f_i; a batch is (H_i, b_i). Algorithms that ask for matrices see some of ``w`` as such."""

    def __init__(self, matrices: Sequence[Matrix] = ()) -> None:
        self.matrices = matrices

    def gradient(self, params: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        hessian, target = batch
        gradient = hessian @ (params - target)
        return 0.5 * (params - target) @ gradient, gradient


class ExactCurvature:
    """F_i = H_i, or ``replacement [d, d]`` at every node, and a dense solve; ``damping`` is the options' delta."""

    def __init__(self, damping: float, dim: int, replacement: Tensor | None = None) -> None:
        self.damping = damping
        self.eye = torch.eye(dim, dtype=torch.float64)
        self.replacement = replacement

    def init(self, params: Tensor) -> Tensor:
        return torch.zeros_like(self.eye)

    def gradient(
        self,
        state: Tensor,
        params: Tensor,
        batch: tuple[Tensor, Tensor],
        draws: Tensor,
        phase: Phase,
        smoothing: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        loss, gradient = QuadraticObjective().gradient(params, batch)
        fisher = batch[0] if self.replacement is None else self.replacement
        return (fisher if phase.refresh_factors else state), loss, gradient

    def solve(self, state: Tensor, force: Tensor, lr: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        step = torch.linalg.solve((state + self.damping * self.eye) / lr + shift * self.eye, force)
        return step, step @ state @ step

    def largest(self, state: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(state)[-1]

    def quadratic(self, state: Tensor, vector: Tensor) -> Tensor:
        return vector @ state @ vector

    def divergence(self, params: Tensor, step: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        return 0.5 * step @ batch[0] @ step


def undamped(**options: Any) -> NGPDOptions:
    """NGPD with the exact curvature in every step, no damping and no trust region: only its mathematics is left."""
    return NGPDOptions(damping=0, trust_radius=0, factor_every=1, basis_every=1, **options)


def quadratic_strategy(options: StrategyOptions, dim: int = 20) -> Any:
    """The algorithm of ``options`` on the quadratic problem."""
    objective = QuadraticObjective([Matrix(0, 2, dim // 2)] if dim > 3 else [Matrix(1, 1, dim - 1)])
    minimized = ExactCurvature(options.delta, dim) if options.second_order else objective  # type: ignore[attr-defined]
    return make_strategy(options, minimized)


def quadratic_engine(
    problem: Quadratic,
    options: StrategyOptions,
    topology: Topology,
    local_steps: int = 1,
    engine: Any = SynchronousEngine,
    **settings: Any,
) -> Any:
    """An engine, made from settings, with all nodes at 0 or ``start``; maybe with a ``strategy``."""
    return engine(quadratic_settings(problem, options, topology, local_steps, **settings))


def quadratic_settings(
    problem: Quadratic, options: StrategyOptions, topology: Topology, local_steps: int = 1, **settings: Any
) -> EngineSettings:
    """The settings of such an engine."""
    dim = problem.targets.shape[1]
    strategy = settings.pop("strategy", None) or quadratic_strategy(options, dim)
    start = settings.pop("start", torch.zeros(dim, dtype=torch.float64))
    settings = {"rounds": 100, **settings}
    return EngineSettings(strategy, topology, problem.minibatches, start, local_steps, **settings)


def run_rounds(engine: Any, rounds: int) -> Tensor:
    """Run so many rounds; return the parameters ``[N, P]``."""
    for _ in range(rounds):
        engine.run_round()
    return engine.params()


def rounds_to(engine: Any, problem: Quadratic, error: float, limit: int) -> int | None:
    """Rounds until the relative error is at most ``error``; None if not within ``limit``, or if it explodes."""
    for _ in range(limit):
        engine.run_round()
        reached = problem.relative_error(engine.params())
        if reached <= error:
            return engine.round
        if not reached < 1e6:
            return None
    return None
