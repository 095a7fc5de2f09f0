"""D2: decentralized training over decentralized data.

Tang, Lian, Yan, Zhang, Liu, "D^2: Decentralized training over decentralized data", ICML 2018:

    w(1)   = W~ (w(0) - mu g(0))
    w(t+1) = W~ (2 w(t) - w(t-1) - mu g(t) + mu g(t-1))                                                          (1)

for all nodes at once, g(t) the gradients at w(t). At rest (1) is w = W~ w, so that all nodes agree, and the mean moves
by the mean gradient alone: they rest at the minimizer of the sum, however much their data differ. Where W is not doubly
stochastic, or messages are lost, that is no longer so.

(1) diverges where an eigenvalue of the matrix is -1/3 or less, as the paper assumes it is not. Here

    W~ = (I + W) / 2                                                                                             (2)

whose eigenvalues are positive whatever the graph (the weights of a 4 x 4 torus have -3/5). Where ``mu`` varies, each
gradient keeps the one of its own step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from strategies.contract import Headers, Objective, Phase, RoundView, Spec, Step, StepInfo, View
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import CompressibleGossipOptions, GossipExchange, ParamsMessage, flow


class D2Options(CompressibleGossipOptions):
    """Parameters of D2."""

    name: Literal["d2"] = "d2"

    spec: ClassVar[Spec] = Spec(single_step=True, compress=("top-k", "random-k", "quantize"))


class D2State(NamedTuple):
    """Parameters w(t) (before averaging: the bracket in (1)), w(t-1) and mu g(t-1), each ``[P]``."""

    params: Tensor
    previous: Tensor
    change: Tensor


@dataclass(frozen=True)
class D2(GossipExchange):
    """D2 (Tang et al. 2018), for one node."""

    options: D2Options
    objective: Objective

    def init(self, params: Tensor, view: View) -> D2State:
        """Start as if the node had been at ``params`` before, without a gradient."""
        return D2State(params, params, torch.zeros_like(params))

    def local_step(self, state: D2State, view: View, step: Step, phase: Phase) -> tuple[D2State, StepInfo]:
        """Form the bracket in (1)."""
        loss, gradient = self.objective.gradient(state.params, step.batch)
        change = self.options.lr * step.lr_scale * gradient
        params = 2 * state.params - state.previous - change + state.change
        return D2State(params, state.params, change), StepInfo(loss, torch.ones_like(loss))

    def incoming(
        self,
        state: D2State,
        view: View,
        round_view: RoundView,
        inbox: ParamsMessage,
        outbox: ParamsMessage,
        headers: Headers,
    ) -> D2State:
        """Average by (2) with the neighbors that were heard."""
        weights = round_view.weight_in / 2
        moved = flow(outbox.params, inbox.params, weights, headers.received, self.options.clip)
        return state._replace(params=state.params + moved)
