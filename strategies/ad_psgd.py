"""AD-PSGD: the gradient is computed while the averaging goes on, at the parameters before it.

Lian, Zhang, Zhang, Liu, "Asynchronous decentralized parallel stochastic gradient descent", ICML 2018:

    g_i at w_i,    (w_i, w_j) <- (w_i + w_j) / 2 with a neighbor j,    w_i <- w_i - mu g_i

Here with the round's weights W and K local steps, on a path of the node's own:

    d_i <- d_i - mu g(w_i + d_i)                                      (K times a round, from d_i = 0)
    w_i <- sum_j W_ij w_j + d_i                                       (once a round)

so that a message is w_i without the round's steps, and K = 1 is the paper's update. Its averaging in pairs is
``topology.schedule=matching`` (Metropolis weights are 1/2 on a matching), nodes that do not wait for each other are
``training.mode=asynchronous``. With data that differ, the nodes rest at a biased point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.defaults import StrategyDefaults
from strategies.parts.gossip import GossipOptions, ParamsMessage, flow


class ADPSGDOptions(GossipOptions):
    """Parameters of AD-PSGD."""

    name: Literal["ad-psgd"] = "ad-psgd"

    spec: ClassVar[Spec] = Spec()


class ADPSGDState(NamedTuple):
    """The local path's parameters w + d ``[P]``, and w, from before the round's steps, ``[P]``."""

    params: Tensor
    start: Tensor


@dataclass(frozen=True)
class ADPSGD(StrategyDefaults):
    """Asynchronous decentralized parallel SGD (Lian et al. 2018), for one node."""

    options: ADPSGDOptions
    objective: Objective

    def init(self, params: Tensor, view: View) -> ADPSGDState:
        """Start at ``params``."""
        return ADPSGDState(params, params)

    def local_step(self, state: ADPSGDState, view: View, step: Step, phase: Phase) -> tuple[ADPSGDState, StepInfo]:
        """Do one SGD step on the local path."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        params = torch.addcmul(state.params, gradient, -self.options.lr * step.lr_scale)
        return ADPSGDState(params, state.start), StepInfo(loss, torch.ones_like(loss))

    def outgoing(self, state: ADPSGDState, view: View, round_view: RoundView) -> ParamsMessage:
        """Send w to every neighbor."""
        return ParamsMessage(state.start)

    def incoming(
        self,
        state: ADPSGDState,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> ADPSGDState:
        """Average w as it was sent with the neighbors that were heard, and add the round's steps."""
        moved = flow(outbox.params, inbox.params, round_view.weight_in, headers.received, self.options.clip)
        params = state.params + moved
        return ADPSGDState(params, params)
