"""DiNNO: consensus ADMM whose local problems are solved roughly, by some steps of Adam.

Yu, Vincent, Schwager, "DiNNO: distributed neural network optimization for multi-robot collaborative learning", IEEE
Robotics and Automation Letters 7, 2022 (arXiv:2109.08665). Node i has one dual p_i, at 0 before. Once a round, j the
neighbors that it exchanges with,

    p_i <- p_i + rho sum_j (w_i - w_j),    x_i <- w_i,  x_j <- w_j                                               (1)

and between two exchanges K steps of Adam, restarted in each round, on the augmented Lagrangian

    f_i(w) + w^T p_i + rho sum_j |w - (x_i + x_j) / 2|^2                                                         (2)

Before the first exchange x_i and x_j are the common start, j all neighbors. At rest all w agree and (2) is stationary,
g_i = -p_i; the p sum to 0, hence so do the gradients: the minimizer of the sum. A message that is lost would leave a
sum in the p for good, so all must arrive. The graph may vary: the sums run over the edges of the last exchange.

As with Adam itself, a constant mu brings it to that point only where epsilon is not small against the gradient of (2);
the first step of a round has length mu in each entry otherwise. Let mu fall (``training.lr_schedule``), as the authors
do. In their program rho may also grow, by 0.03 % a round; here it is constant.

Of the paper's text only the abstract was at hand: (1) and (2) are what its authors' program computes
(github.com/javieryu/nn_distributed_training), and the defaults are its settings for MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.adam import AdamOptions, Moments, adam_direction, averaged, start_moments
from strategies.parts.defaults import StrategyDefaults
from strategies.parts.gossip import ParamsMessage, weighted_sum


class DiNNOOptions(AdamOptions):
    """Parameters of DiNNO."""

    name: Literal["dinno"] = "dinno"
    lr: float = Field(0.005, gt=0, description="mu, the step size", json_schema_extra={"flag": "--lr"})
    edge_penalty: float = Field(0.5, gt=0, description="rho on every edge")

    spec: ClassVar[Spec] = Spec(reliable=True)


class DiNNOState(NamedTuple):
    """Parameters w, the dual p, sum_j rho (x_i + x_j), each ``[P]``, sum_j 2 rho ``[]``, and Adam's averages."""

    params: Tensor
    dual: Tensor
    anchor: Tensor
    weight: Tensor
    moments: Moments


@dataclass(frozen=True)
class DiNNO(StrategyDefaults):
    """DiNNO (Yu et al. 2022), for one node."""

    options: DiNNOOptions
    objective: Objective

    def edge_penalty(self, degree: int, neighbor_degree: int, local_steps: int) -> float:
        """Return rho."""
        return self.options.edge_penalty

    def init(self, params: Tensor, view: View) -> DiNNOState:
        """Start at ``params``, as after an exchange with all neighbors."""
        weight = 2 * view.edge_penalty.sum()
        return DiNNOState(params, torch.zeros_like(params), weight * params, weight, start_moments(params))

    def local_step(self, state: DiNNOState, view: View, step: Step, phase: Phase) -> tuple[DiNNOState, StepInfo]:
        """Do one step of Adam on (2)."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        force = gradient + state.dual + state.weight * state.params - state.anchor
        moments = averaged(state.moments, force, self.options)
        direction = adam_direction(moments, self.options, bias_correction=True)
        params = torch.addcmul(state.params, direction, -self.options.lr * step.lr_scale)
        return state._replace(params=params, moments=moments), StepInfo(loss, torch.ones_like(loss))

    def outgoing(self, state: DiNNOState, view: View, round_view: RoundView) -> ParamsMessage:
        """Send w to every neighbor."""
        return ParamsMessage(state.params)

    def incoming(
        self,
        state: DiNNOState,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> DiNNOState:
        """Move the dual by (1), and restart Adam about the new midpoints."""
        rho = view.edge_penalty * headers.received
        total, theirs = rho.sum(), weighted_sum(rho, inbox.params)
        dual = state.dual + total * outbox.params - theirs
        anchor = total * outbox.params + theirs
        return DiNNOState(state.params, dual, anchor, 2 * total, start_moments(state.params))
