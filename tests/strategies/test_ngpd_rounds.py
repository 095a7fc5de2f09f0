"""Rounds of NGPD, with and without tracking, and of K-FAC gossip, number by number; and the fisher metric."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ngpd_fl.engines import SynchronousEngine
from strategies import KFACGossipOptions, NGPDOptions, NGPDTrackingOptions, make_strategy
from tests.support.naive import NaiveNetwork
from tests.support.quadratic import ExactCurvature, make_quadratic, quadratic_engine, run_rounds
from topologies import parse_topology

LR, STEPS, RADIUS = 0.3, 3, 0.1


class SmoothedCurvature(ExactCurvature):
    """F_i = (1 + smoothing) H_i: a step shows the smoothing that it was given."""

    def gradient(self, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the state, the loss and the gradient."""
        fisher, loss, gradient = super().gradient(*arguments)
        return (1 + arguments[-1]) * fisher, loss, gradient


class Node:
    """A node by the definitions: its drift, its damping, its balance, its correction."""

    def __init__(self, hessian: Tensor, target: Tensor, tracks: bool) -> None:
        self.hessian, self.target, self.tracks = hessian, target, tracks
        self.correction = self.total = self.mean = torch.zeros_like(target)
        self.w = torch.zeros_like(target)
        self.first = self.last = self.opposed = self.energy = math.nan
        self.ratio = self.trust = 0.5
        self.share = 1.0
        self.length = 0.0
        self.gamma = self.estimate = 0.0
        self.step = torch.zeros_like(target)

    def local_steps(self, edges: list[tuple[float, float, Tensor]], rounds: int) -> None:
        """Take a round's local steps; ``edges`` has eta, sign and dual of each."""
        for step in range(STEPS):
            drift = max(0.0, 1 - self.last / self.first) if rounds else 0.0
            gap = self.w - self.target
            gradient, loss = self.hessian @ gap, 0.5 * float(gap @ self.hessian @ gap)
            if step == 0:
                self.first = 0.9 * self.first + 0.1 * loss if rounds else loss
            if self.estimate > 0:
                fresh = 0.5 * float(self.step @ self.hessian @ self.step) / self.estimate
                self.gamma = self.gamma**0.9 * fresh**0.1 if self.gamma else fresh
            uniform = max(0.9**rounds, min(1.0, 2 * drift) ** 2) if self.tracks else drift**2
            fisher = (1 + uniform) * self.hessian
            least = max(0.0002, 0.001 * float(torch.linalg.eigvalsh(fisher)[-1]))
            delta = min(0.02, max(0.02 * self.share, least))
            pull = sum((eta * (self.w - sign * dual) for eta, sign, dual in edges), torch.zeros_like(self.w))
            self.total = self.total + gradient
            descent = gradient + self.trust**2 * self.correction
            opposed, energy = float(-pull @ descent), float(pull @ pull)
            self.opposed = opposed if math.isnan(self.energy) else 0.98 * self.opposed + 0.02 * opposed
            self.energy = energy if math.isnan(self.energy) else 0.98 * self.energy + 0.02 * energy
            if self.energy == 0:
                self.energy = math.nan
            eye = torch.eye(len(self.w), dtype=self.w.dtype)
            matrix = (fisher + delta * eye) / LR + sum(eta for eta, _, _ in edges) * eye
            change = torch.linalg.solve(matrix, descent + pull)
            energy = float(change @ fisher @ change)
            factor = min(1.0, math.sqrt(2 * RADIUS / ((self.gamma or 1e4) * energy)))
            self.trust = 0.98 * self.trust + 0.02 * factor
            self.share = min(1.0, delta / 0.02 * (0.9 if energy / 2 <= 0.05 * RADIUS else 1 / 0.9))
            self.step, self.estimate = -factor * change, 0.5 * factor**2 * energy
            self.w = self.w + self.step
        self.last = 0.9 * self.last + 0.1 * loss if rounds else loss
        needed = 0.5 if math.isnan(self.energy) else self.opposed / self.energy
        self.ratio = min(max(needed, 1 / 3), 2.0) * self.trust * math.sqrt(self.share)


OPTIONS: dict[str, Any] = {"ngpd": NGPDOptions, "ngpd-tracking": NGPDTrackingOptions, "kfac-gossip": KFACGossipOptions}


