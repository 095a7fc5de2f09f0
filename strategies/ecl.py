"""ECL, edge-consensus learning: primal-dual SGD on the edges' constraints.

Niwa, Harada, Zhang, Kleijn, "Edge-consensus learning: deep learning on P2P networks with nonhomogeneous data", KDD
2020 (PDMM-SGD with theta = 1, ADMM-SGD with theta = 1/2). A local step, with g the gradient on a minibatch, is

    w <- argmin_v <g, v - w> + (1 / 2 mu) |v - w|^2 + sum_j (eta_ij / 2) |a_ij v - z_i|j|^2
       = w - [ 1/mu + sum_j eta_ij ]^-1 ( g + sum_j eta_ij (w - a_ij z_i|j) )                                    (1)

and the exchange is that of ``edge_consensus``. The default eta is the one that matches stochastic variance reduction,
ECL-ISVR (Niwa, Zhang, Kleijn, Harada, Sawada, Fujino, "Asynchronous decentralized optimization with implicit
stochastic variance reduction", ICML 2021), made symmetric in the two degrees:

    eta_ij = c / (mu sqrt(E_i E_j) max(K - 1, 1)),    c = 1                                                      (2)

Of random-k, an entry is exchanged after K / keep steps in the mean, which takes the place of K; see ``c_ecl``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from strategies.compression.options import RandomK
from strategies.contract import Objective, Phase, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.edge_consensus import (
    EdgeConsensusExchange,
    EdgeConsensusOptions,
    EdgeDuals,
    default_edge_penalty,
    edge_force,
    start_edges,
)


class ECLOptions(EdgeConsensusOptions):
    """Parameters of ECL."""

    name: Literal["ecl"] = "ecl"

    spec: ClassVar[Spec] = Spec(per_edge=("dual",), compress=("random-k", "top-k", "quantize"))


class ECLState(NamedTuple):
    """Parameters ``[P]`` and the edges' duals."""

    params: Tensor
    edges: EdgeDuals


@dataclass(frozen=True)
class ECL(EdgeConsensusExchange):
    """ECL (Niwa et al. 2020), for one node."""

    options: ECLOptions
    objective: Objective

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return eta_ij by (2), or as given."""
        compress = self.options.compress
        between = local_steps / compress.keep if isinstance(compress, RandomK) else local_steps
        return default_edge_penalty(self.options, 1 / max(between - 1, 1), degree, neighbor_degree)

    def init(self, params: Tensor, view: View) -> ECLState:
        """Start at ``params`` with duals that exert no force."""
        return ECLState(params, start_edges(self.options, params, view))

    def local_step(self, state: ECLState, view: View, step: Step, phase: Phase) -> tuple[ECLState, StepInfo]:
        """Do the step (1)."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        pull, total = edge_force(state.edges, state.params, view)
        change = (gradient + pull) / (1 / (self.options.lr * step.lr_scale) + total)
        return ECLState(state.params - change, state.edges), StepInfo(loss, torch.ones_like(loss))
