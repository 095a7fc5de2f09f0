"""LT-ADMM: local training with distributed ADMM.

Ren, Bastianello, Johansson, Parisini, "Communication-efficient stochastic distributed learning", arXiv:2501.13516,
2025. With its variables z_ij written as eta a_ij z_i|j, and x_i the parameters at the start of a round,

    w_i <- w_i - mu ( g_i(w_i) + sum_j eta_ij (x_i - a_ij z_i|j) )                           (K times a round)   (1)
    z_i|j <- 1/2 z_i|j + 1/2 y_j|i,    y_i|j = z_i|j - 2 a_ij w_i                            (once a round)      (2)

(2) is the exchange of ``edge_consensus`` with theta = 1/2 and without mixing. It differs from ECL (``ecl``) in the
step: (1) is explicit where ECL solves for the next w, and the pull of the edges stays that of the round's start. At K
= 1 on a graph of degree E it is ECL with 1/mu - E eta in place of 1/mu. The paper gives the pull a step size beta of
its own, and a penalty rho; only beta rho matters, which is mu eta here. By default

    eta_ij = c / (mu max(E_i, E_j) K),    c = 1                                                                  (3)

so that K steps take w at most to the mean of what the edges ask for: with more it diverges, as it is explicit.

At rest w = x = x_j and g_i = -sum_j eta_ij (x - a_ij z_i|j), which sum to 0: the minimizer of the sum, for any K. This
holds whatever messages are lost, and on graphs that vary, where the pull sums over all edges of the union graph; see
Bastianello, Carli, Schenato, Todescato, "Asynchronous distributed optimization over lossy networks via relaxed ADMM",
IEEE Transactions on Automatic Control 66, 2021. With minibatches it fluctuates about that point. LT-ADMM-VR, which
does not, keeps a gradient of every example of a node; an algorithm here knows minibatches only, not which examples
they are.

Of the paper's text only the abstract and a summary of its update were at hand (in the catalog of optimizers at
junaidaliop.github.io/zij), which has w_i in the place of x_i in (1); the two are the same at K = 1. That x_i is the
paper's, and beta, could not be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.edge_consensus import (
    EdgeConsensusExchange,
    EdgeConsensusOptions,
    EdgeDuals,
    EdgeMessage,
    edge_force,
    start_edges,
)


class LTADMMOptions(EdgeConsensusOptions):
    """Parameters of LT-ADMM."""

    name: Literal["lt-admm"] = "lt-admm"
    theta: float = Field(0.5, gt=0, le=1, description="relaxation: 1/2 is ADMM, 1 Peaceman-Rachford (PDMM)")
    mixing: float = Field(0.0, ge=0, le=1, description=EdgeConsensusOptions.model_fields["mixing"].description)

    spec: ClassVar[Spec] = Spec(per_edge=("dual",))


class LTADMMState(NamedTuple):
    """Parameters w ``[P]``, the edges' duals, and the pull of the edges at the round's start ``[P]``."""

    params: Tensor
    edges: EdgeDuals
    pull: Tensor


@dataclass(frozen=True)
class LTADMM(EdgeConsensusExchange):
    """LT-ADMM (Ren et al. 2025), for one node."""

    options: LTADMMOptions
    objective: Objective

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return eta_ij by (3), or as given."""
        if self.options.edge_penalty is not None:
            return self.options.edge_penalty
        return self.options.penalty_scale / (self.options.lr * max(degree, neighbor_degree) * max(local_steps, 1))

    def init(self, params: Tensor, view: View) -> LTADMMState:
        """Start at ``params`` with duals that exert no force."""
        return LTADMMState(params, start_edges(self.options, params, view), torch.zeros_like(params))

    def local_step(self, state: LTADMMState, view: View, step: Step, phase: Phase) -> tuple[LTADMMState, StepInfo]:
        """Do the step (1)."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        params = torch.addcmul(state.params, gradient + state.pull, -self.options.lr * step.lr_scale)
        return state._replace(params=params), StepInfo(loss, torch.ones_like(loss))

    def incoming(
        self,
        state: LTADMMState,
        view: View,
        round_view: RoundView,
        inbox: EdgeMessage,
        outbox: EdgeMessage,
        headers: Headers,
    ) -> LTADMMState:
        """Move the duals by what arrived; then the edges pull anew."""
        moved: LTADMMState = super().incoming(state, view, round_view, inbox, outbox, headers)
        return moved._replace(pull=edge_force(moved.edges, moved.params, view)[0])