@pytest.mark.parametrize("engine", [SynchronousEngine, NaiveNetwork])
@pytest.mark.parametrize("name", OPTIONS)
def test_rounds_on_three_nodes(name: str, engine: Any) -> None:
    problem = make_quadratic(10, nodes=3, dim=4)
    shared: dict[str, Any] = {"lr": LR, "trust_radius": RADIUS, "factor_every": 1, "basis_every": 1}
    has_edges = name != "kfac-gossip"
    options = OPTIONS[name](**({"theta": 0.5, "mixing": 0.0} if has_edges else {}), **shared)
    graph = parse_topology({"name": "path", "nodes": 3}).build(seed=0)
    strategy = make_strategy(options, SmoothedCurvature(options.delta, 4))
    network = quadratic_engine(problem, options, graph, STEPS, engine=engine, strategy=strategy)
    tracks = name == "ngpd-tracking"
    nodes = [Node(hessian, target, tracks) for hessian, target in zip(problem.hessians, problem.targets, strict=True)]
    pairs = [(0, 1), (1, 0), (1, 2), (2, 1)]
    sign = {(i, j): 1.0 if i < j else -1.0 for i, j in pairs}
    z = {pair: torch.zeros(4, dtype=torch.float64) for pair in pairs}
    u = dict(z)

    def average(nodes: list[Node], i: int, u: dict[tuple[int, int], Tensor]) -> Tensor:
        weight = 2 / math.sqrt(2)
        own = [pair for pair in pairs if pair[0] == i]
        return (nodes[i].mean + weight * sum(sign[pair] * u[pair] for pair in own)) / (1 + weight * len(own))

    default = 3.0 * 0.02 / (LR * math.sqrt(2)) if has_edges else 0.0
    eta = dict.fromkeys(pairs, default / 4)
    weight = float(graph.weights(0).edge[0, 0])
    for number in range(8):
        for i, node in enumerate(nodes):
            node.local_steps([(eta[pair], sign[pair], z[pair]) for pair in pairs if pair[0] == i], number)
        y = {(i, j): z[i, j] - 2 * sign[i, j] * nodes[i].w for i, j in pairs}
        if tracks:
            for node in nodes:
                length = float(node.total.norm()) / STEPS
                node.length = node.length or length
                bound = min(1.0, 4 * node.length / length)
                node.mean = 0.7 * node.mean + 0.3 * bound * node.total / STEPS
                node.length = node.length**0.9 * length**0.1
            averages = [average(nodes, i, u) for i in range(3)]
            sent = {(i, j): u[i, j] - 2 * sign[i, j] * averages[i] for i, j in pairs}
            u = {(i, j): 0.5 * u[i, j] + 0.5 * sent[j, i] for i, j in pairs}
            for i, node in enumerate(nodes):
                node.correction = average(nodes, i, u) - node.mean
                node.total = torch.zeros_like(node.total)
        if has_edges:
            z = {(i, j): 0.5 * z[i, j] + 0.5 * y[j, i] for i, j in pairs}
            eta = {(i, j): default * nodes[i].ratio * nodes[j].ratio for i, j in pairs}
        else:
            w = [node.w for node in nodes]
            for i, node in enumerate(nodes):
                node.w = w[i] + sum((weight * (w[j] - w[i]) for k, j in pairs if k == i), torch.zeros_like(w[i]))
        torch.testing.assert_close(run_rounds(network, 1), torch.stack([node.w for node in nodes]))
    assert all(node.last < node.first for node in nodes)  # there is a drift
    assert tracks or len({round(node.share, 6) for node in nodes}) > 1
    assert all(0.5 < node.gamma < 0.99 for node in nodes)  # smoothing makes F too large
    assert not tracks or all(node.correction.norm() > 0.1 and node.trust < 0.9 for node in nodes)


def test_input_factors_alone_have_the_whole_damping() -> None:
    """FOOF's step^T F step is no divergence, and says nothing about delta."""
    options = KFACGossipOptions(fisher="foof", lr=LR, trust_radius=0, factor_every=1, basis_every=1)
    problem = make_quadratic(10, nodes=2, dim=4)
    graph = parse_topology({"name": "path", "nodes": 2, "schedule": {"name": "failing", "probability": 0.99}}).build(0)
    assert not graph.active(0).any()
    params = run_rounds(quadratic_engine(problem, options, graph), 1)
    eye = torch.eye(4, dtype=torch.float64)
    for hessian, target, moved in zip(problem.hessians, problem.targets, params, strict=True):
        torch.testing.assert_close(moved, torch.linalg.solve((hessian + 0.02 * eye) / LR, hessian @ target))


def test_rounds_in_the_fisher_metric() -> None:
    problem = make_quadratic(10, nodes=2, dim=4)
    shared: dict[str, Any] = {"trust_radius": 0, "factor_every": 1, "basis_every": 1, "mixing": 0.0}
    options = NGPDOptions(lr=LR, damping=0.2, edge_metric="fisher", **shared)
    network = quadratic_engine(problem, options, parse_topology({"name": "path", "nodes": 2}).build(seed=0))
    eye, eta, signs = torch.eye(4, dtype=torch.float64), 3.0 / LR, (1.0, -1.0)
    w = [torch.zeros(4, dtype=torch.float64) for _ in range(2)]
    z = [torch.zeros(4, dtype=torch.float64) for _ in range(2)]
    for _ in range(3):
        for i, (hessian, target) in enumerate(zip(problem.hessians, problem.targets, strict=True)):
            natural = torch.linalg.solve(hessian + 0.2 * eye, hessian @ (w[i] - target))
            w[i] = w[i] - (natural + eta * (w[i] - signs[i] * z[i])) / (1 / LR + eta)
        z = [z[1 - i] - 2 * signs[1 - i] * w[1 - i] for i in range(2)]
        torch.testing.assert_close(run_rounds(network, 1), torch.stack(w))
